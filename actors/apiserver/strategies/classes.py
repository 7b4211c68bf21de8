"""PriorityClass, RuntimeClass, Lease and ComponentStatus: small kinds without a status.

Owns their defaults, validation, what may change, and columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import immutable, nonnegative, validate_labels
from actors.apiserver.strategies._resources import validate_requirements
from actors.apiserver.strategies._warnings import node_label_warning
from actors.apiserver.strategies.pod_scheduling import validate_tolerations
from protocol.names import dns1123_label, qualified_name

__all__ = ["ComponentStatusStrategy", "LeaseStrategy", "PriorityClassStrategy", "RuntimeClassStrategy"]

_SYSTEM_CLASSES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
_HIGHEST_USER_PRIORITY = 1000000000
_PREEMPTION = ("PreemptLowerPriority", "Never")
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only."


class ComponentStatusStrategy(Strategy):
    """ComponentStatus: how healthy a component was when it was asked."""

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Status", "string", "", "Status of the component conditions", 0),
            Column("Message", "string", "", "Message of the component conditions", 0),
            Column("Error", "string", "", "Error of the component conditions", 0),
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        name = obj["metadata"]["name"]
        for condition in obj.get("conditions") or ():
            if condition["type"] == "Healthy":
                healthy = "Healthy" if condition["status"] == "True" else "Unhealthy"
                return [name, healthy, condition.get("message", ""), condition.get("error", "")]
        return [name, "Unknown", "", ""]


class PriorityClassStrategy(Strategy):
    """PriorityClass."""

    has_generation = True

    def default(self, obj: Object) -> None:
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"

    def bumps_generation(self, new: Object, old: Object) -> bool:
        return False

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
        if name.startswith("system-"):
            problem = self._system_problem(name, value, bool(obj.get("globalDefault")))
            if problem:
                errors.append(forbidden("metadata.name", f"{_RESERVED} error: {problem}"))
        elif value > _HIGHEST_USER_PRIORITY:
            detail = (
                "maximum allowed value of a user defined priority is "
                f"{_HIGHEST_USER_PRIORITY}"
            )
            errors.append(forbidden("value", detail))
        policy = obj.get("preemptionPolicy")
        if policy is not None and policy not in _PREEMPTION:
            at = "preemptionPolicy"
            errors.append(not_supported(at, policy, _PREEMPTION) if policy else required(at))
        return errors

    def _system_problem(self, name: str, value: int, default: bool) -> str:
        known = _SYSTEM_CLASSES.get(name)
        if known is None:
            return f"{name} is not a known system priority class"
        if value != known:
            return f"value of {name} PriorityClass must be {known}"
        return f"globalDefault of {name} PriorityClass must be false" if default else ""

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        if new.get("value", 0) != old.get("value", 0):
            errors.append(forbidden("value", "may not be changed in an update."))
        now, was = new.get("preemptionPolicy"), old.get("preemptionPolicy")
        return errors + immutable(now, was, "preemptionPolicy")

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Value", "integer", "", "Priority of pods of the class."),
            Column("Global-Default", "boolean", "", "Whether pods without a class have it."),
            AGE,
            Column("PreemptionPolicy", "string", "", "Whether pods push others aside."),
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        return [
            obj["metadata"].get("name", ""),
            obj.get("value", 0),
            bool(obj.get("globalDefault")),
            self.age(obj, now),
            obj.get("preemptionPolicy") or "",
        ]


class RuntimeClassStrategy(Strategy):
    """RuntimeClass."""

    allow_create_on_update = True
    allow_unconditional_update = False

    def check(self, obj: Object) -> list[FieldError]:
        handler = obj.get("handler", "")
        errors = self.check_meta(obj)
        errors += [invalid("handler", handler, message) for message in dns1123_label(handler)]
        fixed = (obj.get("overhead") or {}).get("podFixed")
        if fixed is not None:
            errors += validate_requirements({"limits": fixed}, (), "overhead")
        scheduling = obj.get("scheduling") or {}
        errors += validate_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
        tolerations = scheduling.get("tolerations") or []
        errors += validate_tolerations(tolerations, "scheduling.tolerations")
        for index, toleration in enumerate(tolerations):
            if toleration in tolerations[:index]:
                at = f"scheduling.tolerations[{index}]"
                errors.append(FieldError("FieldValueDuplicate", at, "Duplicate value"))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        errors += immutable(new.get("handler", ""), old.get("handler", ""), "handler")
        return errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        selector = (new.get("scheduling") or {}).get("nodeSelector") or ()
        texts = (node_label_warning(key) for key in selector)
        return [f"scheduling.nodeSelector: {text}" for text in texts if text]

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Handler", "string", "", ""), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"].get("name", ""), obj.get("handler", ""), self.age(obj, now)]


def _check_strategy(strategy: str, path: str) -> list[FieldError]:
    """Kubernetes' own strategy, or somebody's with a domain."""
    if "/" in strategy:
        return [invalid(path, strategy, message) for message in qualified_name(strategy)]
    known = ("OldestEmulationVersion",)
    return [] if strategy in known else [not_supported(path, strategy, known)]


class LeaseStrategy(Strategy):
    """Lease."""

    allow_create_on_update = True
    allow_unconditional_update = False

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + self._check_spec(obj.get("spec") or {})

    def _check_spec(self, spec: Object) -> list[FieldError]:
        errors: list[FieldError] = []
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            errors.append(invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
        errors += nonnegative(spec.get("leaseTransitions"), "spec.leaseTransitions")
        strategy, preferred = spec.get("strategy"), spec.get("preferredHolder")
        if strategy is not None:
            errors += _check_strategy(strategy, "spec.strategy.strategy")
        if preferred and not strategy:
            detail = "may only be specified if `strategy` is defined"
            errors.append(forbidden("spec.preferredHolder", detail))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self._check_spec(new.get("spec") or {})

    def columns(self) -> tuple[Column, ...]:
        return (NAME, Column("Holder", "string", "", "Who holds the lease."), AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        holder = (obj.get("spec") or {}).get("holderIdentity") or ""
        return [obj["metadata"].get("name", ""), holder, self.age(obj, now)]
