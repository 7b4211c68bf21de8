"""The kernel's tables: chains of rules, changed by the text that iptables-restore takes.

Owns what a restore does: whole tables or, with `noflush`, the named chains and single rules; each
table's part at once or not at all. It must never judge a packet. Facts: iptables-restore(8).
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.network.netfilter._rule import Rule

__all__ = ["RestoreError", "Tables"]

BUILTIN = {
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
}
FINAL = frozenset(("ACCEPT", "DROP", "REJECT", "RETURN", "MARK", "DNAT", "SNAT", "MASQUERADE", ""))


class RestoreError(ValueError):
    """The text was refused; it says the line number and why, and the table is as it was."""


Chains = dict[str, list[Rule]]


class Tables:
    """`chains[table][chain]` and `policies[table][chain]` of the built-in chains."""

    def __init__(self) -> None:
        self.chains: dict[str, Chains] = {t: {c: [] for c in names} for t, names in BUILTIN.items()}
        self.policies: dict[str, dict[str, str]] = {t: dict.fromkeys(names, "ACCEPT") for t, names in BUILTIN.items()}

    def restore(self, text: str, *, noflush: bool = False) -> None:
        """Do what `iptables-restore` does with this input. Raises RestoreError, UnsupportedRule."""
        table = ""
        lines: list[tuple[int, str]] = []
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("*"):
                table, lines = line[1:], []
                if table not in self.chains:
                    raise RestoreError(f"line {number}: no table {table!r}")
            elif line == "COMMIT":
                self._commit(table, lines, noflush)
                table = ""
            elif not table:
                raise RestoreError(f"line {number}: outside of a table")
            else:
                lines.append((number, line))
        if table:
            raise RestoreError(f"table {table} is not committed")

    def _commit(self, table: str, lines: Iterable[tuple[int, str]], noflush: bool) -> None:
        if noflush:
            chains = {name: list(rules) for name, rules in self.chains[table].items()}
        else:
            chains = {name: [] for name in BUILTIN[table]}
        policies = dict(self.policies[table])
        for number, line in lines:
            try:
                self._apply(table, chains, policies, line, noflush)
            except (KeyError, IndexError) as error:
                raise RestoreError(f"line {number}: {line}: no such chain or rule ({error})") from error
            except RestoreError as error:
                raise RestoreError(f"line {number}: {error}") from None
        for name, rules in chains.items():
            for rule in rules:
                if rule.target not in FINAL and rule.target not in chains:
                    raise RestoreError(f"chain {name} jumps to {rule.target}, which is not there")
        self.chains[table], self.policies[table] = chains, policies

    @staticmethod
    def _apply(table: str, chains: Chains, policies: dict[str, str], line: str, noflush: bool) -> None:
        if line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if name in BUILTIN[table]:
                policies[name] = policy
                if not noflush:
                    chains[name] = []
            else:
                chains[name] = []
            return
        command, chain, *rest = line.split(" ", 2)
        text = rest[0] if rest else ""
        if command == "-A":
            chains[chain].append(Rule(text))
        elif command == "-I":
            chains[chain].insert(0, Rule(text))
        elif command == "-D":
            index = next((i for i, rule in enumerate(chains[chain]) if rule.text == text), None)
            if index is None:
                raise RestoreError(f"{line}: no such rule")
            del chains[chain][index]
        elif command == "-F":
            chains[chain].clear()
        elif command == "-X":
            if chains[chain]:
                raise RestoreError(f"{line}: chain is not empty")
            del chains[chain]
        else:
            raise RestoreError(f"{line}: {command} is not a command")

    def save(self, table: str) -> list[str]:
        """The table's lines as iptables-save writes them, without counters."""
        chains = self.chains[table]
        lines = [f":{name} {self.policies[table].get(name, '-')}" for name in chains]
        return lines + [f"-A {name} {rule.text}" for name, rules in chains.items() for rule in rules]
