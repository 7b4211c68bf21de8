"""What a change does to iptables' rules, and the text that does it.

Owns the difference between the rules of a Service before and after. Must never compute a rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.network._conntrack import StaleFlow
from actors.network._portrules import PortRules

__all__ = ["Delta", "difference"]


class Delta(msgspec.Struct):
    """What a change did. `nat`: whole new contents of chains that belong to one port, None for a
    chain that is gone. `added` and `removed`: rules of shared chains, as (table, chain, rule).
    `stale`: connections that conntrack must forget once the rules stand."""

    nat: dict[str, tuple[str, ...] | None] = {}
    added: list[tuple[str, str, str]] = []
    removed: list[tuple[str, str, str]] = []
    stale: list[StaleFlow] = []

    def __bool__(self) -> bool:
        return bool(self.nat or self.added or self.removed)

    def restore_text(self) -> str:
        """Input for `iptables-restore --noflush`. New rules of shared chains go to the top, so
        that the closing jump of KUBE-SERVICES stays last."""
        lines: list[str] = []
        for table in ("filter", "nat"):
            body = [f"-D {c} {r}" for t, c, r in self.removed if t == table]
            declared: list[str] = []
            if table == "nat":
                declared = [f":{chain} - [0:0]" for chain in self.nat]
                body += [f"-A {chain} {rule}" for chain, rules in self.nat.items() for rule in rules or ()]
            body += [f"-I {c} {r}" for t, c, r in self.added if t == table]
            if table == "nat":
                body += [f"-X {chain}" for chain, rules in self.nat.items() if rules is None]
            if declared or body:
                lines += [f"*{table}", *declared, *body, "COMMIT"]
        return "".join(line + "\n" for line in lines)

    def joined(self, second: Delta) -> Delta:
        """One delta with the effect of two, one after the other."""
        if not self and not self.stale:
            return second
        back = [rule for rule in self.removed if rule in second.added]
        gone = [rule for rule in self.added if rule in second.removed]
        added = [r for r in self.added if r not in gone] + [r for r in second.added if r not in back]
        removed = [r for r in self.removed if r not in back] + [r for r in second.removed if r not in gone]
        return Delta({**self.nat, **second.nat}, added, removed, [*self.stale, *second.stale])


def difference(before: Mapping[Any, PortRules], after: Mapping[Any, PortRules]) -> Delta:
    """What turns the rules of one Service into others. Endpoint chains are named after the port,
    so no two ports share a chain."""
    delta = Delta({}, [], [], [])
    old = {c: body for rules in before.values() for c, body in rules.chains.items()}
    new = {c: body for rules in after.values() for c, body in rules.chains.items()}
    delta.nat.update({c: body for c, body in new.items() if old.get(c) != body})
    delta.nat.update({c: None for c in old if c not in new})
    had, has = _shared(before), _shared(after)
    delta.added += [rule for rule in has if rule not in had]
    delta.removed += [rule for rule in had if rule not in has]
    return delta


def _shared(compiled: Mapping[Any, PortRules]) -> dict[tuple[str, str, str], None]:
    found: dict[tuple[str, str, str], None] = {}
    for rules in compiled.values():
        found.update({("nat", chain, rule): None for chain, rule in rules.nat})
        found.update({("filter", chain, rule): None for chain, rule in rules.filter})
    return found
