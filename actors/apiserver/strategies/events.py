"""Event, in both groups that serve it.

Owns the rules of old events (core/v1) and the stricter ones of `events.k8s.io/v1`. Works on the
stored form, core's, and says so where field names differ between the two.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import Column, Object, Strategy
from actors.apiserver.strategies._errors import FieldError, invalid, required
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies._time import since
from protocol.names import dns1123_subdomain, qualified_name

__all__ = ["EventStrategy"]

_IMMUTABLE = (
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)
_UNSET = ("firstTimestamp", "lastTimestamp", "count", "source")


class EventStrategy(Strategy):
    """Event."""

    allow_create_on_update = True
    rules_of_request = True
    standard_finalizers_only = True

    @property
    def strict(self) -> bool:
        """Whether requests come by way of `events.k8s.io`."""
        return bool(self.kind.group)

    def default(self, obj: Object) -> None:
        if self.strict:
            obj.setdefault("eventTime", None)

    def check(self, obj: Object) -> list[FieldError]:
        errors = _check_legacy(obj, "reportingController" if self.strict else "reportingComponent")
        if not self.strict:
            return errors
        errors += self.check_meta(obj) + _check_series(obj)
        if not obj.get("eventTime"):
            errors.append(required("eventTime"))
        if obj.get("type") not in ("Normal", "Warning"):
            errors.append(invalid("type", "", f"has invalid value: {obj.get('type', '')}"))
        return errors + [invalid(field, "", "needs to be unset") for field in _UNSET if obj.get(field)]

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = _check_legacy(new, "reportingController" if self.strict else "reportingComponent")
        if not self.strict:
            return errors
        errors += self.check_meta_update(new, old)
        if new.get("series") != old.get("series"):
            errors += _check_series(new)
        for key, shown in _IMMUTABLE:
            errors += immutable(new.get(key), old.get(key), shown)
        return errors

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp")
        first_cell = since(first or obj.get("eventTime"), now)
        last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
        last_cell = since(last, now) if last else first_cell
        count = obj.get("count") or obj.get("deprecatedCount") or 1
        series = obj.get("series")
        if series is not None:
            last_cell, count = since(series.get("lastObservedTime"), now), series.get("count", 0)
        about = obj.get("involvedObject") or obj.get("regarding") or {}
        kind, name = about.get("kind", "").lower(), about.get("name", "")
        return [
            last_cell,
            obj.get("type", ""),
            obj.get("reason", ""),
            f"{kind}/{name}" if name else kind,
            about.get("fieldPath", ""),
            _source_text(obj),
            (obj.get("message") or obj.get("note") or "").strip(),
            first_cell,
            count,
            obj["metadata"].get("name", ""),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        about = obj.get("involvedObject") or obj.get("regarding") or {}
        source = obj.get("source") or {}
        prefix = "regarding" if self.strict else "involvedObject"
        out = super().fields(obj)
        keys = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        for key in keys:
            out[f"{prefix}.{key}"] = about.get(key, "")
        reporter = obj.get("reportingComponent") or obj.get("reportingController") or ""
        out["reason"] = obj.get("reason", "")
        out["type"] = obj.get("type", "")
        if self.strict:
            out["reportingController"] = reporter
        else:
            out["reportingComponent"] = reporter
            out["source"] = source.get("component", "") or reporter
        return out


def _check_legacy(event: Object, reporter: str) -> list[FieldError]:
    errors: list[FieldError] = []
    namespace = event["metadata"].get("namespace", "")
    about = (event.get("involvedObject") or {}).get("namespace", "")
    at = "involvedObject.namespace"
    detail = "does not match event.namespace"
    if not event.get("eventTime"):
        if not about:
            if namespace not in ("", "default"):
                errors.append(invalid(at, about, detail))
        elif namespace != about:
            errors.append(invalid(at, about, detail))
    else:
        if not about and namespace not in ("default", "kube-system"):
            errors.append(invalid(at, about, detail))
        errors += _check_modern(event, reporter)
    return errors + [invalid("namespace", namespace, m) for m in dns1123_subdomain(namespace)]


def _check_modern(event: Object, reporter: str) -> list[FieldError]:
    """What an event with an eventTime must say."""
    errors: list[FieldError] = []
    name = event.get("reportingComponent", "")
    if not name:
        errors.append(required(reporter))
    errors += [invalid(reporter, name, message) for message in qualified_name(name)]
    for key, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128)):
        value = event.get(key, "")
        if not value:
            errors.append(required(key))
        if len(value) > limit:
            errors.append(invalid(key, "", f"can have at most {limit} characters"))
    if len(event.get("message", "")) > 1024:
        errors.append(invalid("message", "", "can have at most 1024 characters"))
    return errors


def _check_series(event: Object) -> list[FieldError]:
    series = event.get("series")
    if series is None:
        return []
    errors: list[FieldError] = []
    if series.get("count", 0) < 2:
        errors.append(invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(required("series.lastObservedTime"))
    return errors


def _source_text(event: Object) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    reporter = event.get("reportingComponent") or event.get("reportingController") or ""
    component = source.get("component") or reporter
    instance = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


_COLUMNS = (
    Column("Last Seen", "string", "", "When it happened last."),
    Column("Type", "string", "", "Normal or Warning."),
    Column("Reason", "string", "", "Why it happened, in one word."),
    Column("Object", "string", "", "What it is about."),
    Column("Subobject", "string", "", "Which part of the object it is about.", 1),
    Column("Source", "string", "", "Who reported it.", 1),
    Column("Message", "string", "", "What happened."),
    Column("First Seen", "string", "", "When it happened first.", 1),
    Column("Count", "string", "", "How often it happened.", 1),
    Column("Name", "string", "name", "Name of the event.", 1),
)
