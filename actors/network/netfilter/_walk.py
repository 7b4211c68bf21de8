"""A host's packet path: which chains a packet passes, what they make of it.

Owns the walk PREROUTING - routing - INPUT or FORWARD - POSTROUTING (or OUTPUT - POSTROUTING for the
host's own packets), address translation, and the connections that conntrack knows: only the first
packet of a connection sees the nat table. It must never change a rule. Facts: the netfilter packet
flow; nf_nat.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import msgspec

from actors.network.netfilter._packet import Flow, Outcome, Packet, Step
from actors.network.netfilter._rule import Rule
from actors.network.netfilter._tables import Tables

__all__ = ["Walker"]

MAX_DEPTH = 32
EPHEMERAL = (32768, 60999)


class _Connection(msgspec.Struct):
    """A connection: what its packets' addresses become on the way there."""

    original: Flow
    translated: Flow
    dnat: bool
    seen_at: float


class _Lost(Exception):
    """The packet ended here."""

    def __init__(self, verdict: str) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class Walker:
    """One host. `local`: its own addresses; `source_for(dst)`: the address that masquerading uses;
    `now()`: seconds, for the recent match and connections. `resolve_clashes`: two packets that make
    the same connection at once agree if both were translated alike (Linux 5.0 and later).

    A packet walks in two halves, as in the kernel: it passes the chains, and its connection is
    confirmed when it leaves. `forward` and `send` do both at once unless told not to; between the
    halves another packet may pass, and then the second `confirm` fails and that packet is lost.
    """

    def __init__(
        self,
        tables: Tables,
        local: Iterable[str],
        *,
        rng: random.Random,
        now: Callable[[], float],
        source_for: Callable[[str], str] | None = None,
        connection_timeout_s: float = 432000.0,
        resolve_clashes: bool = True,
    ) -> None:
        self.tables = tables
        self.local = frozenset(local)
        self.rng = rng
        self.now = now
        first = next((ip for ip in sorted(self.local) if not ip.startswith("127.") and ip != "::1"), "127.0.0.1")
        self.source_for = source_for or (lambda dst: first)
        self.timeout_s = connection_timeout_s
        self.resolve_clashes = resolve_clashes
        self.untracked: frozenset[str] = frozenset()  # destinations that conntrack leaves alone (NOTRACK)
        self.statistics = {"found": 0, "insert": 0, "insert_failed": 0, "clash_resolve": 0, "drop": 0}
        self.connections: dict[Flow, _Connection] = {}
        self.replies: dict[Flow, _Connection] = {}
        self.recent: dict[str, dict[str, float]] = {}
        self.ctstates: frozenset[str] = frozenset()
        self._steps: list[Step] = []

    # --- what rules may ask -----------------------------------------------------------------------

    def is_local(self, ip: str) -> bool:
        return ip in self.local or ip.startswith("127.")

    def chance(self) -> float:
        return self.rng.random()

    def recently(self, name: str, ip: str, seconds: int, reap: bool) -> bool:
        seen = self.recent.get(name, {}).get(ip)
        if seen is None:
            return False
        if seconds and self.now() - seen > seconds:
            if reap:
                del self.recent[name][ip]
            return False
        return True

    def remember(self, name: str, ip: str) -> None:
        self.recent.setdefault(name, {})[ip] = self.now()

    # --- packets ----------------------------------------------------------------------------------

    def forward(self, packet: Packet, *, confirm: bool = True) -> Outcome:
        """A packet that comes in by an interface: from another host or from a pod."""
        return self._finished(self._walk(packet, "PREROUTING"), confirm)

    def send(self, packet: Packet, *, confirm: bool = True) -> Outcome:
        """A packet of a process on this host."""
        return self._finished(self._walk(msgspec.structs.replace(packet, in_interface=""), "OUTPUT"), confirm)

    def _finished(self, outcome: Outcome, confirm: bool) -> Outcome:
        if confirm and not self.confirm(outcome):
            return msgspec.structs.replace(outcome, verdict="DROP", pending=None)
        return outcome

    def confirm(self, outcome: Outcome) -> bool:
        """The packet leaves: its new connection becomes known. False when another packet has made
        that connection meanwhile and this one is dropped."""
        if outcome.pending is None:
            if outcome.established:
                self.statistics["found"] += 1
            elif outcome.verdict != "ACCEPT":
                self.statistics["drop"] += 1
            return True
        original, translated = outcome.pending
        known = self.connections.get(original)
        protocol, src, sport, dst, dport = translated
        if known is None and (protocol, dst, dport, src, sport) not in self.replies:
            self._confirm(original, translated)
            self.statistics["insert"] += 1
            return True
        if known is not None and self.resolve_clashes and known.translated == translated:
            self.statistics["clash_resolve"] += 1
            return True
        self.statistics["insert_failed"] += 1
        return False

    def _walk(self, packet: Packet, entry: str) -> Outcome:
        self._steps = []
        connection, reply = self._lookup(packet.flow)
        established = connection is not None
        original = packet.flow
        try:
            if connection is not None:
                self.ctstates = frozenset(("ESTABLISHED", "DNAT") if connection.dnat else ("ESTABLISHED",))
                packet = self._chain("mangle", entry, packet)
                if not reply:
                    packet = self._with_destination(packet, connection.translated[3], connection.translated[4])
            else:
                self.ctstates = frozenset(("NEW",))
                packet = self._chain("mangle", entry, packet)
                packet = self._chain("nat", entry, packet)
                if packet.flow != original:
                    self.ctstates |= {"DNAT"}
            destination = connection.original[1] if connection is not None and reply else packet.dst
            local = self.is_local(destination)
            if entry == "OUTPUT":
                packet = self._chain("filter", "OUTPUT", packet)
            else:
                for table in ("mangle", "filter"):
                    packet = self._chain(table, "INPUT" if local else "FORWARD", packet)
            if not local or entry == "OUTPUT":
                packet = self._chain("mangle", "POSTROUTING", packet)
            if connection is None and (not local or entry == "OUTPUT"):
                packet = self._chain("nat", "POSTROUTING", packet)
        except _Lost as lost:
            return Outcome(lost.verdict, packet, tuple(self._steps), False, established)
        if connection is not None:
            packet = self._translated_back(packet, connection) if reply else self._as(packet, connection.translated)
            return Outcome("ACCEPT", packet, tuple(self._steps), local, True)
        pending = None if original[3] in self.untracked else (original, packet.flow)
        return Outcome("ACCEPT", packet, tuple(self._steps), local, False, pending)

    def _lookup(self, flow: Flow) -> tuple[_Connection | None, bool]:
        """-> the connection of a packet, and whether the packet is on its way back."""
        for known, reply in ((self.connections.get(flow), False), (self.replies.get(flow), True)):
            if known is not None:
                if self.now() - known.seen_at <= self.timeout_s:
                    known.seen_at = self.now()
                    return known, reply
                self.forget(known.original)
        return None, False

    def _confirm(self, original: Flow, translated: Flow) -> None:
        protocol, src, sport, dst, dport = translated
        connection = _Connection(original, translated, original[3:] != translated[3:], self.now())
        self.connections[original] = connection
        self.replies[protocol, dst, dport, src, sport] = connection

    def forget(self, original: Flow) -> None:
        """Delete a connection, as `conntrack -D` does."""
        connection = self.connections.pop(original, None)
        if connection is not None:
            protocol, src, sport, dst, dport = connection.translated
            self.replies.pop((protocol, dst, dport, src, sport), None)

    @staticmethod
    def _with_destination(packet: Packet, ip: str, port: int) -> Packet:
        return msgspec.structs.replace(packet, dst=ip, dport=port)

    @staticmethod
    def _as(packet: Packet, flow: Flow) -> Packet:
        return msgspec.structs.replace(packet, src=flow[1], sport=flow[2], dst=flow[3], dport=flow[4])

    @staticmethod
    def _translated_back(packet: Packet, connection: _Connection) -> Packet:
        _, src, sport, dst, dport = connection.original
        return msgspec.structs.replace(packet, src=dst, sport=dport, dst=src, dport=sport)

    # --- chains -----------------------------------------------------------------------------------

    def _chain(self, table: str, name: str, packet: Packet) -> Packet:
        """Pass a built-in chain. Raises _Lost."""
        packet, verdict = self._pass(table, name, packet, 0)
        policy = self.tables.policies[table][name]
        if not verdict and policy != "ACCEPT":
            self._steps.append(Step(table, name, 0, f"policy {policy}"))
            raise _Lost(policy)
        return packet

    def _pass(self, table: str, name: str, packet: Packet, depth: int) -> tuple[Packet, bool]:
        """-> the packet, and whether a verdict was reached (rather than the chain's end)."""
        if depth > MAX_DEPTH:
            raise RecursionError(f"chains of table {table} go in a circle through {name}")
        for number, rule in enumerate(self.tables.chains[table][name], 1):
            if not rule.matches(packet, self):
                continue
            changed, effect = self._act(table, rule, packet)
            self._steps.append(Step(table, name, number, rule.text, effect))
            packet = changed
            if rule.target in ("ACCEPT", "DNAT", "MASQUERADE", "SNAT"):
                return packet, True
            if rule.target == "RETURN":
                return packet, False
            if rule.target in ("DROP", "REJECT"):
                raise _Lost(rule.target)
            if rule.target in self.tables.chains[table]:
                packet, done = self._pass(table, rule.target, packet, depth + 1)
                if done:
                    return packet, True
        return packet, False

    def _act(self, table: str, rule: Rule, packet: Packet) -> tuple[Packet, str]:
        """What a target does to the packet, and how one would say it."""
        if rule.target == "MARK":
            value, _, mask = rule.arguments["--set-xmark"].partition("/")
            number, bits = int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF
            mark = (packet.mark & ~bits & 0xFFFFFFFF) ^ number
            return msgspec.structs.replace(packet, mark=mark), f"mark {mark:#x}"
        if rule.target == "DNAT":
            ip, port = _address(rule.arguments["--to-destination"], packet.dport)
            return self._with_destination(packet, ip, port), f"destination {ip}:{port}"
        if rule.target == "MASQUERADE":
            ip = self.source_for(packet.dst)
            port = self._free_port(packet, ip) if "--random-fully" in rule.arguments else packet.sport
            return msgspec.structs.replace(packet, src=ip, sport=port), f"source {ip}:{port}"
        return packet, ""

    def _free_port(self, packet: Packet, ip: str) -> int:
        for _ in range(128):
            port = self.rng.randint(*EPHEMERAL)
            if (packet.protocol, packet.dst, packet.dport, ip, port) not in self.replies:
                return port
        raise _Lost("DROP")


def _address(text: str, port: int) -> tuple[str, int]:
    if text.startswith("["):
        ip, _, rest = text[1:].partition("]")
        return ip, int(rest.removeprefix(":") or port)
    ip, _, rest = text.partition(":")
    return ip, int(rest or port)
