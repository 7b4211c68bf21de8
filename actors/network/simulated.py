"""The network between simulated pods: which connections come about, and what names lead where.

Owns the answers to what simulated containers' programs ask (`protocol.podnet`). Each connection walks
through the very rules that the nodes' kube-proxies write, and the NetworkPolicies on both ends judge it;
the kubelet's probes do not come by here, as a node may always reach its pods. What is outside of the
cluster is taken to be there. Nothing is read from the API before somebody asks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from actors.client import Client, ClientActor, Informer
from actors.kernel import ActorDead, AskTimeout, Ref, handles
from actors.network._addresses import node_ips, pod_ips
from actors.network._informing import noting
from actors.network._service import ports_of
from protocol.api import StatusError, UserInfo
from protocol.dns import Answer, Query
from protocol.objects import Object, key
from protocol.podnet import LOST, OPEN, REFUSED, Dial, Dialed, LookedUp, LookUp
from protocol.resolv import ResolvConf, candidates

if TYPE_CHECKING:  # a network that nobody uses loads no netfilter
    from actors.network._paths import Journey, Paths
    from actors.network.policy import Policies

__all__ = ["OUTSIDE_IP", "SimulatedNetwork"]

USER = UserInfo("system:serviceaccount:kube-system:network", ("system:masters", "system:authenticated"))
OUTSIDE_IP = "192.0.2.1"  # what names outside of the cluster lead to: an address that nobody has
DNS_TIMEOUT_S = 5.0
VERDICT = "kubekka.dev/probe"
SERVICE_NAME = "kubernetes.io/service-name"
RESOURCES = ("pods", "nodes", "services", "endpointslices", "networkpolicies", "namespaces", "servicecidrs")


class SimulatedNetwork(ClientActor):
    """`dns`: the path of the actor that answers `Query`; `config`: a KubeProxyConfiguration."""

    def __init__(
        self,
        apiserver: Ref,
        config: Mapping[str, Any] | None = None,
        *,
        dns: str = "dns",
        domain: str = "cluster.local",
    ) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user=USER, user_agent="network")
        self.config, self.dns, self.domain = config, dns, domain
        self._objects: dict[str, dict[str, Object]] = {what: {} for what in RESOURCES}
        self._pods: dict[str, Object] = {}  # by address
        self._nodes: dict[str, Object] = {}  # by address
        self._slices: dict[str, dict[str, Object]] = {}  # Service -> its slices
        self._fronts: dict[str, dict[str, None]] = {}  # address or `:node port` -> Services
        self._policies: Policies | None = None
        self._recent: dict[str, dict[str, dict[str, float]]] = {}  # node and family -> list -> client -> when
        self.informers: tuple[Informer, ...] = ()
        self.dials = 0

    # -- what there is -----------------------------------------------------------------------------

    async def _ready(self) -> None:
        if not self.informers:
            self.informers = tuple(noting(self.client, what, partial(self._note, what)) for what in RESOURCES)
            for informer in self.informers:
                informer.start()
        for informer in self.informers:
            await informer.synced()

    def _note(self, what: str, name: str, old: Object | None, obj: Object | None) -> None:
        store = self._objects[what]
        store.pop(name, None)
        if obj is not None:
            store[name] = obj
        if what in ("networkpolicies", "namespaces"):
            self._policies = None
        elif what == "pods":
            _index(self._pods, old, obj, lambda pod: () if _ended(pod) else pod_ips(pod))
        elif what == "nodes":
            _index(self._nodes, old, obj, node_ips)
        elif what == "services":
            for front in _fronts(old):
                names = self._fronts.get(front, {})
                names.pop(name, None)
                if not names:
                    self._fronts.pop(front, None)
            for front in _fronts(obj):
                self._fronts.setdefault(front, {})[name] = None
        elif what == "endpointslices":
            for was in (old, obj):
                service = _service_of(was)
                if service:
                    self._slices.setdefault(service, {}).pop(name, None)
            if obj is not None and (service := _service_of(obj)):
                self._slices[service][name] = obj

    async def _sender(self, message: Dial | LookUp) -> Object | None:
        """The pod that asks, with its addresses: what just started may be ahead of what is told of it."""
        pod = self._objects["pods"].get(f"{message.namespace}/{message.pod}")
        if pod is None:
            try:
                pod = await self.client.get("pods", message.pod, message.namespace)
            except (StatusError, ActorDead, AskTimeout):
                return None
        if pod_ips(pod) or (pod.get("spec") or {}).get("hostNetwork") or not message.ips:
            return pod
        status = {**(pod.get("status") or {}), "podIP": message.ips[0], "podIPs": [{"ip": ip} for ip in message.ips]}
        return {**pod, "status": status}

    def _paths(self, sender: Object | None, address: str, port: int) -> Paths:
        """Rules of those Services only that a packet to this place can meet."""
        from actors.network._paths import Paths
        from actors.network.policy import Policies

        if self._policies is None:
            self._policies = Policies(self._objects["networkpolicies"].values(), self._objects["namespaces"].values())
        front = f":{port}" if address in self._nodes else address
        services = [self._objects["services"][name] for name in self._fronts.get(front, {})]
        known = self._objects["pods"]
        return Paths(
            pods=self._pods if sender is None else _Overlay(self._pods, dict.fromkeys(pod_ips(sender), sender)),
            nodes=self._nodes,
            pod=lambda space, name: (
                sender if sender and f"{space}/{name}" == key(sender) else known.get(f"{space}/{name}")
            ),
            node=self._objects["nodes"].get,
            services=services,
            slices=[s for service in services for s in self._slices.get(key(service), {}).values()],
            policies=self._policies,
            config=self.config,
            rng=self.random,
            now=self.clock.monotonic,
            recent=lambda host: self._recent.setdefault(host, {}),  # affinity lasts from one packet to the next
        )

    # -- connections -------------------------------------------------------------------------------

    @handles(Dial)
    async def dial(self, message: Dial) -> Dialed:
        await self._ready()
        self.dials += 1
        if not message.pod:
            return self._send(None, message.ips[0], message.address, message.port, message.protocol)
        sender = await self._sender(message)
        return self._dial(sender, message.address, message.port, message.protocol)

    def _dial(self, sender: Object | None, address: str, port: int, protocol: str) -> Dialed:
        if sender is None:
            return Dialed(LOST)
        return self._send(sender, key(sender), address, port, protocol)

    def _send(self, sender: Object | None, source: str, address: str, port: int, protocol: str) -> Dialed:
        from actors.network._paths import UnknownEnd

        paths = self._paths(sender, address, port)
        host = f"[{address}]" if ":" in address else address
        try:
            journey = paths.follow(source, f"{host}:{port}", "", protocol, self.random.randint(32768, 60999))
        except UnknownEnd:
            return Dialed(LOST)  # the pod has no address of this family, or its node is unknown
        return Dialed(LOST) if self._interrupted(journey) else self._arrived(journey)

    def _interrupted(self, journey: Journey) -> bool:
        """Whether a host on the way has gone silent, or a link between two of them is cut."""
        hosts = [hop.host for hop in journey.hops]
        if any(_silent(self._objects["nodes"][host]) for host in hosts[1:]):
            return True
        return any(self._cut(a, b) for a, b in pairwise(hosts))

    def _cut(self, source: str, target: str) -> bool:
        """A simulation's faults are its network's faults too."""
        links = getattr(self.system, "links", None)
        return links is not None and (links.is_cut(source, target) or links.is_cut(target, source))

    def _arrived(self, journey: Journey) -> Dialed:
        outcome = journey.hops[-1].outcome
        if outcome.verdict == "REJECT":
            return Dialed(REFUSED)
        if outcome.verdict != "ACCEPT" or journey.denied:
            return Dialed(LOST)
        packet = outcome.packet
        pod = self._pods.get(packet.dst)
        if pod is not None:
            return self._at_pod(pod)
        if packet.dst in self._nodes:
            return self._at_node(journey, packet.dst, packet.dport)
        if self._in_cluster(packet.dst):
            return Dialed(LOST)  # nobody has this address, or no longer
        return Dialed(OPEN)

    def _in_cluster(self, address: str) -> bool:
        """Whether an address is one of pods or Services: who has none of these is outside."""
        ranges = [
            cidr
            for what, field in (("servicecidrs", "cidrs"), ("nodes", "podCIDRs"))
            for obj in self._objects[what].values()
            for cidr in (obj.get("spec") or {}).get(field) or ()
        ]
        return address in self._fronts or any(_within(address, cidr) for cidr in ranges)

    def _at_pod(self, pod: Object) -> Dialed:
        """Ports answer while a container runs, unless the annotation that probes heed says otherwise."""
        if not _runs(pod):
            return Dialed(REFUSED)
        name = key(pod)
        verdict = (pod["metadata"].get("annotations") or {}).get(VERDICT, "")
        if verdict == "timeout":
            return Dialed(LOST, name)
        if verdict == "fail":
            return Dialed(REFUSED, name)
        status = int(verdict) if verdict.isdigit() else 200
        return Dialed(OPEN, name, status, f"{pod['metadata']['name']}\n".encode())

    def _at_node(self, journey: Journey, address: str, port: int) -> Dialed:
        """On a node listen its kubelet, its kube-proxy's health checks, and pods of its network."""
        name = self._nodes[address]["metadata"]["name"]
        if journey.answer:
            _, _, rest = journey.answer.partition("answers ")
            status, _, body = rest.partition(": ")
            return Dialed(OPEN, name, int(status), body.encode())
        for pod in self._objects["pods"].values():
            spec = pod.get("spec") or {}
            ports = [p["containerPort"] for c in spec.get("containers") or () for p in c.get("ports") or ()]
            if spec.get("nodeName") == name and spec.get("hostNetwork") and port in ports and _runs(pod):
                return self._at_pod(pod)
        return Dialed(OPEN, name) if port == 10250 else Dialed(REFUSED, name)

    # -- names -------------------------------------------------------------------------------------

    @handles(LookUp)
    async def look_up(self, message: LookUp) -> LookedUp:
        await self._ready()
        dns = self.system.lookup(self.dns)
        server = message.nameservers[0] if message.nameservers else ""
        if server:
            sender = await self._sender(message)
            node = ((sender or {}).get("spec") or {}).get("nodeName", "")
            if self._dial(sender, server, 53, "udp").verdict != OPEN or self._cut(node, self.dns):
                return LookedUp(message.name, code="LOST")
        conf = ResolvConf(message.nameservers, message.search, message.options)
        code = "NXDOMAIN"
        clusters = server in self._fronts and dns is not None  # a node's own resolver knows no Services
        for name in candidates(message.name, conf) if clusters else ():
            assert dns is not None
            found = await self._ask(dns, name, message.families)
            if found.addresses or found.code not in ("NXDOMAIN", "REFUSED"):
                return found
            code = found.code if found.code == "NXDOMAIN" else code
        if self._outside(message.name):
            return LookedUp(f"{message.name.rstrip('.')}.", (OUTSIDE_IP,) if "A" in message.families else ())
        return LookedUp(message.name, code=code)

    async def _ask(self, dns: Ref, name: str, families: Iterable[str]) -> LookedUp:
        addresses: dict[str, None] = {}
        code, alias = "NXDOMAIN", ""
        for kind in families:
            try:
                answer: Answer = await self.ask(dns, Query(name, kind), timeout=DNS_TIMEOUT_S)
            except (ActorDead, AskTimeout):
                return LookedUp(name, code="LOST")
            code = answer.code
            addresses.update({r.data: None for r in answer.records if r.type == kind})
            alias = next((r.data for r in reversed(answer.records) if r.type == "CNAME"), alias)
        if alias and not addresses and self._outside(alias):
            return LookedUp(alias, (OUTSIDE_IP,) if "A" in families else ())
        return LookedUp(name, tuple(addresses), code)

    def _outside(self, name: str) -> bool:
        """Whether a name is somebody else's: not the cluster's, nor one that was meant to be."""
        labels = name.rstrip(".").lower().split(".")
        ours = name.rstrip(".").lower().endswith(self.domain) or labels[-1] == "svc"
        return len(labels) > 1 and not ours and labels[-1] not in self._objects["namespaces"]

    def statistics(self) -> dict[str, int]:
        """Connections asked for."""
        return {"dials": self.dials}


class _Overlay(Mapping[str, Object]):
    """`over` on top of `base`, without a copy of it."""

    def __init__(self, base: Mapping[str, Object], over: Mapping[str, Object]) -> None:
        self.base, self.over = base, over

    def __getitem__(self, name: str) -> Object:
        return self.over[name] if name in self.over else self.base[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.base, **self.over})

    def __len__(self) -> int:
        return len(self.base.keys() | self.over.keys())


def _index(
    store: dict[str, Object], old: Object | None, new: Object | None, ips: Callable[[Object], Iterable[str]]
) -> None:
    """Keep an index of addresses; an address that somebody else has by now is left to him."""
    for ip in ips(old) if old is not None else ():
        if ip in store and key(store[ip]) == key(old or {}):
            del store[ip]
    for ip in ips(new) if new is not None else ():
        store[ip] = new or {}


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _runs(pod: Object) -> bool:
    states = [s.get("state") or {} for s in (pod.get("status") or {}).get("containerStatuses") or ()]
    return any("running" in state for state in states)


def _silent(node: Object) -> bool:
    """Whether nothing was heard of a node for its grace period."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "Unknown" for c in conditions)


def _service_of(endpoint_slice: Object | None) -> str:
    meta = (endpoint_slice or {}).get("metadata") or {}
    name = (meta.get("labels") or {}).get(SERVICE_NAME)
    return f"{meta['namespace']}/{name}" if name else ""


def _fronts(service: Object | None) -> Iterable[str]:
    """The addresses and node ports by which a Service is reached."""
    if service is None:
        return
    for family in ("IPv4", "IPv6"):
        for port in ports_of(service, family).values():
            yield from (port.cluster_ip, *port.external_ips, *port.load_balancer_ips)
            for number in (port.node_port, port.health_check_node_port):
                if number:
                    yield f":{number}"


def _within(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
