"""The actor that enforces NetworkPolicies on one node.

Owns the informers that feed `PolicyRules`, and hands the rules to an applier, at most once in
`MIN_SYNC_S`. It judges no packet itself. Like kube-proxy it is one per node.
"""

from __future__ import annotations

from typing import Any

from actors.client import Client, ClientActor, Informer
from actors.kernel import ActorDead, Child, Ref, handles
from actors.network.policy_rules import JUMPS, PolicyRules
from protocol.api import UserInfo
from protocol.message import Message
from protocol.objects import Object, key

__all__ = ["GetPolicyRules", "NetworkPolicyAgent"]

USER = UserInfo("system:serviceaccount:kube-system:network-policy", ("system:masters", "system:authenticated"))
MIN_SYNC_S, CHECK_S = 0.2, 30.0


class GetPolicyRules(Message, frozen=True):
    """Answered by the rules as `iptables-restore` text, once the first lists have been read."""


class _Sync(Message, frozen=True):
    """Write the rules."""


class _Look(Message, frozen=True):
    """See whether they are still there."""


class NetworkPolicyAgent(ClientActor):
    """`applier`: how to start a `PolicyApplier`, as a child; without one the rules are kept as data."""

    def __init__(self, node_name: str, apiserver: Ref, *, applier: Child | None = None) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user=USER, user_agent="network-policy")
        self.rules = PolicyRules(node_name)
        self._child = applier
        self.applier: Ref | None = None
        self.syncs = 0
        self._waiting = self._written = False
        self._last = ""
        kinds = (
            ("networkpolicies", self.rules.policies),
            ("namespaces", self.rules.namespaces),
            ("pods", self.rules.pods),
        )
        self.informers = tuple(self._inform(what, store) for what, store in kinds)

    def _inform(self, what: str, store: dict[str, Any]) -> Informer:
        def note(old: Object | None, new: Object | None) -> None:
            if new is not None:
                store[key(new)] = new
            elif old is not None:
                store.pop(key(old), None)
            self._soon(MIN_SYNC_S)

        return Informer(
            self.client, what, on_add=lambda o: note(None, o), on_update=note, on_delete=lambda o: note(o, None)
        )

    def on_start(self) -> None:
        if self._child is not None:
            self.applier = self.spawn(self._child)
            self.every(CHECK_S, _Look())
        for informer in self.informers:
            informer.start()

    def _soon(self, delay_s: float) -> None:
        if self.applier is not None and not self._waiting:
            self._waiting = True
            self.after(delay_s, _Sync())

    async def _synced(self) -> None:
        for informer in self.informers:
            await informer.synced()

    @handles(_Sync, serial=lambda message: "apply")
    async def sync(self, message: _Sync) -> None:
        from actors.network.applier import Apply, ApplyError, Install

        await self._synced()
        self._waiting = False
        text = self.rules.restore_text()
        if self.applier is None or (self._written and text == self._last):
            return
        try:
            await self.ask(self.applier, Apply(text) if self._written else Install(text, JUMPS))
            self._written, self._last = True, text
            self.syncs += 1
        except (ApplyError, ActorDead) as error:
            self.log.warning("policies_not_applied", error=str(error))
            self._written = False
            self._soon(CHECK_S)

    @handles(_Look, serial=lambda message: "apply")
    async def look(self, message: _Look) -> None:
        from actors.network.applier import ApplyError, Check

        if self.applier is None or not self._written:
            return
        try:
            present = await self.ask(self.applier, Check())
        except (ApplyError, ActorDead):
            present = False
        if not present:
            self.log.warning("policies_flushed")
            self._written = False
            self._soon(0.0)

    @handles(GetPolicyRules)
    async def get_rules(self, message: GetPolicyRules) -> str:
        await self._synced()
        lines = [f"-A {chain} {rule}\n" for chain, rules in self.rules.chains().items() for rule in rules]
        return "".join(lines)
