"""StatefulSet and ControllerRevision.

Owns what of a stateful set may change, its claim templates and both kinds' columns.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import NameRule, immutable, nonnegative
from actors.apiserver.strategies._tables import CONTAINERS, IMAGES, container_cells
from actors.apiserver.strategies._workloads import (
    collisions_only_grow,
    int_or_percent,
    is_zero,
    name_warning,
    not_over_100,
    validate_counts,
    validate_selected_template,
)
from actors.apiserver.strategies.pod_defaults import (
    default_claim_spec,
    default_template,
    prepare_pod_spec,
)
from actors.apiserver.strategies.pod_warnings import pod_warnings
from protocol.names import dns1123_label, dns_label_name

__all__ = ["ControllerRevisionStrategy", "StatefulSetStrategy"]

_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)
_COUNTS = (
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "observedGeneration",
    "collisionCount",
)
_BOUNDED = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
_RETENTION = ("Retain", "Delete")
MAX_UNAVAILABLE_SINCE = 37
"""The minor version from which `maxUnavailable` works by default (the gate MaxUnavailableStatefulSet:
on in the first patches of 1.35, off again from 1.35.4 on). Where it is off the field is dropped."""


def _max_unavailable(spec: Object) -> Any:
    return ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable")


def _with_claims(spec: Object) -> Object:
    """The template with the volumes that the claim templates will give its pods."""
    template = spec.get("template") or {}
    pod_spec = template.get("spec") or {}
    claims = [(claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates") or ()]
    if not claims:
        return template
    others = [volume for volume in pod_spec.get("volumes") or () if volume.get("name") not in claims]
    made = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return {**template, "spec": {**pod_spec, "volumes": [*made, *others]}}


def _check_update_strategy(strategy: Object, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if rolling is None:
            return []
        shown = internal_form("apps.RollingUpdateStatefulSetStrategy", rolling)
        detail = "only allowed for updateStrategy 'RollingUpdate'"
        return [invalid(path + ".rollingUpdate", shown, detail)]
    if kind != "RollingUpdate":
        shown = internal_form("apps.StatefulSetUpdateStrategy", strategy)
        return [invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    errors = nonnegative(rolling.get("partition"), path + ".rollingUpdate.partition")
    unavailable = rolling.get("maxUnavailable")
    if unavailable is not None:
        at = path + ".rollingUpdate.maxUnavailable"
        errors += int_or_percent(unavailable, at)
        if is_zero(unavailable):
            errors.append(invalid(at, unavailable, "cannot be 0"))
        errors += not_over_100(unavailable, at)
    return errors


class StatefulSetStrategy(Strategy):
    """StatefulSet."""

    name_rule: ClassVar[NameRule] = staticmethod(dns_label_name)
    has_status = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
            strategy.setdefault("rollingUpdate", {})
        if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
            strategy["rollingUpdate"].setdefault("partition", 0)
            if self.minor >= MAX_UNAVAILABLE_SINCE:
                strategy["rollingUpdate"].setdefault("maxUnavailable", 1)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for key in ("whenDeleted", "whenScaled"):
            if not retention.get(key):
                retention[key] = "Retain"
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        default_template(spec.setdefault("template", {"metadata": {}, "spec": {}}))
        for claim in spec.get("volumeClaimTemplates") or ():
            claim["kind"], claim["apiVersion"] = "PersistentVolumeClaim", "v1"
            default_claim_spec(claim.setdefault("spec", {}))
            status = claim.setdefault("status", {})
            if not status.get("phase"):
                status["phase"] = "Pending"

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"replicas": 0, "availableReplicas": 0}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["spec"]["template"]["spec"], old and old["spec"]["template"]["spec"], ctx.minor)
        if ctx.minor < MAX_UNAVAILABLE_SINCE and (old is None or _max_unavailable(old["spec"]) is None):
            rolling = (new["spec"].get("updateStrategy") or {}).get("rollingUpdate")
            if rolling:
                rolling.pop("maxUnavailable", None)

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj["spec"], True)

    def _check_spec(self, spec: Object, fresh: bool) -> list[FieldError]:
        errors: list[FieldError] = []
        policy = spec.get("podManagementPolicy", "")
        if not policy:
            errors.append(required("spec.podManagementPolicy"))
        elif policy not in ("OrderedReady", "Parallel"):
            detail = "must be 'OrderedReady' or 'Parallel'"
            errors.append(invalid("spec.podManagementPolicy", policy, detail))
        errors += _check_update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for key in ("whenDeleted", "whenScaled"):
            if retention.get(key) not in _RETENTION:
                at = f"spec.persistentVolumeClaimRetentionPolicy.{key}"
                errors.append(not_supported(at, retention.get(key, ""), _RETENTION))
        errors += nonnegative(spec.get("replicas"), "spec.replicas")
        errors += nonnegative(spec.get("minReadySeconds"), "spec.minReadySeconds")
        ordinals = spec.get("ordinals")
        if ordinals is not None:
            errors += nonnegative(ordinals.get("start"), "spec.ordinals.start")
        service = spec.get("serviceName")
        if service and fresh:
            at = "spec.serviceName"
            errors += [invalid(at, service, message) for message in dns1123_label(service)]
        checked = {**spec, "template": _with_claims(spec)}
        return errors + validate_selected_template(checked, "StatefulSet", "statefulset", "")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self._check_spec(new["spec"], False)
        now, was = (
            {key: value for key, value in o["spec"].items() if key not in _MUTABLE} for o in (new, old)
        )
        return [*errors, forbidden("spec", _FORBIDDEN)] if now != was else errors

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        status, before = new.get("status") or {}, old.get("status") or {}
        errors += validate_counts(status, _COUNTS, _BOUNDED, "status.readyReplicas")
        return errors + collisions_only_grow(status, before)

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        spec = new["spec"]
        if old is not None and new["metadata"].get("generation") == old["metadata"].get("generation"):
            return []
        out = name_warning(new["metadata"]) if old is None else []
        out += pod_warnings(spec["template"], "spec.template.")
        if spec.get("revisionHistoryLimit", 0) < 0:
            out.append(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a "
                "value >= 0 is recommended"
            )
        return out

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Ready", "string", "", "Ready pods, of all wanted."), AGE, CONTAINERS, IMAGES)

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"].get("name", ""),
            f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            self.age(obj, now),
            *container_cells((spec.get("template") or {}).get("spec")),
        ]


class ControllerRevisionStrategy(Strategy):
    """ControllerRevision: a snapshot that never changes."""

    def check(self, obj: Object) -> list[FieldError]:
        errors, data = self._check_revision(obj), obj.get("data")
        if data is None:
            errors.append(required("data", "data is mandatory"))
        elif not isinstance(data, dict):
            errors.append(required("data", "data must be a valid JSON object"))
        return errors

    def _check_revision(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + nonnegative(obj.get("revision"), "revision")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self._check_revision(new)
        return errors + immutable(new.get("data"), old.get("data"), "data")

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Controller", "string", "", "Controller of the object"),
            Column("Revision", "string", "", "Number of the revision."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        meta = obj["metadata"]
        name = "<none>"
        for owner in meta.get("ownerReferences") or ():
            if owner.get("controller"):
                group = owner.get("apiVersion", "").rpartition("/")[0]
                kind = f"{owner.get('kind', '')}.{group}" if group else owner.get("kind", "")
                name = f"{kind.lower()}/{owner.get('name', '')}"
        return [meta.get("name", ""), name, obj.get("revision", 0), self.age(obj, now)]
