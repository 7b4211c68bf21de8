"""The resource quota controller: what a quota's `status.used` says is true.

Owns `status.hard` and `status.used`. Admission adds to them as objects come; this one counts anew
when objects go or change, when a quota changes, and every five minutes. Facts: kubernetes
pkg/controller/resourcequota.
"""

from __future__ import annotations

from typing import ClassVar

from actors.controllers._deletable import built_in
from actors.controllers._pods import epoch
from actors.controllers._quotausage import Amounts, in_scopes, kinds_of, usage_of
from actors.controllers._reconcile import Context, Controller
from actors.kernel import handles
from protocol.api import Resource
from protocol.message import Message
from protocol.objects import Object, key, metadata, spec, status

__all__ = ["ResourceQuotaController"]

_IGNORED = frozenset((("", "events"), ("", "resourcequotas")))
_COUNTED = tuple(
    d.resource for d in built_in() if d.namespaced and (d.resource.group, d.resource.resource) not in _IGNORED
)


def _word(what: Resource) -> str:
    return f"{what.resource}.{what.version}.{what.group}"


class _Resync(Message, frozen=True):
    """Count everything anew."""


class ResourceQuotaController(Controller):
    """Counts. Keys: quotas."""

    component: ClassVar[str] = "resourcequota-controller"
    resources: ClassVar[tuple[str, ...]] = ("resourcequotas", *(_word(r) for r in _COUNTED))
    interval_s: ClassVar[float] = 0.2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.on_change("resourcequotas", self._quota_changed)
        for what in _COUNTED:
            self.on_change(_word(what), self._object_changed)

    def synced(self) -> None:
        self.every(self.options.resource_quota_sync_period, _Resync())

    def _quota_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or spec(old) != spec(new) or status(old) != status(new)):
            self.queue.add(key(new))

    def _object_changed(self, old: Object | None, new: Object | None) -> None:
        """An object came, went, or counts for something else now."""
        namespace = metadata(new or old or {}).get("namespace", "")
        quotas = self.store("resourcequotas").in_namespace(namespace)
        if not quotas:
            return
        if old is not None and new is not None and spec(old) == spec(new):
            before, after = status(old), status(new)
            if before.get("phase") == after.get("phase") and metadata(old).get("deletionTimestamp") == metadata(
                new
            ).get("deletionTimestamp"):
                return
        for quota in quotas:
            self.queue.add(key(quota))

    @handles(_Resync)
    def resync(self, message: _Resync) -> None:
        for quota in self.store("resourcequotas"):
            self.queue.add(key(quota))

    async def reconcile(self, key: str) -> None:
        quota = self.store("resourcequotas").get(key)
        if quota is None:
            return
        hard = spec(quota).get("hard") or {}
        used = self._used(quota, list(hard))
        current = status(quota)
        if current.get("hard", {}) == hard and current.get("used", {}) == used:
            return
        await self.client.update_status("resourcequotas", {**quota, "status": {"hard": hard, "used": used}})

    def _used(self, quota: Object, names: list[str]) -> dict[str, str]:
        namespace = metadata(quota)["namespace"]
        total, now = Amounts(), self.clock.now()
        for word in kinds_of(names):
            resource, _, rest = word.partition(".")
            group = rest.partition(".")[2]
            for obj in self.store(word).in_namespace(namespace):
                if in_scopes(resource, obj, quota):
                    total.merge(usage_of(resource, group, obj, now, epoch))
        return {name: total.text(name) for name in names}
