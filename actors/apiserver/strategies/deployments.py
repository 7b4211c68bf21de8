"""Deployment.

Owns its rollout strategy, defaults, validation, status rules and columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import immutable, nonnegative
from actors.apiserver.strategies._selectors import compile_selector, selector_form
from actors.apiserver.strategies._tables import CONTAINERS, IMAGES, SELECTOR, container_cells
from actors.apiserver.strategies._workloads import (
    collisions_only_grow,
    int_or_percent,
    is_zero,
    not_over_100,
    template_warnings,
    validate_counts,
    validate_selected_template,
)
from actors.apiserver.strategies.pod_defaults import default_template, prepare_pod_spec

__all__ = ["DeploymentStrategy"]

_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
)
_BOUNDED = ("updatedReplicas", "readyReplicas", "availableReplicas")


def _check_strategy(strategy: Object, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    at = path + ".rollingUpdate"
    if kind == "Recreate":
        if rolling is None:
            return []
        return [forbidden(at, "may not be specified when strategy `type` is 'Recreate'")]
    if kind != "RollingUpdate":
        shown = internal_form("apps.DeploymentStrategy", strategy)
        return [not_supported(path, shown, ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [required(at, "this should be defaulted and never be nil")]
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = int_or_percent(unavailable, at + ".maxUnavailable")
    errors += int_or_percent(surge, at + ".maxSurge")
    if is_zero(unavailable) and is_zero(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid(at + ".maxUnavailable", unavailable, detail))
    return errors + not_over_100(unavailable, at + ".maxUnavailable")


class DeploymentStrategy(Strategy):
    """Deployment."""

    has_status = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        default_template(spec.setdefault("template", {"metadata": {}, "spec": {}}))

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["spec"]["template"]["spec"], old and old["spec"]["template"]["spec"], ctx.minor)

    def bumps_generation(self, new: Object, old: Object) -> bool:
        now, was = (o["metadata"].get("annotations") or {} for o in (new, old))
        return bool(new["spec"] != old["spec"] or now != was)

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj["spec"])

    def _check_spec(self, spec: Object) -> list[FieldError]:
        errors = nonnegative(spec.get("replicas"), "spec.replicas")
        errors += validate_selected_template(spec, "ReplicaSet", "deployment")
        errors += _check_strategy(spec.get("strategy") or {}, "spec.strategy")
        for name in ("minReadySeconds", "revisionHistoryLimit"):
            errors += nonnegative(spec.get(name), f"spec.{name}")
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None:
            at = "spec.progressDeadlineSeconds"
            errors += nonnegative(deadline, at)
            if deadline <= spec.get("minReadySeconds", 0):
                errors.append(invalid(at, deadline, "must be greater than minReadySeconds"))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + self._check_spec(new["spec"])
        now, was = (selector_form(o["spec"].get("selector")) for o in (new, old))
        return errors + immutable(now, was, "spec.selector")

    def reset_for_status(self, new: Object, old: Object) -> None:
        super().reset_for_status(new, old)
        labels = old["metadata"].get("labels")
        if labels is None:
            new["metadata"].pop("labels", None)
        else:
            new["metadata"]["labels"] = labels

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        status, before = new.get("status") or {}, old.get("status") or {}
        errors += validate_counts(status, _COUNTS, _BOUNDED, "readyReplicas")
        return errors + collisions_only_grow(status, before)

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        return template_warnings(new, old)

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        selector = compile_selector(spec.get("selector"))
        return [
            obj["metadata"].get("name", ""),
            f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            status.get("updatedReplicas", 0),
            status.get("availableReplicas", 0),
            self.age(obj, now),
            *container_cells((spec.get("template") or {}).get("spec")),
            "<invalid>" if selector is None else str(selector),
        ]


_COLUMNS = (
    NAME,
    Column("Ready", "string", "", "Number of pods that are ready, of all wanted."),
    Column("Up-to-date", "string", "", "Pods of the current template."),
    Column("Available", "string", "", "Pods ready for long enough."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
