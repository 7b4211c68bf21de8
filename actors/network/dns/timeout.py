"""The five seconds: how a name look-up in a pod comes to wait, and what cures it.

Owns a small world in virtual time: a resolver in a pod, the node's netfilter with two processors
that carry packets at once, and DNS servers behind a Service. Everything else is the real thing: the
rules are those that kube-proxy prints, the walk is `netfilter`'s. It must never use real time.

A resolver sends its A and AAAA questions from one socket, microseconds apart. Both packets have the
same addresses and ports; when they pass the node at the same moment neither finds the other's
connection, each is translated on its own, and the second to leave finds that its connection exists
already. The kernel counts `insert_failed` and drops it; the resolver waits five seconds.

    A     -> nat: endpoint 1 ------------> confirmed, sent
    AAAA  ->    nat: endpoint 2 ------------------------> exists already: dropped
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from actors.kernel import Actor, Child, Future, Ref, Simulation, handles
from actors.network._config import ProxyConfig
from actors.network._ruleset import RuleSet
from actors.network.netfilter import Outcome, Packet, Tables, Walker
from protocol.message import Message

__all__ = ["CURES", "Case", "Result", "run", "table"]

DNS_IP, POD_IP, NODE_IP = "10.96.0.10", "10.244.1.9", "192.168.0.2"
NODE_LOCAL_IP = "169.254.20.10"
RESOLVER_TIMEOUT_S = 5.0
ATTEMPTS = 2


class Case(msgspec.Struct, frozen=True):
    """What is tried. `options`: of resolv.conf. `endpoints`: DNS pods. `resolve_clashes`: a kernel
    of 5.0 or later. `node_local`: a cache on the node that no rule translates to. `gap_s`: time
    between the two questions; `work_s`: time that a packet is under way between its two halves."""

    name: str
    options: tuple[str, ...] = ()
    endpoints: int = 2
    resolve_clashes: bool = False
    node_local: bool = False
    gap_s: tuple[float, float] = (0.000005, 0.001)
    work_s: tuple[float, float] = (0.00001, 0.00006)


CURES: tuple[Case, ...] = (
    Case("as it is"),
    Case("kernel 5.0, two DNS pods", resolve_clashes=True),
    Case("kernel 5.0, one DNS pod", resolve_clashes=True, endpoints=1),
    Case("options single-request-reopen", ("single-request-reopen",)),
    Case("options single-request", ("single-request",)),
    Case("options use-vc (TCP)", ("use-vc",)),
    Case("a cache on the node", node_local=True),
)


class Result(msgspec.Struct, frozen=True):
    """Of one case: how long each look-up took in seconds, and the node's conntrack counters."""

    case: Case
    seconds: tuple[float, ...]
    counters: dict[str, int]

    @property
    def slow(self) -> int:
        """Look-ups that took five seconds or more."""
        return sum(1 for s in self.seconds if s >= RESOLVER_TIMEOUT_S)


class _Datagram(Message, frozen=True):
    packet: Packet
    question: str
    back_to: Ref


class _Leaves(Message, frozen=True):
    """The second half of a packet's walk."""

    outcome: Outcome
    datagram: _Datagram


class _Reply(Message, frozen=True):
    question: str
    port: int


class _GiveUp(Message, frozen=True):
    """The patience with what was asked from a port is over."""

    port: int


class _LookUp(Message, frozen=True):
    """Ask for a name; answered by the seconds it took."""

    number: int


class _Node(Actor):
    """Carries packets through netfilter, any number at the same time."""

    def __init__(self, walker: Walker, work_s: tuple[float, float], delay_s: float) -> None:
        super().__init__()
        self.walker = walker
        self.work_s = work_s
        self.delay_s = delay_s

    @handles(_Datagram)
    def first_half(self, message: _Datagram) -> None:
        outcome = self.walker.forward(message.packet, confirm=False)
        if outcome.verdict == "ACCEPT":
            self.after(self.random.uniform(*self.work_s), _Leaves(outcome, message))

    @handles(_Leaves)
    async def second_half(self, message: _Leaves) -> None:
        if self.walker.confirm(message.outcome):
            await self.sleep(self.delay_s)  # to the DNS pod and back
            message.datagram.back_to.tell(_Reply(message.datagram.question, message.datagram.packet.sport))


class _Resolver(Actor):
    """A stub resolver as glibc's: A and AAAA for each name, five seconds of patience, twice."""

    def __init__(self, node: Ref, case: Case) -> None:
        super().__init__()
        self.node = node
        self.case = case
        self.port = 32768
        self.open: dict[int, list[str]] = {}  # port -> questions without an answer
        self.waiting: dict[int, Future[None]] = {}

    @handles(_Reply)
    def reply(self, message: _Reply) -> None:
        missing = self.open.get(message.port, [])
        if message.question in missing:
            missing.remove(message.question)
            if not missing:
                self.waiting[message.port].resolve(None)

    @handles(_GiveUp)
    def give_up(self, message: _GiveUp) -> None:
        self.waiting[message.port].resolve(None)

    @handles(_LookUp)
    async def look_up(self, message: _LookUp) -> float:
        began = self.clock.monotonic()
        alone = any(o in self.case.options for o in ("single-request", "single-request-reopen"))
        missing = ["A", "AAAA"]
        for _ in range(ATTEMPTS):
            port = self._socket()
            if "use-vc" in self.case.options:
                # one connection carries both questions, so what answers one answers both
                missing = missing if await self._ask(missing[:1], port, "tcp") else []
            elif alone:
                for kind in list(missing):
                    port = self._socket() if "single-request-reopen" in self.case.options else port
                    if not await self._ask([kind], port):
                        missing.remove(kind)
            else:
                missing = await self._ask(missing, port)
            if not missing:
                break
        return self.clock.monotonic() - began

    def _socket(self) -> int:
        self.port += 1
        return self.port

    async def _ask(self, kinds: list[str], port: int, protocol: str = "udp") -> list[str]:
        """Send the questions from one port and wait for all answers, or five seconds. Returns the
        questions that got none."""
        target = NODE_LOCAL_IP if self.case.node_local else DNS_IP
        self.open[port] = list(kinds)
        answered = self.waiting[port] = Future()
        for i, kind in enumerate(kinds):
            if i:
                await self.sleep(self.random.uniform(*self.case.gap_s))
            packet = Packet(POD_IP, target, protocol, port, 53, in_interface="cni0")
            self.node.tell(_Datagram(packet, kind, self.ref))
        timer = self.after(RESOLVER_TIMEOUT_S, _GiveUp(port))
        await answered
        timer.cancel()
        return self.open.pop(port)


def _rules(endpoints: int) -> Tables:
    """The node's tables with the Service kube-dns, as its kube-proxy writes them."""
    rules = RuleSet(ProxyConfig(node_name="node", node_ip=NODE_IP, local_match=("-s", "10.244.0.0/16")))
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    meta = {"namespace": "kube-system", "name": "kube-dns"}
    rules.set_service({"metadata": meta, "spec": {"clusterIP": DNS_IP, "ports": ports}})
    listed = [
        {"addresses": [f"10.244.2.{i + 2}"], "nodeName": "other", "conditions": {"ready": True}}
        for i in range(endpoints)
    ]
    labels = {"kubernetes.io/service-name": "kube-dns"}
    body: dict[str, Any] = {"metadata": {**meta, "name": "kube-dns-x", "labels": labels}, "addressType": "IPv4"}
    rules.set_slice({**body, "ports": ports, "endpoints": listed})
    tables = Tables()
    tables.restore(rules.text())
    return tables


def run(case: Case, lookups: int = 200, seed: int = 0, every_s: float = 0.1) -> Result:
    """Look a name up `lookups` times, one after the other; the same seed gives the same result."""
    sim = Simulation(seed=seed, name=f"dns-timeout-{seed}")
    local = [NODE_IP, NODE_LOCAL_IP]
    walker = Walker(
        _rules(case.endpoints),
        local,
        rng=random.Random(f"nat {seed}"),
        now=sim.clock.monotonic,
        resolve_clashes=case.resolve_clashes,
    )
    if case.node_local:
        walker.untracked = frozenset((NODE_LOCAL_IP,))
    node = sim.spawn(Child("node", lambda: _Node(walker, case.work_s, 0.0004)))
    resolver = sim.spawn(Child("resolver", lambda: _Resolver(node, case)))
    seconds = []
    for number in range(lookups):
        seconds.append(float(sim.ask(resolver, _LookUp(number))))
        sim.advance(every_s)
    return Result(case, tuple(seconds), dict(walker.statistics))


def table(results: Iterable[Result]) -> list[str]:
    """The results as lines of a Markdown table."""
    lines = ["| case | look-ups | of these slow | longest | insert_failed |", "|---|---|---|---|---|"]
    for r in results:
        longest = f"{max(r.seconds):.4f} s"
        lines.append(f"| {r.case.name} | {len(r.seconds)} | {r.slow} | {longest} | {r.counters['insert_failed']} |")
    return lines
