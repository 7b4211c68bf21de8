"""DaemonSet.

Owns its update strategy, the count of its template's changes, validation and columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import immutable, nonnegative
from actors.apiserver.strategies._selectors import (
    compile_selector,
    format_labels,
    format_selector,
    selector_form,
    validate_selector,
)
from actors.apiserver.strategies._tables import CONTAINERS, IMAGES, SELECTOR, container_cells
from actors.apiserver.strategies._workloads import (
    LABELS_MISMATCH,
    collisions_only_grow,
    int_or_percent,
    is_zero,
    not_over_100,
    sorted_labels,
    validate_pod_restarts,
)
from actors.apiserver.strategies.pod_defaults import default_template, prepare_pod_spec
from actors.apiserver.strategies.pod_validation import validate_template
from actors.apiserver.strategies.pod_warnings import pod_warnings

__all__ = ["DaemonSetStrategy"]

_GENERATION = "deprecated.daemonset.template.generation"
_STATUS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)


def _check_update_strategy(strategy: Object, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = internal_form("apps.DaemonSetUpdateStrategy", strategy)
        return [not_supported(path, shown, ("RollingUpdate", "OnDelete"))]
    at = path + ".rollingUpdate"
    if rolling is None:
        return [required(at)]
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = int_or_percent(unavailable, at + ".maxUnavailable")
    errors += int_or_percent(surge, at + ".maxSurge")
    errors += not_over_100(unavailable, at + ".maxUnavailable")
    errors += not_over_100(surge, at + ".maxSurge")
    if is_zero(unavailable) and is_zero(surge):
        errors.append(required(at + ".maxUnavailable", "cannot be 0 when maxSurge is 0"))
    elif not is_zero(unavailable) and not is_zero(surge):
        detail = "may not be set when maxUnavailable is non-zero"
        errors.append(invalid(at + ".maxSurge", surge, detail))
    return errors


def _template_generation(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(_GENERATION, "0")
    return int(text) if text.lstrip("-").isdigit() else 0


class DaemonSetStrategy(Strategy):
    """DaemonSet."""

    has_status = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        if spec.get("revisionHistoryLimit") is None:
            spec["revisionHistoryLimit"] = 10
        annotations = obj["metadata"].setdefault("annotations", {})
        annotations[_GENERATION] = str(_template_generation(obj))
        default_template(spec.setdefault("template", {"metadata": {}, "spec": {}}))

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["spec"]["template"]["spec"], old and old["spec"]["template"]["spec"], ctx.minor)
        generation = max(_template_generation(new), 1)
        if old is not None:
            generation = _template_generation(old)
            if new["spec"]["template"] != old["spec"]["template"]:
                generation += 1
        annotations = new["metadata"].get("annotations") or {}
        new["metadata"]["annotations"] = {**annotations, _GENERATION: str(generation)}

    def internal_metadata(self, obj: Object) -> Object:
        """The template's generation is an annotation of the served version only."""
        meta = obj["metadata"]
        annotations = {k: v for k, v in meta.get("annotations", {}).items() if k != _GENERATION}
        if annotations:
            return {**meta, "annotations": annotations}
        return {key: value for key, value in meta.items() if key != "annotations"}

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj["spec"])

    def _check_spec(self, spec: Object) -> list[FieldError]:
        selector, template = spec.get("selector"), spec.get("template") or {}
        errors = validate_selector(selector, "spec.selector")
        compiled = compile_selector(selector)
        labels = (template.get("metadata") or {}).get("labels") or {}
        if compiled is not None and not compiled.matches(labels):
            at = "spec.template.metadata.labels"
            errors.append(invalid(at, sorted_labels(labels), LABELS_MISMATCH))
        if selector is not None and not any(selector.values()):
            detail = "empty selector is invalid for daemonset"
            errors.append(invalid("spec.selector", selector_form(selector), detail))
        errors += validate_template(template, "spec.template")
        pod = template.get("spec") or {}
        errors += validate_pod_restarts(pod, "spec.template.spec", "DaemonSet")
        errors += nonnegative(spec.get("minReadySeconds"), "spec.minReadySeconds")
        errors += _check_update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
        return errors + nonnegative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        now, was = (selector_form(o["spec"].get("selector")) for o in (new, old))
        errors = self.check(new) + self.check_meta_update(new, old)
        return errors + self._check_spec(new["spec"]) + immutable(now, was, "spec.selector")

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        status, before = new.get("status") or {}, old.get("status") or {}
        for name in _STATUS:
            errors += nonnegative(status.get(name), f"status.{name}")
        return errors + collisions_only_grow(status, before)

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        if old is None or new["spec"]["template"] != old["spec"]["template"]:
            return pod_warnings(new["spec"]["template"], "spec.template.")
        return []

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        pod = (spec.get("template") or {}).get("spec") or {}
        counts = (
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        )
        return [
            obj["metadata"].get("name", ""),
            *(status.get(name, 0) for name in counts),
            format_labels(pod.get("nodeSelector")),
            self.age(obj, now),
            *container_cells(pod),
            format_selector(spec.get("selector")),
        ]


_COLUMNS = (
    NAME,
    Column("Desired", "integer", "", "Nodes that should run a pod."),
    Column("Current", "integer", "", "Nodes that run a pod and should."),
    Column("Ready", "integer", "", "Nodes whose pod is ready."),
    Column("Up-to-date", "integer", "", "Nodes whose pod is of the current template."),
    Column("Available", "integer", "", "Nodes whose pod is ready for long enough."),
    Column("Node Selector", "string", "", "Labels of the nodes to run on."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
