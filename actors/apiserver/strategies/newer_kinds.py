"""Kinds that are served by default from 1.37 on: DeviceTaintRule, StorageVersionMigration,
PodCertificateRequest. (ClusterTrustBundle is with the certificates.)

Owns their statuses, generations and what their specs must be. Facts: kubernetes pkg/registry/{resource,
storagemigration,certificates} and pkg/apis/*/validation.
"""

from __future__ import annotations

from actors.apiserver.strategies._base import Object, Strategy
from actors.apiserver.strategies._context import Context
from actors.apiserver.strategies._errors import FieldError, not_supported, required
from actors.apiserver.strategies._meta import immutable, validate_label_name

__all__ = [
    "DeviceTaintRuleStrategy",
    "PodCertificateRequestStrategy",
    "StorageVersionMigrationStrategy",
]

_EFFECTS = ("NoExecute", "NoSchedule", "None")


class DeviceTaintRuleStrategy(Strategy):
    """DeviceTaintRule: a taint for the devices that it selects, since when it has its effect."""

    has_status = True
    has_generation = True

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        taint = (new.get("spec") or {}).get("taint")
        if not isinstance(taint, dict):
            return
        before = ((old or {}).get("spec") or {}).get("taint") or {}
        changed = taint.get("effect") != before.get("effect") and taint.get("timeAdded") == before.get("timeAdded")
        if taint.get("timeAdded") is None or (old is not None and changed):
            taint["timeAdded"] = ctx.rfc3339

    def check(self, obj: Object) -> list[FieldError]:
        taint, at = (obj.get("spec") or {}).get("taint") or {}, "spec.taint"
        errors = self.check_meta(obj) + validate_label_name(taint.get("key", ""), f"{at}.key")
        effect = taint.get("effect", "")
        if not effect:
            errors.append(required(f"{at}.effect"))
        elif effect not in _EFFECTS:
            errors.append(not_supported(f"{at}.effect", effect, _EFFECTS))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self.check(new)


class StorageVersionMigrationStrategy(Strategy):
    """StorageVersionMigration: what it migrates is said once."""

    has_status = True
    has_generation = True

    def check(self, obj: Object) -> list[FieldError]:
        resource = (obj.get("spec") or {}).get("resource") or {}
        errors = self.check_meta(obj)
        if not resource.get("resource"):
            errors.append(required("spec.resource.resource", "resource is required"))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + immutable(new.get("spec"), old.get("spec"), "spec")


class PodCertificateRequestStrategy(Strategy):
    """PodCertificateRequest: asked once, answered in its status."""

    has_status = True

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + immutable(new.get("spec"), old.get("spec"), "spec")
