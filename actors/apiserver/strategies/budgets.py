"""PodDisruptionBudget.

Owns its bounds, status rules and columns; evictions are counted elsewhere.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._conditions import validate_conditions
from actors.apiserver.strategies._errors import FieldError, invalid, not_supported
from actors.apiserver.strategies._meta import nonnegative
from actors.apiserver.strategies._selectors import selector_form, validate_selector
from actors.apiserver.strategies._workloads import int_or_percent, not_over_100

__all__ = ["BudgetStrategy"]

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


class BudgetStrategy(Strategy):
    """PodDisruptionBudget."""

    has_status = True
    has_generation = True
    allow_unconditional_update = False

    def reset_status(self, obj: Object) -> None:
        obj["status"] = dict.fromkeys(_COUNTS, 0)

    def check(self, obj: Object) -> list[FieldError]:
        """Names need only fit into a URL: upstream checks no more of the metadata here."""
        spec = obj.get("spec") or {}
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        policy = spec.get("unhealthyPodEvictionPolicy")
        errors: list[FieldError] = []
        if least is not None and most is not None:
            shown = {
                "MinAvailable": least,
                "Selector": selector_form(spec.get("selector")),
                "MaxUnavailable": most,
                "UnhealthyPodEvictionPolicy": policy,
            }
            detail = "minAvailable and maxUnavailable cannot be both set"
            errors.append(invalid("spec", shown, detail))
        for key, value in (("minAvailable", least), ("maxUnavailable", most)):
            if value is not None:
                at = f"spec.{key}"
                errors += int_or_percent(value, at) + not_over_100(value, at)
        errors += validate_selector(spec.get("selector"), "spec.selector")
        if policy is not None and policy not in _POLICIES:
            at = "spec.unhealthyPodEvictionPolicy"
            errors.append(not_supported(at, policy, _POLICIES))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        errors = validate_conditions(status.get("conditions") or [], "status.conditions")
        for name in _COUNTS:
            errors += nonnegative(status.get(name), f"status.{name}")
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Min Available", "string", "", "The minimum number of pods that must be available."),
            Column("Max Unavailable", "string", "", "The maximum number of pods that may be unavailable."),
            Column("Allowed Disruptions", "integer", "", "Number of pods that may be disrupted now."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        spec = obj.get("spec") or {}
        bounds = [spec.get(key) for key in ("minAvailable", "maxUnavailable")]
        return [
            obj["metadata"].get("name", ""),
            *("N/A" if bound is None else str(bound) for bound in bounds),
            (obj.get("status") or {}).get("disruptionsAllowed", 0),
            self.age(obj, now),
        ]
