"""The kube-proxy of one node.

Owns that node's rule set and keeps it in step with the API: three informers tell it of Services,
EndpointSlices and its Node. What a change costs is noting it; rules are computed when somebody
wants them: a backend that applies them (then at most once per `min_sync_period_s`), or whoever asks
with `GetRules`. It must never read pods, nor decide who is an endpoint.

    Service created -> noted | slice of 2 endpoints -> noted | sync: KUBE-SVC + 2 KUBE-SEP chains
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.client import Client, ClientActor, Informer
from actors.kernel import ActorDead, Child, Ref, handles
from actors.network._config import ProxyConfig
from actors.network._ruleset import Delta, RuleSet
from actors.network.nftables import rules_for
from protocol.api import UserInfo
from protocol.message import Message
from protocol.objects import Object, key, split_key

__all__ = ["GetRules", "KubeProxy"]

USER_AGENT = "kube-proxy"
OURS = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"
NAMED = "kubernetes.io/service-name"

Backend = Callable[[str], Any]


class GetRules(Message, frozen=True):
    """Answered by the rules as `iptables-restore` text, once the first lists have been read."""

    tables: tuple[str, ...] = ("nat", "filter")


class _Sync(Message, frozen=True):
    """Compute what was noted and hand it to the backend."""


class _CheckTables(Message, frozen=True):
    """See whether the rules are still in the kernel."""


class KubeProxy(ClientActor):
    """Turns Services and EndpointSlices into rules for `node_name`.

    `backend(text)` is given `iptables-restore --noflush` (or, by the mode, `nft -f`) input: the whole tables first, then only
    what changed. `applier` is an `IptablesApplier` (or how to start one, as a child) that does the same
    for real. Without either the rules are kept as data. `config`: a KubeProxyConfiguration. `policies`:
    a `NetworkPolicyAgent` to run below, where nothing else enforces policies.
    """

    def __init__(
        self,
        node_name: str,
        apiserver: Ref,
        config: Mapping[str, Any] | None = None,
        *,
        backend: Backend | None = None,
        applier: Ref | Child | None = None,
        family: str = "IPv4",
        policies: Child | None = None,
    ) -> None:
        super().__init__()
        self._policies = policies
        self.node_name = node_name
        self.family = family
        self.given = config or {}
        user = UserInfo("system:kube-proxy", ("system:node-proxier", "system:authenticated"))
        self.client = Client(self, apiserver, user=user, user_agent=USER_AGENT)
        self.backend = backend
        self.applier = applier if isinstance(applier, Ref) else None
        self._applier_child = applier if isinstance(applier, Child) else None
        self.rules: RuleSet = rules_for(ProxyConfig.load(self.given, None, node_name, family))
        self.syncs = 0
        self._noted: dict[tuple[str, str], Object | None] = {}
        self._node: Object | None = None
        self._waiting_to_sync = False
        self._written = False
        self.informers = (
            self._inform("services", label_selector=OURS),
            self._inform("endpointslices", label_selector=f"{NAMED},{OURS}"),
            self._inform("nodes", field_selector=f"metadata.name={node_name}"),
        )

    def _inform(self, what: str, **selectors: str) -> Informer:
        def note(old: Object | None, new: Object | None) -> None:
            self._note(what, key(new or old or {}), new)

        return Informer(
            self.client,
            what,
            on_add=lambda obj: note(None, obj),
            on_update=note,
            on_delete=lambda obj: note(obj, None),
            **selectors,  # type: ignore[arg-type]
        )

    def on_start(self) -> None:
        if self._applier_child is not None:
            self.applier = self.spawn(self._applier_child)
        if self._policies is not None:
            self.spawn(self._policies)
        for informer in self.informers:
            informer.start()
        if self.applier is not None:
            self.every(self.rules.config.sync_period_s, _CheckTables())

    def _note(self, what: str, object_key: str, obj: Object | None) -> None:
        self._noted[what, object_key] = obj
        if self.backend is not None or self.applier is not None:
            self._sync_in(self.rules.config.min_sync_period_s if self._written else 0.0)

    def _sync_in(self, delay_s: float) -> None:
        if not self._waiting_to_sync:
            self._waiting_to_sync = True
            self.after(delay_s, _Sync())

    @handles(_Sync, serial=lambda message: "apply")
    async def sync(self, message: _Sync) -> None:
        await self._synced()
        self._waiting_to_sync = False
        deltas = self.refresh()
        if self.applier is None or (self._written and not deltas):
            return
        # only a proxy that writes to a kernel needs these
        from actors.network.applier import Apply, ApplyError, Install

        if self._written:
            text = "".join(d.restore_text() for d in deltas)
            change: Install | Apply = Apply(text, tuple(flow for d in deltas for flow in d.stale))
        else:
            change = Install(self.rules.restore_text(), tuple(self.rules.jumps()), self.rules.sysctls())
        try:
            await self.ask(self.applier, change)
            self._written = True
        except (ApplyError, ActorDead) as error:
            # what stands now is not known: write everything, a little later
            self.log.warning("rules_not_applied", error=str(error))
            self._written = False
            self._sync_in(self.rules.config.sync_period_s)

    @handles(_CheckTables, serial=lambda message: "apply")
    async def check_tables(self, message: _CheckTables) -> None:
        """Somebody may have flushed the tables; then everything is written anew."""
        if self.applier is None or not self._written:
            return
        from actors.network.applier import ApplyError, Check

        try:
            present = await self.ask(self.applier, Check())
        except (ApplyError, ActorDead):
            present = False
        if not present:
            self.log.warning("tables_flushed")
            self._written = False
            self._sync_in(0.0)

    async def _synced(self) -> None:
        for informer in self.informers:
            await informer.synced()

    @handles(GetRules)
    async def get_rules(self, message: GetRules) -> str:
        await self._synced()
        self.refresh()
        return self.rules.text(message.tables)

    def refresh(self) -> list[Delta]:
        """Compute all that was noted, tell the backend, and return what changed."""
        noted, self._noted = self._noted, {}
        if not noted:
            return []
        self.syncs += 1
        anew = self.backend is not None and not self._written
        node_key = ("nodes", self.node_name)
        if node_key in noted:
            config = ProxyConfig.load(self.given, noted.pop(node_key), self.node_name, self.family)
            if self.rules.reconfigure(config):
                anew, self._written = True, False
        changes = [self._apply(what, object_key, obj) for (what, object_key), obj in noted.items()]
        deltas = [d for d in changes if d or d.stale]
        if self.backend is not None and (anew or deltas):
            self._written = True
            self.backend(self.rules.text() if anew else "".join(d.restore_text() for d in deltas))
        return deltas

    def _apply(self, what: str, object_key: str, obj: Object | None) -> Delta:
        namespace, name = split_key(object_key)
        if what == "services":
            return self.rules.set_service(obj) if obj else self.rules.delete_service(namespace, name)
        return self.rules.set_slice(obj) if obj else self.rules.delete_slice(namespace, name)

    def statistics(self) -> dict[str, int]:
        """Endpoints known, changes waiting, syncs done."""
        return {"endpoints": self.rules.total_endpoints, "noted": len(self._noted), "syncs": self.syncs}
