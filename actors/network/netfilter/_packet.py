"""Packets and what became of them: plain values.

Owns no behaviour. Addresses are text, ports and marks numbers, times seconds.
"""

from __future__ import annotations

import msgspec

__all__ = ["Flow", "Outcome", "Packet", "Step"]

Flow = tuple[str, str, int, str, int]


class Packet(msgspec.Struct, frozen=True):
    """One packet's header, with the interface that it came in by."""

    src: str
    dst: str
    protocol: str = "tcp"
    sport: int = 40000
    dport: int = 0
    in_interface: str = "eth0"
    out_interface: str = ""
    mark: int = 0

    @property
    def flow(self) -> Flow:
        """What conntrack knows a connection by."""
        return self.protocol, self.src, self.sport, self.dst, self.dport

    def __str__(self) -> str:
        return f"{self.protocol} {_end(self.src, self.sport)} -> {_end(self.dst, self.dport)}"


def _end(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class Step(msgspec.Struct, frozen=True):
    """A rule that a packet met and matched. `number` counts from 1 within its chain; 0 stands for
    the chain's policy. `effect` says what changed, if anything did."""

    table: str
    chain: str
    number: int
    rule: str
    effect: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """`verdict`: "ACCEPT", "DROP" or "REJECT". `packet`: as it left, or as it was when it was lost.
    `local`: it ended on this host; otherwise it was sent on. `established`: it belonged to a
    connection that conntrack knew. `pending`: the connection (original and translated) that is to
    be confirmed when the packet leaves."""

    verdict: str
    packet: Packet
    steps: tuple[Step, ...]
    local: bool = False
    established: bool = False
    pending: tuple[Flow, Flow] | None = None
