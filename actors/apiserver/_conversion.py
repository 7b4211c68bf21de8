"""Conversion between the versions in which a kind is served and the one in which it is stored.

Owns the few kinds whose versions differ in shape: horizontal pod autoscalers (v1, v2) and events
(core, events.k8s.io). All others differ only in `apiVersion`. Functions take a frozen object and
return a new one; parts that are equal in both are shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

__all__ = ["converter"]

Object = dict[str, Any]
Convert = Callable[[Object], Object]

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_ANNOTATIONS = (_METRICS, _CURRENT, _BEHAVIOR, _CONDITIONS)


def converter(group: str, kind: str, source: str, target: str) -> Convert | None:
    """The function from one apiVersion to another; None when they are the same."""
    if source == target:
        return None
    special = _SPECIAL.get((kind, source, target))
    if special is not None:
        return special

    def rename(obj: Object) -> Object:
        return {**obj, "apiVersion": target}

    return rename


# --- horizontal pod autoscalers -------------------------------------------------------------


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or resource.get("current") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and "averageUtilization" in target


def _hpa_to_v1(obj: Object) -> Object:
    """v2 to v1: what v1 cannot say goes into annotations, as upstream does."""
    spec = dict(obj.get("spec") or {})
    annotations = {k: v for k, v in (obj["metadata"].get("annotations") or {}).items() if k not in _ANNOTATIONS}
    rest = []
    for metric in spec.pop("metrics", None) or ():
        if _is_cpu(metric) and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"]
        else:
            rest.append(_metric_to_v1(metric))
    if rest:
        annotations[_METRICS] = orjson.dumps(rest).decode()
    behavior = spec.pop("behavior", None)
    if behavior:
        annotations[_BEHAVIOR] = orjson.dumps(_behavior(behavior)).decode()
    status = dict(obj.get("status") or {})
    current = status.pop("currentMetrics", None) or []
    kept = []
    for metric in current:
        if _is_cpu(metric) and "currentCPUUtilizationPercentage" not in status:
            status["currentCPUUtilizationPercentage"] = metric["resource"]["current"]["averageUtilization"]
        kept.append(_current_to_v1(metric))
    if [m for m in current if not _is_cpu(m)]:
        annotations[_CURRENT] = orjson.dumps(kept).decode()
    conditions = status.pop("conditions", None)
    if conditions:
        annotations[_CONDITIONS] = orjson.dumps(conditions).decode()
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    return {**obj, "apiVersion": "autoscaling/v1", "metadata": _annotated(obj, annotations), "spec": spec,
            "status": status}


def _hpa_to_v2(obj: Object) -> Object:
    """v1 to v2: annotations that upstream's v1 uses become fields again."""
    spec = dict(obj.get("spec") or {})
    found = obj["metadata"].get("annotations") or {}
    annotations = {k: v for k, v in found.items() if k not in _ANNOTATIONS}
    metrics = [_metric_to_v2(m) for m in _decode(found.get(_METRICS), [])]
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _small(_decode(found.get(_BEHAVIOR), None))
    if behavior:
        spec["behavior"] = behavior
    out = {**obj, "apiVersion": "autoscaling/v2", "metadata": _annotated(obj, annotations), "spec": spec}
    if "status" not in obj:
        return out
    status = dict(obj["status"])
    percentage = status.pop("currentCPUUtilizationPercentage", None)
    current = [_current_to_v2(m) for m in _decode(found.get(_CURRENT), [])]
    if percentage is not None and not any(_is_cpu(m) for m in current):
        entry = {"name": "cpu", "current": {"averageUtilization": percentage}}
        current.insert(0, {"type": "Resource", "resource": entry})
    if current:
        status["currentMetrics"] = current
    conditions = _decode(found.get(_CONDITIONS), None)
    if conditions:
        status["conditions"] = conditions
    out["status"] = status
    return out


def _decode(text: str | None, default: Any) -> Any:
    if not text:
        return default
    try:
        return orjson.loads(text)
    except ValueError:
        return default


def _annotated(obj: Object, annotations: dict[str, str]) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return metadata


def _behavior(behavior: Object) -> Object:
    order = ("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance")
    out: Object = {}
    for direction in ("scaleUp", "scaleDown"):
        if direction in behavior:
            rules = behavior[direction]
            out[direction.replace("scale", "Scale")] = {
                _capital(key): [{_capital(k): p.get(k) for k in ("type", "value", "periodSeconds")} for p in rules[key]]
                if key == "policies" and rules.get(key)
                else rules.get(key)
                for key in order
            }
        else:
            out[direction.replace("scale", "Scale")] = None
    return out


def _small(value: Any) -> Any:
    """Field names as in JSON again, without what is null."""
    if isinstance(value, dict):
        return {k[:1].lower() + k[1:]: _small(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_small(item) for item in value]
    return value


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


_SOURCES = {
    "Resource": "resource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
    "ContainerResource": "containerResource",
}


def _metric_to_v1(metric: Object) -> Object:
    """v2beta-like form that autoscaling/v1 keeps in its annotation."""
    word = _SOURCES.get(metric.get("type", ""), "")
    source = dict(metric.get(word) or {})
    target = source.pop("target", None) or {}
    if word in ("resource", "containerResource"):
        if "averageUtilization" in target:
            source["targetAverageUtilization"] = target["averageUtilization"]
        if "averageValue" in target:
            source["targetAverageValue"] = target["averageValue"]
    elif word == "external":
        named = source.pop("metric", {})
        source["metricName"] = named.get("name", "")
        if "selector" in named:
            source["metricSelector"] = named["selector"]
        if "value" in target:
            source["targetValue"] = target["value"]
        if "averageValue" in target:
            source["targetAverageValue"] = target["averageValue"]
    elif word == "pods":
        named = source.pop("metric", {})
        source["metricName"] = named.get("name", "")
        if "selector" in named:
            source["selector"] = named["selector"]
        source["targetAverageValue"] = target.get("averageValue", "0")
    elif word == "object":
        named = source.pop("metric", {})
        described = source.pop("describedObject", {})
        source["target"] = described
        source["metricName"] = named.get("name", "")
        if "selector" in named:
            source["selector"] = named["selector"]
        source["targetValue"] = target.get("value", "0")
        if "averageValue" in target:
            source["averageValue"] = target["averageValue"]
    return {"type": metric.get("type", ""), word: source}


def _metric_to_v2(metric: Object) -> Object:
    word = _SOURCES.get(metric.get("type", ""), "")
    source = dict(metric.get(word) or {})
    target: Object = {}
    named: Object = {}
    if "metricName" in source:
        named["name"] = source.pop("metricName")
    selector = source.pop("metricSelector", None) or source.pop("selector", None)
    if selector:
        named["selector"] = selector
    if word == "object":
        source["describedObject"] = source.pop("target", {})
        if "averageValue" in source:
            target = {"type": "AverageValue", "averageValue": source.pop("averageValue")}
            source.pop("targetValue", None)
        else:
            target = {"type": "Value", "value": source.pop("targetValue", "0")}
    elif "targetAverageUtilization" in source:
        target = {"type": "Utilization", "averageUtilization": source.pop("targetAverageUtilization")}
    elif "targetAverageValue" in source:
        target = {"type": "AverageValue", "averageValue": source.pop("targetAverageValue")}
    elif "targetValue" in source:
        target = {"type": "Value", "value": source.pop("targetValue")}
    if named:
        source["metric"] = named
    source["target"] = target
    return {"type": metric.get("type", ""), word: source}


def _current_to_v1(metric: Object) -> Object:
    word = _SOURCES.get(metric.get("type", ""), "")
    source = dict(metric.get(word) or {})
    current = source.pop("current", None) or {}
    if "averageUtilization" in current:
        source["currentAverageUtilization"] = current["averageUtilization"]
    if "averageValue" in current:
        source["currentAverageValue"] = current["averageValue"]
    if "value" in current:
        source["currentValue"] = current["value"]
    return {"type": metric.get("type", ""), word: source}


def _current_to_v2(metric: Object) -> Object:
    word = _SOURCES.get(metric.get("type", ""), "")
    source = dict(metric.get(word) or {})
    current = {}
    for old, new in (
        ("currentAverageUtilization", "averageUtilization"),
        ("currentAverageValue", "averageValue"),
        ("currentValue", "value"),
    ):
        if old in source:
            current[new] = source.pop(old)
    source["current"] = current
    return {"type": metric.get("type", ""), word: source}


# --- events ---------------------------------------------------------------------------------

_EVENT_FIELDS = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_NEW = dict(_EVENT_FIELDS)
_TO_CORE = {new: old for old, new in _EVENT_FIELDS}
_EMPTY_IN_NEW: Object = {}


def _event_to_new(obj: Object) -> Object:
    out = {_TO_NEW.get(key, key): value for key, value in obj.items() if not (key == "reportingComponent" and value == "")}
    out["apiVersion"] = "events.k8s.io/v1"
    out.setdefault("eventTime", None)
    out.setdefault("regarding", {})
    out.setdefault("deprecatedSource", {})
    out.setdefault("deprecatedFirstTimestamp", None)
    out.setdefault("deprecatedLastTimestamp", None)
    if out.get("reportingInstance") == "":
        del out["reportingInstance"]
    return out


def _event_to_core(obj: Object) -> Object:
    out = {_TO_CORE.get(key, key): value for key, value in obj.items()}
    out["apiVersion"] = "v1"
    out.setdefault("source", {})
    out.setdefault("firstTimestamp", None)
    out.setdefault("lastTimestamp", None)
    out.setdefault("eventTime", None)
    out.setdefault("involvedObject", {})
    out.setdefault("reportingComponent", "")
    out.setdefault("reportingInstance", "")
    return out


_SPECIAL: dict[tuple[str, str, str], Convert] = {
    ("HorizontalPodAutoscaler", "autoscaling/v2", "autoscaling/v1"): _hpa_to_v1,
    ("HorizontalPodAutoscaler", "autoscaling/v1", "autoscaling/v2"): _hpa_to_v2,
    ("Event", "v1", "events.k8s.io/v1"): _event_to_new,
    ("Event", "events.k8s.io/v1", "v1"): _event_to_core,
}
