"""ReplicaSet, ReplicationController and PodTemplate.

Owns their defaults, validation, status rules and columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import FieldError, invalid, required
from actors.apiserver.strategies._meta import immutable, nonnegative
from actors.apiserver.strategies._selectors import (
    format_labels,
    format_selector,
    selector_form,
)
from actors.apiserver.strategies._tables import CONTAINERS, IMAGES, SELECTOR, container_cells
from actors.apiserver.strategies._workloads import (
    LABELS_MISMATCH,
    sorted_labels,
    template_warnings,
    validate_counts,
    validate_pod_restarts,
    validate_selected_template,
)
from actors.apiserver.strategies.pod_defaults import default_template, prepare_pod_spec
from actors.apiserver.strategies.pod_validation import validate_template
from actors.apiserver.strategies.pod_warnings import pod_warnings

__all__ = ["PodTemplateStrategy", "ReplicaSetStrategy", "ReplicationControllerStrategy"]

_COUNTS = (
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
    "terminatingReplicas",
)
_BOUNDED = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
_COLUMNS = (
    NAME,
    Column("Desired", "integer", "", "How many pods there should be."),
    Column("Current", "integer", "", "How many pods there are."),
    Column("Ready", "integer", "", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)


class ReplicaSetStrategy(Strategy):
    """ReplicaSet."""

    has_status = True
    has_generation = True
    selector_kind = "ReplicaSet"

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        default_template(spec.setdefault("template", {"metadata": {}, "spec": {}}))

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"replicas": 0}

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["spec"]["template"]["spec"], old and old["spec"]["template"]["spec"], ctx.minor)

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj["spec"])

    def _check_spec(self, spec: Object) -> list[FieldError]:
        errors = nonnegative(spec.get("replicas"), "spec.replicas")
        errors += nonnegative(spec.get("minReadySeconds"), "spec.minReadySeconds")
        return errors + validate_selected_template(spec, self.selector_kind, "deployment")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self._check_spec(new["spec"])
        now = new["spec"].get("selector")
        return errors + immutable(selector_form(now), selector_form(old["spec"].get("selector")), "spec.selector")

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        return errors + validate_counts(new.get("status") or {}, _COUNTS, _BOUNDED, "readyReplicas")

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        return template_warnings(new, old)

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"].get("name", ""),
            spec.get("replicas", 0),
            status.get("replicas", 0),
            status.get("readyReplicas", 0),
            self.age(obj, now),
            *container_cells((spec.get("template") or {}).get("spec")),
            format_selector(spec.get("selector")),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        replicas = (obj.get("status") or {}).get("replicas", 0)
        return {**super().fields(obj), "status.replicas": str(replicas)}


class ReplicationControllerStrategy(ReplicaSetStrategy):
    """ReplicationController: selects by plain labels, which default to the template's."""

    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        template = spec.get("template")
        labels = ((template or {}).get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            meta = obj["metadata"]
            if not meta.get("labels"):
                meta["labels"] = dict(labels)
        spec.setdefault("replicas", 1)
        if template is not None:
            default_template(template)

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        template = new["spec"].get("template")
        if template is not None:
            was = (old["spec"].get("template") or {}) if old is not None else {}
            prepare_pod_spec(template["spec"], was.get("spec"), ctx.minor)

    def _check_spec(self, spec: Object) -> list[FieldError]:
        errors = nonnegative(spec.get("minReadySeconds"), "spec.minReadySeconds")
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            errors.append(required("spec.selector"))
        if spec.get("replicas") is None:
            errors.append(required("spec.replicas"))
        errors += nonnegative(spec.get("replicas"), "spec.replicas")
        if template is None:
            return [*errors, required("spec.template")]
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in selector.items()):
            at = "spec.template.metadata.labels"
            errors.append(invalid(at, sorted_labels(labels), LABELS_MISMATCH))
        errors += validate_template(template, "spec.template")
        kind = "ReplicationController"
        return errors + validate_pod_restarts(template["spec"], "spec.template.spec", kind)

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        return errors + self._check_spec(new["spec"])

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        if new["spec"].get("template") is None:
            return []
        return super().warnings(new, old)

    def row(self, obj: Object, now: float) -> list[Any]:
        cells = super().row({**obj, "spec": {**obj["spec"], "selector": None}}, now)
        return [*cells[:-1], format_labels((obj.get("spec") or {}).get("selector"))]


class PodTemplateStrategy(Strategy):
    """PodTemplate."""

    has_generation = True
    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        default_template(obj.setdefault("template", {"metadata": {}, "spec": {}}))

    def bumps_generation(self, new: Object, old: Object) -> bool:
        return bool(new.get("template") != old.get("template"))

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["template"]["spec"], old and old["template"]["spec"], ctx.minor)

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + validate_template(obj["template"], "template")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + validate_template(new["template"], "template")

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        return pod_warnings(new["template"], "template.")

    def columns(self) -> tuple[Column, ...]:
        plain = [Column(c.name, c.type, c.format, c.description) for c in (CONTAINERS, IMAGES)]
        return (NAME, *plain, Column("Pod Labels", "string", "", "Labels that pods get."))

    def row(self, obj: Object, now: float) -> list[Any]:
        template = obj.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels")
        cells = container_cells(template.get("spec"))
        return [obj["metadata"].get("name", ""), *cells, format_labels(labels)]
