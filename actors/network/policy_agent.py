"""The actor that enforces NetworkPolicies on one node.

Owns the informers that feed `PolicyRules`; the keeper hands the rules to an applier, at most once in
`MIN_SYNC_S`. It judges no packet itself. Like kube-proxy it is one per node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.client import Client
from actors.kernel import Ref, handles
from actors.network._informing import noting
from actors.network._keeper import Appliers, RuleKeeper
from actors.network.policy_rules import JUMPS, PolicyRules
from protocol.api import UserInfo
from protocol.message import Message
from protocol.objects import Object

if TYPE_CHECKING:
    from actors.network.applier import Apply, Install

__all__ = ["GetPolicyRules", "NetworkPolicyAgent"]

USER = UserInfo("system:serviceaccount:kube-system:network-policy", ("system:masters", "system:authenticated"))
MIN_SYNC_S, CHECK_S = 0.2, 30.0


class GetPolicyRules(Message, frozen=True):
    """Answered by the rules as `iptables-restore` text, once the first lists have been read."""

    family: str = "IPv4"


class NetworkPolicyAgent(RuleKeeper):
    """`appliers`: `PolicyApplier`s, see `RuleKeeper`. `neighbours`: other nodes on the same machine."""

    def __init__(
        self, node_name: str, apiserver: Ref, *, appliers: Appliers | None = None, neighbours: tuple[str, ...] = ()
    ) -> None:
        super().__init__(tuple(appliers or ()) or ("IPv4",), appliers)
        self.client = Client(self, apiserver, user=USER, user_agent="network-policy")
        self.rule_sets = {family: PolicyRules(node_name, family, neighbours) for family in self.sides}
        self._last = dict.fromkeys(self.sides, "")
        for what in ("networkpolicies", "namespaces", "pods"):
            self._inform(what)

    @property
    def period_s(self) -> float:
        return CHECK_S

    def _inform(self, what: str) -> None:
        def note(name: str, old: Object | None, new: Object | None) -> None:
            for rules in self.rule_sets.values():
                if new is not None:
                    rules.objects[what][name] = new
                else:
                    rules.objects[what].pop(name, None)
            if self.applies:
                self.sync_in(MIN_SYNC_S)

        self.inform(noting(self.client, what, note))

    def on_start(self) -> None:
        self.start_keeping()

    def prepare(self) -> None:
        """Nothing: the rules are made as they are written."""

    def change(self, family: str, written: bool) -> Install | Apply | None:
        from actors.network.applier import Apply, Install

        text = self.rule_sets[family].restore_text()
        same, self._last[family] = text == self._last[family], text
        if not written:
            return Install(text, JUMPS)
        return None if same else Apply(text)

    @handles(GetPolicyRules)
    async def get_rules(self, message: GetPolicyRules) -> str:
        await self.synced()
        chains = self.rule_sets[message.family].chains()
        return "".join(f"-A {chain} {rule}\n" for chain, rules in chains.items() for rule in rules)
