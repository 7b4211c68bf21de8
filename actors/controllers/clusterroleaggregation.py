"""The ClusterRole aggregation controller: roles whose rules are those of other roles.

Owns the rules of ClusterRoles that have an `aggregationRule`. Facts: kubernetes
pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from typing import ClassVar

from actors.client import StatusError
from actors.controllers._reconcile import Context, Controller
from protocol.objects import Object, Selector, labels, metadata, selector_of

__all__ = ["ClusterRoleAggregationController"]

FIELD_MANAGER = "clusterrole-aggregation-controller"


class ClusterRoleAggregationController(Controller):
    """Aggregates rules. Keys: cluster roles that aggregate."""

    component: ClassVar[str] = FIELD_MANAGER
    resources: ClassVar[tuple[str, ...]] = ("clusterroles",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.selectors: dict[str, list[Selector]] = {}
        self.on_change("clusterroles", self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        role = new or old or {}
        name = metadata(role)["name"]
        wanted = (new.get("aggregationRule") or {}).get("clusterRoleSelectors") if new else None
        if wanted:
            self.selectors[name] = [selector_of(s) for s in wanted]
            self.queue.add(name)
        else:
            self.selectors.pop(name, None)
        for other, selectors in self.selectors.items():
            if any(s.matches(labels(r)) for r in (old, new) if r for s in selectors):
                self.queue.add(other)

    async def reconcile(self, key: str) -> None:
        role = self.store("clusterroles").get(key)
        selectors = self.selectors.get(key)
        if role is None or not selectors:
            return
        rules: list[Object] = []
        everyone = sorted(self.store("clusterroles"), key=lambda r: str(metadata(r)["name"]))
        for selector in selectors:
            for source in everyone:
                if metadata(source)["name"] != key and selector.matches(labels(source)):
                    rules += [r for r in source.get("rules") or () if r not in rules]
        if rules == (role.get("rules") or []):
            return
        applied = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": key},
            "rules": rules,
        }
        try:
            await self.client.apply("clusterroles", applied, field_manager=FIELD_MANAGER, force=True)
        except StatusError as error:
            if error.code != 415:  # a server without server-side apply
                raise
            await self.client.update("clusterroles", {**role, "rules": rules})
