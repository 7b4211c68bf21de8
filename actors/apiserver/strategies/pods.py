"""Pod: the strategy.

Owns what happens to a pod between request and storage: preparation, generation, what an update may
change, the subresources `resize` and `ephemeralcontainers`, deletion's grace and selectable fields.
Validation of the parts is in the `pod_*` modules; the Table's row is in `pod_table`.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
)
from actors.apiserver.strategies.pod_defaults import default_pod, prepare_pod_spec
from actors.apiserver.strategies.pod_object import check_object
from actors.apiserver.strategies.pod_profiles import validate_profiles_match
from actors.apiserver.strategies.pod_qos import qos_class
from actors.apiserver.strategies.pod_resize import check_ephemeral, check_resize, only_ephemeral, only_resources
from actors.apiserver.strategies.pod_status import validate_status
from actors.apiserver.strategies.pod_table import COLUMNS, pod_row
from actors.apiserver.strategies.pod_updates import annotation_updates, check_spec_update
from actors.apiserver.strategies.pod_warnings import pod_warnings
from protocol.names import dns1123_label

__all__ = ["PodStrategy"]


class PodStrategy(Strategy):
    """Pod."""

    has_status = True
    has_generation = True
    grace_deletion = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        default_pod(obj)
        if obj["spec"]["terminationGracePeriodSeconds"] < 0:
            obj["spec"]["terminationGracePeriodSeconds"] = 1

    # --- create -----------------------------------------------------------------------------

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        spec = new["spec"]
        prepare_pod_spec(spec, old and old["spec"], ctx.minor)
        if old is None:
            if "affinity" in spec or "topologySpreadConstraints" in spec:
                _merge_label_keys(spec, new["metadata"].get("labels") or {})
            if spec.get("schedulingGates"):
                new["status"]["conditions"] = [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "lastProbeTime": None,
                        "lastTransitionTime": None,
                        "reason": "SchedulingGated",
                        "message": "Scheduling is blocked due to non-empty scheduling gates",
                    }
                ]

    def check(self, obj: Object) -> list[FieldError]:
        errors = check_object(self, obj)
        spec = obj["spec"]
        if "ephemeralContainers" in spec:
            errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
        if spec.get("nodeName") and spec.get("schedulingGates"):
            detail = "cannot be set until all schedulingGates have been cleared"
            errors.append(forbidden("spec.nodeName", detail))
        annotations = obj["metadata"].get("annotations")
        return errors + validate_profiles_match(annotations, spec, "spec") if annotations else errors

    # --- update -----------------------------------------------------------------------------

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        errors += check_object(self, new)
        errors += annotation_updates(new, old)
        return errors + check_spec_update(new["spec"], old["spec"])

    def reset_for_status(self, new: Object, old: Object) -> None:
        super().reset_for_status(new, old)
        new["metadata"].pop("deletionTimestamp", None)
        owners = old["metadata"].get("ownerReferences")
        if owners is None:
            new["metadata"].pop("ownerReferences", None)
        else:
            new["metadata"]["ownerReferences"] = owners

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + annotation_updates(new, old)
        return errors + validate_status(new, old)

    # --- subresources -----------------------------------------------------------------------

    def prepare_for_subresource(self, name: str, new: Object, old: Object, ctx: Context) -> None:
        if name == "ephemeralcontainers":
            only_ephemeral(new, old)
        elif name == "resize":
            only_resources(new, old)
        else:
            super().prepare_for_subresource(name, new, old, ctx)
            return
        self._keep_generation(new, old)
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        self._keep_metadata(new, old)

    def validate_subresource(self, name: str, new: Object, old: Object) -> list[FieldError]:
        if name == "ephemeralcontainers":
            return self.common_update(new, old) + check_ephemeral(self, new, old)
        if name == "resize":
            return self.common_update(new, old) + check_resize(self, new, old)
        return super().validate_subresource(name, new, old)

    # --- the rest ---------------------------------------------------------------------------

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        if old is not None and new["spec"] == old["spec"]:
            return []
        out = []
        name = new["metadata"].get("name", "")
        if old is None and (problems := dns1123_label(name)):
            out.append(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising "
                f"behavior; a DNS label is recommended: [{' '.join(problems)}]"
            )
        return out + pod_warnings(new)

    def default_grace_s(self, obj: Object, requested_s: int | None) -> int:
        period = requested_s
        spec, status = obj["spec"], obj.get("status") or {}
        if period is None:
            period = spec.get("terminationGracePeriodSeconds", 0)
        if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
            return 0
        return 1 if period < 0 else period

    def columns(self) -> tuple[Column, ...]:
        return COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        return pod_row(obj, now)

    def fields(self, obj: Object) -> dict[str, str]:
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        return {
            "metadata.name": meta.get("name", ""),
            "metadata.namespace": meta.get("namespace", ""),
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.restartPolicy": spec.get("restartPolicy", ""),
            "spec.schedulerName": spec.get("schedulerName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase", ""),
            "status.podIP": status.get("podIP", ""),
            "status.podIPs": status.get("podIP", ""),
            "status.nominatedNodeName": status.get("nominatedNodeName", ""),
        }


# --- creation -----------------------------------------------------------------------------------


def _merge_label_keys(spec: Object, labels: dict[str, str]) -> None:
    """Turn `matchLabelKeys` and `mismatchLabelKeys` into expressions over the pod's own labels
    (KEP-3633, KEP-3243), so that schedulers need not know them."""
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            _merge_term(term, labels)
        for weighted in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            _merge_term(weighted.get("podAffinityTerm") or {}, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge_term(constraint, labels)


def _merge_term(term: Object, labels: dict[str, str]) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in term.get(field) or ():
            if key in labels:
                selector.setdefault("matchExpressions", []).append(
                    {"key": key, "operator": operator, "values": [labels[key]]}
                )
