"""The kube-proxy of one node.

Owns that node's rule sets, one for each address family, and keeps them in step with the API: informers
tell it of Services, EndpointSlices and its Node. What a change costs is noting it; rules are computed
when somebody wants them: a backend that applies them (then at most once per `min_sync_period_s`), or
whoever asks with `GetRules`. It must never read pods, nor decide who is an endpoint.

    Service created -> noted | slice of 2 endpoints -> noted | sync: KUBE-SVC + 2 KUBE-SEP chains
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from actors.client import Client, EventRecorder
from actors.kernel import Child, Ref, handles
from actors.network._config import ProxyConfig, family_of
from actors.network._health import HealthGet, Listen, NotListening, ProxyHealth, service_answer
from actors.network._informing import noting
from actors.network._keeper import Appliers, RuleKeeper
from actors.network._proxy_metrics import ProxyMetrics
from actors.network._ruleset import Delta, RuleSet
from actors.network.nftables import rules_for
from protocol.api import UserInfo
from protocol.http import HttpReply
from protocol.message import Message
from protocol.objects import Object, split_key

if TYPE_CHECKING:
    from actors.network.applier import Apply, Install

__all__ = ["GetRules", "HealthCheck", "KubeProxy"]

USER_AGENT = "kube-proxy"
OURS = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"
NAMED = "kubernetes.io/service-name"
PLAIN = "text/plain; charset=utf-8"
EVERYWHERE = {"IPv4": "0.0.0.0", "IPv6": "::"}

Backend = Callable[[str], Any]
Place = tuple[str, int]


class GetRules(Message, frozen=True):
    """Answered by the rules as `iptables-restore` text, once the first lists have been read."""

    tables: tuple[str, ...] = ("nat", "filter")
    family: str = "IPv4"


class HealthCheck(Message, frozen=True):
    """What would a load balancer be told at this health check node port? Answered by an `HttpReply`,
    or None where no Service has that port."""

    port: int


class KubeProxy(RuleKeeper):
    """Turns Services and EndpointSlices into rules for `node_name`.

    `backend(text)` is given `iptables-restore --noflush` (or, by the mode, `nft -f`) input for the first
    family: the whole tables first, then only what changed. `appliers` do the same for real, see
    `RuleKeeper`. Without either the rules are kept as data. `config`: a KubeProxyConfiguration.
    `policies`: a `NetworkPolicyAgent` to run below, where nothing else enforces policies. `ports`: how to
    start a `HealthPorts`; `serving`: (purpose, address, port) of its own ports, the purposes being
    `healthz` and `metrics`; `service_ports`: answer at Services' health check node ports there too.
    `neighbours`: other nodes on the same machine.
    """

    def __init__(
        self,
        node_name: str,
        apiserver: Ref,
        config: Mapping[str, Any] | None = None,
        *,
        backend: Backend | None = None,
        appliers: Appliers | None = None,
        families: tuple[str, ...] = (),
        policies: Child | None = None,
        ports: Child | None = None,
        serving: tuple[tuple[str, str, int], ...] = (),
        service_ports: bool = True,
        neighbours: tuple[str, ...] = (),
    ) -> None:
        super().__init__(families or tuple(appliers or ()) or ("IPv4",), appliers)
        self._children = [child for child in (policies,) if child is not None]
        self._ports_child, self._serving, self._service_ports = ports, serving, service_ports
        self.ports: Ref | None = None
        self.node_name = node_name
        self.given = config or {}
        user = UserInfo("system:kube-proxy", ("system:node-proxier", "system:authenticated"))
        self.client = Client(self, apiserver, user=user, user_agent=USER_AGENT)
        self.recorder = EventRecorder(self.client, "kube-proxy", node_name)
        self.backend = backend
        self._neighbours = neighbours
        self._node: Object | None = None
        self._cidrs: dict[str, tuple[str, ...]] = {}
        self.rule_sets: dict[str, RuleSet] = {family: rules_for(self._config(family)) for family in self.sides}
        self._deltas: dict[str, list[Delta]] = {family: [] for family in self.sides}
        self.syncs = 0
        self.metrics = ProxyMetrics()
        self._noted: dict[tuple[str, str], Object | None] = {}
        self._backend_written = False
        self._listening: Mapping[Place, str] = {}
        self._inform("services", label_selector=OURS)
        self._inform("endpointslices", label_selector=f"{NAMED},{OURS}")
        self._inform("nodes", field_selector=f"metadata.name={node_name}")
        if self.rules.config.mode == "nftables":
            self._inform("servicecidrs")

    @property
    def rules(self) -> RuleSet:
        """The rules of the first family."""
        return next(iter(self.rule_sets.values()))

    @property
    def period_s(self) -> float:
        return self.rules.config.sync_period_s

    def _inform(self, what: str, **selectors: str) -> None:
        self.inform(noting(self.client, what, lambda name, old, new: self._note(what, name, new), **selectors))

    def on_start(self) -> None:
        self.health = ProxyHealth(self.clock.now(), 2 * self.period_s)
        self.start_keeping()
        for child in self._children:
            self.spawn(child)
        if self._ports_child is not None:
            self.ports = self.spawn(self._ports_child)
            self._listen()

    # -- changes -----------------------------------------------------------------------------------

    def _note(self, what: str, object_key: str, obj: Object | None) -> None:
        self._noted[what, object_key] = obj
        now = self.clock.now()
        if what in ("services", "endpointslices"):
            self.metrics.noted("service" if what == "services" else "endpoint", now)
        if self.backend is not None or self.applies or self.ports is not None:
            for family in self.sides:
                self.health.queued(family, now)
            written = self._backend_written or any(side.written for side in self.sides.values())
            self.sync_in(self.rules.config.min_sync_period_s if written else 0.0)

    def prepare(self) -> None:
        for family, deltas in self.refresh().items():
            if self.sides[family].applier is not None:
                self._deltas[family] += deltas

    def change(self, family: str, written: bool) -> Install | Apply | None:
        from actors.network.applier import Apply, Install

        self._began = self.clock.monotonic()
        deltas, self._deltas[family] = self._deltas[family], []
        rules = self.rule_sets[family]
        if not written:
            return Install(rules.restore_text(), tuple(rules.jumps()), rules.sysctls(), rules.udp_fronts())
        if not deltas:
            return None
        text = "".join(d.restore_text() for d in deltas)
        return Apply(text, tuple(flow for d in deltas for flow in d.stale))

    def wrote(self, family: str, full: bool, written: bool) -> None:
        if written:
            self.metrics.wrote(family, full, self.clock.monotonic() - self._began, self.clock.now())

    def settled(self, noted: Mapping[str, bool]) -> None:
        for family, stands in noted.items():
            if stands:
                self.health.updated(family, self.clock.now())
        self._listen()

    def refresh(self) -> dict[str, list[Delta]]:
        """Compute all that was noted, tell the backend, and return what changed, by family."""
        noted, self._noted = self._noted, {}
        found: dict[str, list[Delta]] = {family: [] for family in self.sides}
        if not noted:
            return found
        self.syncs += 1
        self._configure(noted)
        for (what, object_key), obj in noted.items():
            for family, rules in self.rule_sets.items():
                delta = _apply(rules, what, object_key, obj)
                if delta or delta.stale:
                    found[family].append(delta)
        self.metrics.computed()
        first = next(iter(found.values()))
        if self.backend is not None and (first or not self._backend_written):
            text = "".join(d.restore_text() for d in first) if self._backend_written else self.rules.text()
            self._backend_written = True
            self.backend(text)
        return found

    def _configure(self, noted: dict[tuple[str, str], Object | None]) -> None:
        """What was noted of the node and of the Service ranges: they concern every rule."""
        about = [(what, name) for what, name in noted if what in ("nodes", "servicecidrs")]
        for what, name in about:
            obj = noted.pop((what, name))
            if what == "nodes":
                self._node = obj
                self.health.node(obj)
            elif obj is None:
                self._cidrs.pop(name, None)
            else:
                self._cidrs[name] = tuple((obj.get("spec") or {}).get("cidrs") or ())
        for family, rules in self.rule_sets.items() if about else ():
            if rules.reconfigure(self._config(family)):
                self.sides[family].written = self._backend_written = False
                self._deltas[family] = []

    def _config(self, family: str) -> ProxyConfig:
        config = ProxyConfig.load(self.given, self._node, self.node_name, family)
        ranges = sorted({c for cidrs in self._cidrs.values() for c in cidrs if family_of(c) == family})
        return msgspec.structs.replace(config, service_cidrs=tuple(ranges), neighbours=self._neighbours)

    # -- answers -----------------------------------------------------------------------------------

    @handles(GetRules)
    async def get_rules(self, message: GetRules) -> str:
        await self._current()
        return self.rule_sets[message.family].text(message.tables)

    async def _current(self) -> None:
        """Until the rules are as the API says; what this computes is still to be written."""
        await self.synced()
        self.prepare()

    @handles(HealthCheck)
    async def health_check(self, message: HealthCheck) -> HttpReply | None:
        await self._current()
        for rules in self.rule_sets.values():
            for name, port in rules.health_ports.items():
                if port == message.port:
                    return self._service_answer(name)
        return None

    def _service_answer(self, name: tuple[str, str]) -> HttpReply:
        local = sum(rules.local_ready(name) for rules in self.rule_sets.values())
        return service_answer(*name, local, self.health.healthy(self.clock.now()))

    @handles(HealthGet)
    def health_get(self, message: HealthGet) -> HttpReply:
        """A request that came in at one of the ports."""
        now = self.clock.now()
        purpose, _, name = message.purpose.partition("/")
        if purpose == "service":
            namespace, _, service = name.partition("/")
            return self._service_answer((namespace, service))
        if purpose == "healthz" and message.path in ("/healthz", "/livez"):
            return self.health.healthz(now) if message.path == "/healthz" else self.health.livez(now)
        if purpose == "metrics" and message.path == "/metrics":
            return HttpReply(200, "text/plain; version=0.0.4; charset=utf-8", self._metrics_text().encode())
        if purpose == "metrics" and message.path in ("/proxyMode", "/healthz"):
            text = self.rules.config.mode if message.path == "/proxyMode" else "ok"
            return HttpReply(200, PLAIN, text.encode(), headers=(("X-Content-Type-Options", "nosniff"),))
        return HttpReply(404, PLAIN, b"404 page not found\n")

    def _metrics_text(self) -> str:
        failures = {family: side.failures for family, side in self.sides.items()}
        rules = {family: found.counts() for family, found in self.rule_sets.items()}
        lost = {family: found.without_local() for family, found in self.rule_sets.items()}
        return self.metrics.text(failures, rules, lost, self.health.answers, self.rules.config.mode)

    def _listen(self) -> None:
        """Keep the ports open that Services ask for."""
        if self.ports is None:
            return
        places: dict[Place, str] = {(host, port): purpose for purpose, host, port in self._serving}
        for family, rules in self.rule_sets.items() if self._service_ports else ():
            ips = rules.config.node_port_ips
            hosts = (EVERYWHERE[family],) if ips is None else ips
            for (namespace, name), port in rules.health_ports.items():
                places.update({(host, port): f"service/{namespace}/{name}" for host in hosts})
        if ("::" in {host for host, _ in places}) and "IPv4" in self.rule_sets:
            # "::" stands for the addresses of both families
            places = {(h, p): what for (h, p), what in places.items() if h != "0.0.0.0" or ("::", p) not in places}
        if places != self._listening:
            self._listening = places
            self.ports.tell(Listen(places, self.ref))

    @handles(NotListening)
    def not_listening(self, message: NotListening) -> None:
        kind, _, name = message.purpose.partition("/")
        if kind == "service":
            namespace, _, service = name.partition("/")
            about = {"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": service, "uid": name}
            text = f'node {self.node_name} failed to start healthcheck "{name}" on port {message.place[1]}: {message.error}'
            self.recorder.event(about, "Warning", "FailedToStartServiceHealthcheck", text)

    def statistics(self) -> dict[str, int]:
        """Endpoints known, changes waiting, syncs done."""
        endpoints = sum(rules.total_endpoints for rules in self.rule_sets.values())
        return {"endpoints": endpoints, "noted": len(self._noted), "syncs": self.syncs}


def _apply(rules: RuleSet, what: str, object_key: str, obj: Object | None) -> Delta:
    namespace, name = split_key(object_key)
    if what == "services":
        return rules.set_service(obj) if obj else rules.delete_service(namespace, name)
    return rules.set_slice(obj) if obj else rules.delete_slice(namespace, name)
