"""Which pods stand behind a Service, and on which ports.

Owns what Endpoints and EndpointSlices have in common: eligibility of a pod, its ports under a
Service's names, its addresses by family, the order of ports. It reads objects and changes none.
Facts: kubernetes pkg/api/v1/pod/util.go, staging/src/k8s.io/endpointslice/util.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from protocol.objects import Object, condition_status, deleting, metadata, spec, status

__all__ = [
    "HEADLESS_LABEL",
    "LAST_CHANGE",
    "SERVICE_NAME_LABEL",
    "address_types",
    "addresses_of",
    "belongs",
    "hostname_of",
    "is_headless",
    "ports_key",
    "ports_of",
    "ready",
    "target_ref",
    "trigger_time",
]

HEADLESS_LABEL = "service.kubernetes.io/headless"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"


def ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is True."""
    return condition_status(pod, "Ready") == "True"


def belongs(pod: Object, *, with_terminating: bool) -> bool:
    """Whether a pod may be an endpoint at all: it has an address, has not finished, and is not
    being deleted unless such pods are wanted."""
    state = status(pod)
    if state.get("phase") in ("Succeeded", "Failed"):
        return False
    if not state.get("podIP") and not state.get("podIPs"):
        return False
    return with_terminating or not deleting(pod)


def is_headless(service: Object) -> bool:
    return spec(service).get("clusterIP") in (None, "", "None")


def hostname_of(pod: Object, service: Object) -> str:
    """The pod's own name under the Service, if it asks for one by `hostname` and `subdomain`."""
    wanted = spec(pod)
    if wanted.get("hostname") and wanted.get("subdomain") == metadata(service).get("name"):
        return str(wanted["hostname"])
    return ""


def target_ref(pod: Object) -> Object:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def addresses_of(pod: Object, family: str) -> list[str]:
    """The pod's addresses of a family ("IPv4" or "IPv6"), in the pod's order."""
    state = status(pod)
    listed = [p.get("ip") for p in state.get("podIPs") or ()] or [state.get("podIP")]
    return [ip for ip in listed if ip and (":" in ip) == (family == "IPv6")]


def address_types(service: Object) -> list[str]:
    """The address families that a Service has, its first one first."""
    wanted = spec(service)
    if wanted.get("ipFamilies"):
        return list(wanted["ipFamilies"])
    cluster_ip = wanted.get("clusterIP")
    if cluster_ip and cluster_ip != "None":
        return ["IPv6" if ":" in cluster_ip else "IPv4"]
    return ["IPv4", "IPv6"]


def ports_of(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as numbers on this pod; a port whose name the pod lacks is left out."""
    found = []
    for port in spec(service).get("ports") or ():
        number = _number(port, pod)
        if number is None:
            continue
        entry: Object = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol", "TCP")}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        found.append(entry)
    return found


def _number(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort")
    if isinstance(target, str):
        protocol = port.get("protocol", "TCP")
        for container in _containers(pod):
            for offered in container.get("ports") or ():
                if offered.get("name") == target and offered.get("protocol", "TCP") == protocol:
                    return int(offered["containerPort"])
        return None
    return int(target or port["port"])


def _containers(pod: Object) -> Iterable[Object]:
    yield from spec(pod).get("containers") or ()
    for container in spec(pod).get("initContainers") or ():
        if container.get("restartPolicy") == "Always":  # a sidecar serves as a container does
            yield container


FNV_OFFSET, FNV_PRIME, FNV_MASK = 0x6C62272E07BB014262B821756295C58D, (1 << 88) + 0x13B, (1 << 128) - 1


def _fnv128a(text: str) -> str:
    """http://www.isthe.com/chongo/tech/comp/fnv/ in hexadecimal."""
    value = FNV_OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * FNV_PRIME) & FNV_MASK
    return f"{value:032x}"


@lru_cache(maxsize=1024)
def _hash(name: str, protocol: str, port: int, app_protocol: str, pointers: bool) -> str:
    star = "*" if pointers else ""
    app = f"(*string){app_protocol}" if app_protocol else "(*string)<nil>"
    parts = {
        "Name": f"({star}string){name}",
        "Protocol": f"({star}v1.Protocol){protocol}",
        "Port": f"({star}int32){port}",
    }
    order = ("Name", "Protocol", "Port") if pointers else ("Name", "Port", "Protocol")
    fields = " ".join(f"{field}:{parts[field]}" for field in order)
    return _fnv128a(f"(v1.EndpointPort){{{fields} AppProtocol:{app}}}")


def port_hash(port: Object, *, pointers: bool) -> str:
    """The FNV-1a hash by which ports are ordered: of the text that go-spew gives an EndpointPort.

    `pointers`: the fields are pointers, as in discovery/v1; plain values as in core/v1.
    """
    app = port.get("appProtocol") or ""
    return _hash(port.get("name") or "", port.get("protocol", "TCP"), port.get("port") or 0, app, pointers)


def ports_key(ports: Iterable[Object]) -> tuple[tuple[Any, ...], ...]:
    """What groups endpoints: their ports, without regard to order."""
    return tuple(
        sorted(
            (p.get("name") or "", p.get("port") or 0, p.get("protocol", "TCP"), p.get("appProtocol") or "")
            for p in ports
        )
    )


def trigger_time(service: Object, pods: Iterable[Object], known: dict[str, str]) -> str:
    """The earliest new change among the Service's creation and its pods' transitions to or from
    ready, as RFC 3339, or an empty string. `known` remembers what was seen and is updated."""
    fresh = []
    created = metadata(service).get("creationTimestamp", "")
    if created and known.get("") != created:
        known[""] = created
        fresh.append(created)
    present = {""}
    for pod in pods:
        identity = metadata(pod).get("uid", "")
        present.add(identity)
        moment = _transition(pod)
        if moment and known.get(identity, "") < moment:
            known[identity] = moment
            fresh.append(moment)
    for identity in [i for i in known if i not in present]:
        del known[identity]
    return min(fresh, default="")


def _transition(pod: Object) -> str:
    for entry in status(pod).get("conditions") or ():
        if entry.get("type") == "Ready":
            return str(entry.get("lastTransitionTime") or metadata(pod).get("creationTimestamp", ""))
    return str(metadata(pod).get("creationTimestamp", ""))
