"""HorizontalPodAutoscaler, v1 and v2.

Owns defaults of both versions, the validation of the stored form (v2) and columns.
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
from actors.apiserver.strategies._meta import nonnegative
from actors.apiserver.strategies._resources import container_name
from protocol.names import dns1123_label, path_segment_name
from protocol.quantity import parse_quantity

__all__ = ["AutoscalerStrategy"]

_METRIC_FIELDS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_CHECK_ORDER = ("object", "external", "pods", "resource", "containerResource")
_TARGETS = ("Utilization", "Value", "AverageValue")
_SELECT = ("Disabled", "Max", "Min")
_POLICY_TYPES = ("Percent", "Pods")
_MAX_PERIOD_S = 1800
_MAX_WINDOW_S = 3600


def _scale_up() -> Object:
    return {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    }


def _scale_down() -> Object:
    policies = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    return {"selectPolicy": "Max", "policies": policies}


class AutoscalerStrategy(Strategy):
    """HorizontalPodAutoscaler."""

    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if self.kind.version == "v1":
            return
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is not None:
            for key, rules in (("scaleUp", _scale_up()), ("scaleDown", _scale_down())):
                rules.update({k: v for k, v in (behavior.get(key) or {}).items() if v is not None})
                behavior[key] = rules

    def reset_status(self, obj: Object) -> None:
        obj["status"] = {"desiredReplicas": 0, "currentMetrics": None}

    def check(self, obj: Object) -> list[FieldError]:
        return self.check_meta(obj) + _check_spec(obj["spec"])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + _check_spec(new["spec"])

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        status = new.get("status") or {}
        for name in ("currentReplicas", "desiredReplicas"):
            errors += nonnegative(status.get(name), f"status.{name}")
        return errors

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        target = spec.get("scaleTargetRef") or {}
        least = spec.get("minReplicas")
        specs, current = spec.get("metrics") or [], status.get("currentMetrics") or []
        return [
            obj["metadata"].get("name", ""),
            f"{target.get('kind', '')}/{target.get('name', '')}",
            _metrics_cell(specs, current),
            "<unset>" if least is None else str(least),
            spec.get("maxReplicas", 0),
            status.get("currentReplicas", 0),
            self.age(obj, now),
        ]


# --- validation ---------------------------------------------------------------------------------


def _check_spec(spec: Object) -> list[FieldError]:
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    errors: list[FieldError] = []
    if least is not None and least < 1:
        errors.append(invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most == 0:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 1:
        errors.append(invalid("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        detail = "must be greater than or equal to `minReplicas`"
        errors.append(invalid("spec.maxReplicas", most, detail))
    errors += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", False)
    kinds: set[str] = set()
    for index, metric in enumerate(spec.get("metrics") or ()):
        errors += _metric(metric, f"spec.metrics[{index}]")
        kinds.add(metric.get("type", ""))
    if least == 0 and not kinds & {"Object", "External"}:
        detail = (
            "must specify at least one Object or External metric to support scaling to zero replicas"
        )
        errors.append(forbidden("spec.metrics", detail))
    for key in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(key)
        if rules is not None:
            errors += _scaling_rules(rules, f"spec.behavior.{key}")
    return errors


def _reference(reference: Object, path: str, allow_core: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in ("kind", "name"):
        value = reference.get(key, "")
        if not value:
            errors.append(required(f"{path}.{key}"))
        else:
            errors += [invalid(f"{path}.{key}", value, m) for m in path_segment_name(value, False)]
    version = reference.get("apiVersion", "")
    at = path + ".apiVersion"
    if version.count("/") > 1:
        errors.append(invalid(at, version, f"unexpected GroupVersion string: {version}"))
    elif not allow_core and not version.rpartition("/")[0]:
        errors.append(invalid(at, version, "apiVersion must specify API group"))
    return errors


def _scaling_rules(rules: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    window, select = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    at = path + ".stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.append(invalid(at, window, "must be greater than or equal to zero"))
    if window is not None and window > _MAX_WINDOW_S:
        errors.append(invalid(at, window, f"must be less than or equal to {_MAX_WINDOW_S}"))
    if select is not None and select not in _SELECT:
        errors.append(not_supported(path + ".selectPolicy", select, _SELECT))
    policies = rules.get("policies") or []
    if not policies:
        errors.append(required(path + ".policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        errors += _scaling_policy(policy, f"{path}.policies[{index}]")
    tolerance = rules.get("tolerance")
    if tolerance is not None and parse_quantity(tolerance) < 0:
        detail = "must be greater than or equal to 0"
        errors.append(invalid(path + ".tolerance", tolerance, detail))
    return errors


def _scaling_policy(policy: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, value, period = (policy.get(k, d) for k, d in (("type", ""), ("value", 0), ("periodSeconds", 0)))
    if kind not in _POLICY_TYPES:
        errors.append(not_supported(path + ".type", kind, _POLICY_TYPES))
    if value <= 0:
        errors.append(invalid(path + ".value", value, "must be greater than zero"))
    if period <= 0:
        errors.append(invalid(path + ".periodSeconds", period, "must be greater than zero"))
    if period > _MAX_PERIOD_S:
        detail = f"must be less than or equal to {_MAX_PERIOD_S}"
        errors.append(invalid(path + ".periodSeconds", period, detail))
    return errors


def _metric(metric: Object, path: str) -> list[FieldError]:
    kind = metric.get("type", "")
    errors: list[FieldError] = []
    at, listed = path + ".type", sorted(_METRIC_FIELDS)
    if not kind:
        errors.append(required(at, "must specify a metric source type"))
    if kind not in _METRIC_FIELDS:
        errors.append(not_supported(at, kind, listed))
    present = [key for key in _CHECK_ORDER if metric.get(key) is not None]
    if present:
        errors += _source(metric[present[0]], present[0], f"{path}.{present[0]}")
    expected = _METRIC_FIELDS.get(kind, "")
    if not expected:
        errors.append(not_supported(at, kind, listed))
    elif expected not in present:
        detail = "must populate information for the given metric source"
        errors.append(required(f"{path}.{expected}", detail))
    if len(present) != 1:
        detail = "must populate the given metric source only"
        errors += [forbidden(f"{path}.{key}", detail) for key in sorted(present) if key != expected]
    return errors


def _source(source: Object, kind: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    target = source.get("target") or {}
    at = path + ".target"
    if kind in ("object", "external", "pods"):
        if kind == "object":
            errors += _reference(source.get("describedObject") or {}, path + ".describedObject", True)
        errors += _identifier(source.get("metric") or {}, path + ".metric")
        errors += _target(target, at)
        value, average = target.get("value"), target.get("averageValue")
        if kind == "pods":
            if average is None:
                detail = "must specify a positive target averageValue"
                errors.append(required(at + ".averageValue", detail))
        elif value is None and average is None:
            words = {"object": "value or averageValue", "external": "value for metric or a per-pod target"}
            detail = f"must set either a target {words[kind]}"
            errors.append(required(at + ".averageValue", detail))
        elif kind == "external" and value is not None and average is not None:
            detail = "may not set both a target value for metric and a per-pod target"
            errors.append(forbidden(at + ".value", detail))
        return errors
    name = source.get("name", "")
    if not name:
        errors.append(required(path + ".name", "must specify a resource name"))
    elif kind == "containerResource":
        errors += container_name(name, path + ".name")
    if kind == "containerResource":
        container = source.get("container", "")
        if not container:
            errors.append(required(path + ".container", "must specify a container"))
        else:
            errors += [invalid(path + ".container", container, m) for m in dns1123_label(container)]
    errors += _target(target, at)
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        detail = "must set either a target raw value or a target utilization"
        errors.append(required(at + ".averageUtilization", detail))
    if utilization is not None and average is not None:
        detail = "may not set both a target raw value and a target utilization"
        errors.append(forbidden(at + ".averageValue", detail))
    return errors


def _identifier(metric: Object, path: str) -> list[FieldError]:
    name = metric.get("name", "")
    if not name:
        return [required(path + ".name", "must specify a metric name")]
    return [invalid(path + ".name", name, message) for message in path_segment_name(name, False)]


def _target(target: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind = target.get("type", "")
    if not kind:
        errors.append(required(path + ".type", "must specify a metric target type"))
    if kind not in _TARGETS:
        detail = "must be either Utilization, Value, or AverageValue"
        errors.append(invalid(path + ".type", kind, detail))
    for key in ("value", "averageValue"):
        amount = target.get(key)
        if amount is not None and parse_quantity(amount) <= 0:
            errors.append(invalid(f"{path}.{key}", amount, "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errors.append(invalid(path + ".averageUtilization", utilization, "must be greater than 0"))
    return errors


# --- the Targets cell ---------------------------------------------------------------------------


def _metrics_cell(specs: list[Object], statuses: list[Object]) -> str:
    if not specs:
        return "<none>"
    cells = [
        _metric_cell(spec, statuses[index] if index < len(statuses) else {})
        for index, spec in enumerate(specs)
    ]
    text = ", ".join(cells[:2])
    return text if len(cells) <= 2 else f"{text} + {len(cells) - 2} more..."


def _metric_cell(spec: Object, status: Object) -> str:
    key = _METRIC_FIELDS.get(spec.get("type", ""))
    if key is None:
        return "<unknown type>"
    source = spec.get(key) or {}
    target, current = source.get("target") or {}, (status.get(key) or {}).get("current") or {}
    average = target.get("averageValue")
    unknown = "<unknown>"
    if key in ("external", "object"):
        if average is not None:
            return f"{current.get('averageValue', unknown)}/{average} (avg)"
        return f"{current.get('value', unknown)}/{target.get('value', '<nil>')}"
    if key == "pods":
        return f"{current.get('averageValue', unknown)}/{average}"
    name = source.get("name", "")
    if average is not None:
        return f"{name}: {current.get('averageValue', unknown)}/{average}"
    utilization, wanted = current.get("averageUtilization"), target.get("averageUtilization")
    now = unknown if utilization is None else f"{utilization}%"
    return f"{name}: {now}/{'<auto>' if wanted is None else f'{wanted}%'}"


_COLUMNS = (
    NAME,
    Column("Reference", "string", "", "What is scaled."),
    Column("Targets", "string", "", "Metrics, current and wanted."),
    Column("MinPods", "string", "", "Least number of pods."),
    Column("MaxPods", "string", "", "Greatest number of pods."),
    Column("Replicas", "string", "", "Number of pods."),
    AGE,
)
