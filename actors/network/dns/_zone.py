"""The zone of a cluster: which names there are and what they stand for.

Owns the rules from Services, EndpointSlices and Namespaces to records, and the difference between
"no such name" and "no such record". It answers from memory, in no time, and asks nobody. Facts: the
Kubernetes DNS specification 1.1.0; CoreDNS, plugin kubernetes (`pods insecure`).

    Service default/web 10.96.0.9, port http 80
      web.default.svc.cluster.local.             A    10.96.0.9
      _http._tcp.web.default.svc.cluster.local.  SRV  0 100 80 web.default.svc.cluster.local.
      9.0.96.10.in-addr.arpa.                    PTR  web.default.svc.cluster.local.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.dns import DEFAULT_TTL_S as TTL_S
from protocol.dns import Answer, Record

__all__ = ["Zone"]

Object = dict[str, Any]
VERSION = "1.1.0"
SERVICE_NAME = "kubernetes.io/service-name"
DNS_SERVICE = ("kube-system", "kube-dns")


NXDOMAIN = Answer("NXDOMAIN")
NODATA = Answer("NOERROR")


class _Endpoint(msgspec.Struct, frozen=True):
    ip: str
    hostname: str
    ports: tuple[tuple[str, str, int], ...]  # name, protocol, number


class _Service(msgspec.Struct):
    """A Service and the endpoints of its slices."""

    namespace: str
    name: str
    spec: Object = {}
    slices: dict[str, list[_Endpoint]] = {}
    known: bool = False

    @property
    def headless(self) -> bool:
        return self.spec.get("clusterIP") == "None"

    @property
    def ips(self) -> list[str]:
        listed = self.spec.get("clusterIPs") or [self.spec.get("clusterIP")]
        return [ip for ip in listed if ip and ip != "None"]

    @property
    def endpoints(self) -> list[_Endpoint]:
        found = {(e.ip, e.hostname): e for name in sorted(self.slices) for e in self.slices[name]}
        return list(found.values())


def dashed(ip: str) -> str:
    """An address as a label: dots and colons become dashes."""
    return ip.replace(".", "-").replace(":", "-")


def reverse_name(ip: str) -> str:
    """The name under which an address is looked up backwards."""
    return ipaddress.ip_address(ip).reverse_pointer + "."


def _family(ip: str) -> str:
    return "AAAA" if ":" in ip else "A"


class Zone:
    """All names under one cluster domain."""

    def __init__(self, domain: str = "cluster.local", ttl_s: int = TTL_S) -> None:
        self.domain = domain.strip(".").lower()
        self.ttl_s = ttl_s
        self._services: dict[tuple[str, str], _Service] = {}
        self._namespaces: set[str] = set()
        self._reverse: dict[str, dict[str, None]] = {}
        self._serial = 1

    # --- changes ----------------------------------------------------------------------------------

    def set_namespace(self, name: str, present: bool = True) -> None:
        self._serial += 1
        (self._namespaces.add if present else self._namespaces.discard)(name)

    def set_service(self, service: Object) -> None:
        """A Service was added or changed."""
        entry = self._entry(service["metadata"]["namespace"], service["metadata"]["name"])
        self._unlink(entry)
        entry.spec, entry.known = service.get("spec") or {}, True
        self._link(entry)

    def delete_service(self, namespace: str, name: str) -> None:
        entry = self._services.get((namespace, name))
        if entry is not None:
            self._unlink(entry)
            entry.spec, entry.known = {}, False
            self._drop_if_empty(entry)

    def set_slice(self, endpoint_slice: Object) -> None:
        """An EndpointSlice was added or changed."""
        meta = endpoint_slice["metadata"]
        service = (meta.get("labels") or {}).get(SERVICE_NAME)
        if not service or endpoint_slice.get("addressType") == "FQDN":
            return
        entry = self._entry(meta["namespace"], service)
        self._unlink(entry)
        entry.slices[meta["name"]] = list(_endpoints(endpoint_slice))
        self._link(entry)

    def delete_slice(self, endpoint_slice: Object) -> None:
        meta = endpoint_slice["metadata"]
        entry = self._services.get((meta["namespace"], (meta.get("labels") or {}).get(SERVICE_NAME, "")))
        if entry is not None:
            self._unlink(entry)
            entry.slices.pop(meta["name"], None)
            self._link(entry)
            self._drop_if_empty(entry)

    def _entry(self, namespace: str, name: str) -> _Service:
        key = (namespace, name)
        if key not in self._services:
            self._services[key] = _Service(namespace, name, {}, {})
        return self._services[key]

    def _drop_if_empty(self, entry: _Service) -> None:
        if not entry.known and not entry.slices:
            del self._services[entry.namespace, entry.name]

    def _pointers(self, entry: _Service) -> Iterable[tuple[str, str]]:
        base = self._service_name(entry)
        if entry.known:
            for ip in entry.ips:
                yield ip, base
            for endpoint in entry.endpoints:
                if endpoint.hostname:
                    yield endpoint.ip, f"{endpoint.hostname}.{base}"

    def _link(self, entry: _Service) -> None:
        self._serial += 1
        for ip, name in self._pointers(entry):
            self._reverse.setdefault(reverse_name(ip), {})[name] = None

    def _unlink(self, entry: _Service) -> None:
        for ip, name in self._pointers(entry):
            names = self._reverse.get(reverse_name(ip), {})
            names.pop(name, None)
            if not names:
                self._reverse.pop(reverse_name(ip), None)

    def _service_name(self, entry: _Service) -> str:
        return f"{entry.name}.{entry.namespace}.svc.{self.domain}."

    # --- answers ----------------------------------------------------------------------------------

    def covers(self, name: str) -> bool:
        """Whether a name is this zone's to answer."""
        name = name.rstrip(".").lower()
        return name == self.domain or name.endswith(f".{self.domain}") or f"{name}." in self._reverse

    def lookup(self, name: str, kind: str) -> Answer:
        """What the zone says of a name. `kind`: A, AAAA, SRV, PTR, CNAME, TXT, NS, SOA or ANY."""
        name = name.rstrip(".").lower()
        pointers = self._reverse.get(f"{name}.")
        if pointers is not None:
            found = tuple(Record(f"{name}.", "PTR", target, self.ttl_s) for target in pointers)
            return Answer("NOERROR", found if kind in ("PTR", "ANY") else ())
        if not self.covers(name):
            return Answer("REFUSED")
        labels = name[: -len(self.domain)].rstrip(".").split(".") if name != self.domain else []
        labels = [label for label in labels if label]
        answer = self._under_domain(name, labels, kind)
        return answer if answer.records else Answer(answer.code, authority=(self._soa(),))

    def _soa(self) -> Record:
        soa = f"ns.dns.{self.domain}. hostmaster.{self.domain}. {self._serial} 7200 1800 86400 {self.ttl_s}"
        return Record(f"{self.domain}.", "SOA", soa, self.ttl_s)

    def _apex(self, kind: str) -> Answer:
        """The domain itself: who answers for it. The cluster's DNS is a Service like others."""
        servers = self._services.get(DNS_SERVICE)
        if kind == "SOA":
            return Answer("NOERROR", (self._soa(),))
        if kind != "NS" or servers is None or not servers.ips:
            return NODATA
        name = self._service_name(servers)
        addresses = tuple(Record(name, _family(ip), ip, self.ttl_s) for ip in servers.ips)
        return Answer("NOERROR", (Record(f"{self.domain}.", "NS", name, self.ttl_s),), addresses)

    def _under_domain(self, name: str, labels: list[str], kind: str) -> Answer:
        if not labels:
            return self._apex(kind)
        if labels == ["ns", "dns"] or labels == ["dns"]:
            servers = self._services.get(DNS_SERVICE)
            ips = servers.ips if servers is not None and len(labels) == 2 else []
            found = tuple(Record(f"{name}.", _family(ip), ip, self.ttl_s) for ip in ips)
            return Answer("NOERROR", tuple(r for r in found if kind in (r.type, "ANY")))
        if labels == ["dns-version"]:
            return self._only(name, kind, "TXT", f'"{VERSION}"')
        if labels[-1] == "pod":
            return self._pod(name, labels[:-1], kind)
        if labels[-1] != "svc":
            return NXDOMAIN
        rest = labels[:-1]
        if not rest:
            return NODATA
        if len(rest) == 1:
            return NODATA if rest[0] in self._namespaces or any(ns == rest[0] for ns, _ in self._services) else NXDOMAIN
        entry = self._services.get((rest[-1], rest[-2]))
        if entry is None or not entry.known:
            return NXDOMAIN
        return self._service(name, entry, rest[:-2], kind)

    def _only(self, name: str, kind: str, record: str, data: str) -> Answer:
        return Answer("NOERROR", (Record(f"{name}.", record, data, self.ttl_s),)) if kind in (record, "ANY") else NODATA

    def _pod(self, name: str, labels: list[str], kind: str) -> Answer:
        """`1-2-3-4.ns.pod`: the address is in the name; whether such a pod exists is not asked."""
        if len(labels) != 2:
            return NODATA if not labels else (NODATA if labels[0] in self._namespaces else NXDOMAIN)
        text = labels[0].replace("-", ".") if labels[0].count("-") == 3 else labels[0].replace("-", ":")
        try:
            ip = str(ipaddress.ip_address(text))
        except ValueError:
            return NXDOMAIN
        if labels[1] not in self._namespaces:
            return NXDOMAIN
        return self._only(name, kind, _family(ip), ip)

    def _service(self, name: str, entry: _Service, labels: list[str], kind: str) -> Answer:
        if entry.spec.get("type") == "ExternalName":
            if labels:
                return NXDOMAIN
            target = str(entry.spec.get("externalName", "")).rstrip(".") + "."
            return Answer("NOERROR", (Record(f"{name}.", "CNAME", target, self.ttl_s),))
        if not labels:
            ips = [e.ip for e in entry.endpoints] if entry.headless else entry.ips
            if entry.headless and not ips:
                return NXDOMAIN
            found = [Record(f"{name}.", _family(ip), ip, self.ttl_s) for ip in dict.fromkeys(ips)]
            if kind == "SRV":
                return self._ports(name, entry, "", "")
            return Answer("NOERROR", tuple(r for r in found if kind in (r.type, "ANY")))
        if len(labels) == 2 and labels[0].startswith("_") and labels[1].startswith("_"):
            answer = self._ports(name, entry, labels[0][1:], labels[1][1:])
            return answer if kind in ("SRV", "ANY") or answer.code != "NOERROR" else NODATA
        if len(labels) == 1 and entry.headless:
            ips = [e.ip for e in entry.endpoints if labels[0] in (e.hostname, dashed(e.ip))]
            if not ips:
                return NXDOMAIN
            found = [Record(f"{name}.", _family(ip), ip, self.ttl_s) for ip in ips]
            return Answer("NOERROR", tuple(r for r in found if kind in (r.type, "ANY")))
        return NXDOMAIN

    def _ports(self, name: str, entry: _Service, port: str, protocol: str) -> Answer:
        """SRV records, of all ports if none is named."""
        base = self._service_name(entry)
        targets: list[tuple[int, str, str]] = []  # number, target, address
        if entry.headless:
            for endpoint in entry.endpoints:
                target = f"{endpoint.hostname or dashed(endpoint.ip)}.{base}"
                for title, proto, number in endpoint.ports:
                    if not port or (title == port and proto.lower() == protocol):
                        targets.append((number, target, endpoint.ip))
        else:
            for given in entry.spec.get("ports") or ():
                matches = given.get("name") == port and (given.get("protocol") or "TCP").lower() == protocol
                if not port or matches:
                    targets += [(given["port"], base, ip) for ip in entry.ips[:1]]
        if not targets:
            return NXDOMAIN
        weight = 100 // len(targets) or 1
        records = tuple(Record(f"{name}.", "SRV", f"0 {weight} {n} {t}", self.ttl_s) for n, t, _ in targets)
        extra = tuple(
            Record(t, _family(ip), ip, self.ttl_s) for t, ip in dict.fromkeys((t, ip) for _, t, ip in targets)
        )
        return Answer("NOERROR", records, extra)


def _endpoints(endpoint_slice: Object) -> Iterable[_Endpoint]:
    ports = tuple(
        (p.get("name") or "", p.get("protocol") or "TCP", p["port"])
        for p in endpoint_slice.get("ports") or ()
        if p.get("port")
    )
    for endpoint in endpoint_slice.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue
        for ip in endpoint.get("addresses") or ():
            yield _Endpoint(ip, endpoint.get("hostname") or "", ports)
