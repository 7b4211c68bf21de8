"""A stage in the manner of KWOK: when an object is in it, how long it lasts, and what comes then.

Owns the reading of `kwok.x-k8s.io/v1alpha1` Stage objects and the choice among them. Pure.

https://kwok.sigs.k8s.io/docs/user/stages-configuration/
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from actors.kubelet._duration import duration_s
from actors.kubelet._status import parse_time
from actors.kubelet.stages._cel import CelQuery
from actors.kubelet.stages._gotemplate import Template, TemplateError
from actors.kubelet.stages._query import Query, QueryError
from protocol.cel import CelError

__all__ = ["Stage", "StageError", "choose", "duration_s", "load"]

Object = dict[str, Any]


class StageError(ValueError):
    """What is no stage, or one with something that is not supported."""


class _Requirement:
    """One of `matchExpressions`."""

    def __init__(self, spec: Object) -> None:
        self.query: Query | CelQuery
        self.operator: str | None
        self.values: set[str]
        if spec.get("cel"):
            self.query, self.operator, self.values = CelQuery(spec["cel"].get("expression", "")), "In", {"true"}
            return
        spec = spec.get("jq") or spec
        self.query = Query(spec.get("key") or spec.get("expression") or "")
        self.operator = spec.get("operator")
        self.values = {str(v) for v in spec.get("values") or ()}
        if self.operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            raise StageError(f"operator {self.operator!r} is not supported")

    def holds(self, obj: Object) -> bool:
        found = self.query.values(obj)
        if self.operator in ("Exists", "DoesNotExist"):
            return bool(found) == (self.operator == "Exists")
        among = any(_plain(v) in self.values for v in found)
        return among == (self.operator == "In")


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Stage:
    """One stage. Raises `StageError`."""

    def __init__(self, obj: Object, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.name = obj["metadata"]["name"]
        spec = obj.get("spec") or {}
        ref = spec.get("resourceRef") or {}
        self.api_version, self.kind = ref.get("apiGroup") or "v1", ref.get("kind", "")
        try:
            self._read(spec, functions)
        except (QueryError, TemplateError, StageError, CelError) as error:
            raise StageError(f"stage {self.name}: {error}") from None
        if not self.kind:
            raise StageError(f"stage {self.name}: spec.resourceRef.kind is missing")

    def _read(self, spec: Object, functions: Mapping[str, Callable[..., Any]]) -> None:
        selector = spec.get("selector") or {}
        self.labels = selector.get("matchLabels") or {}
        self.annotations = selector.get("matchAnnotations") or {}
        self.requirements = [_Requirement(one) for one in selector.get("matchExpressions") or ()]
        self._weight = int(spec.get("weight") or 0)
        self._weight_from = _expression(spec.get("weightFrom"))
        delay = spec.get("delay") or {}
        self._delay_ms, self._jitter_ms = delay.get("durationMilliseconds"), delay.get("jitterDurationMilliseconds")
        self._delay_from, self._jitter_from = (
            _expression(delay.get("durationFrom")),
            _expression(delay.get("jitterDurationFrom")),
        )
        self.steps = [_step(one, functions) for one in _steps(spec)]
        self.immediate = bool(spec.get("immediateNextStage"))

    def matches(self, obj: Object) -> bool:
        """Whether an object is in this stage."""
        meta = obj["metadata"]
        labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
        return (
            all(labels.get(k) == v for k, v in self.labels.items())
            and all(annotations.get(k) == v for k, v in self.annotations.items())
            and all(r.holds(obj) for r in self.requirements)
        )

    def weight(self, obj: Object) -> int:
        """How probable it is beside others that match as well."""
        told = _first(self._weight_from, obj)
        return int(told) if isinstance(told, int) or (isinstance(told, str) and told.isdigit()) else self._weight

    def delay_s(self, obj: Object, now: float, chance: random.Random) -> float:
        """How long the object stays in it from now on, in seconds."""
        least = _span(self._delay_from, obj, now)
        if least is None:
            least = (self._delay_ms or 0) / 1000
        most = _span(self._jitter_from, obj, now)
        if most is None:
            most = self._jitter_ms / 1000 if self._jitter_ms is not None else least
        return max(0.0, most if most <= least else least + chance.random() * (most - least))


def _expression(spec: Object | None) -> Query | CelQuery | None:
    if not spec:
        return None
    if spec.get("cel"):
        return CelQuery(spec["cel"].get("expression", ""))
    return Query((spec.get("jq") or {}).get("expression") or spec.get("expressionFrom") or "")


def _first(query: Query | CelQuery | None, obj: Object) -> Any:
    found = query.values(obj) if query is not None else ()
    return found[0] if found else None


def _span(query: Query | CelQuery | None, obj: Object, now: float) -> float | None:
    """A duration, or the time until a moment."""
    told = _first(query, obj)
    if not isinstance(told, str):
        return None
    span = duration_s(told)
    if span is None and parse_time(told):
        span = parse_time(told) - now
    return span


def _steps(spec: Object) -> list[Object]:
    """`steps`, or what `next` says in the order in which KWOK does it."""
    if spec.get("steps"):
        return list(spec["steps"])
    following = spec.get("next") or {}
    steps: list[Object] = []
    if following.get("event"):
        steps.append({"event": following["event"]})
    if following.get("finalizers"):
        steps.append({"finalizers": following["finalizers"]})
    if following.get("delete"):
        return [*steps, {"delete": True}]
    if following.get("statusTemplate"):
        subresource = following.get("statusSubresource", "status")
        patch = {"root": "status", "subresource": subresource, "template": following["statusTemplate"]}
        steps.append({"patch": {**patch, "impersonation": following.get("statusPatchAs")}})
    return [*steps, *({"patch": patch} for patch in following.get("patches") or ())]


def _step(spec: Object, functions: Mapping[str, Callable[..., Any]]) -> tuple[str, Object]:
    for kind in ("event", "finalizers", "delete", "patch", "apply"):
        if spec.get(kind):
            what = spec[kind]
            if kind in ("patch", "apply"):
                what = {**what, "template": Template(what.get("template", ""), functions)}
            return kind, what
    raise StageError(f"a step of {', '.join(spec) or 'nothing'} is not supported")


def choose(stages: Iterable[Stage], obj: Object, chance: random.Random) -> Stage | None:
    """The stage that an object is in; among several by weight."""
    found = [stage for stage in stages if stage.matches(obj)]
    if len(found) < 2:
        return found[0] if found else None
    weights = [max(0, stage.weight(obj)) for stage in found]
    if not sum(weights):
        return found[chance.randrange(len(found))]
    return chance.choices(found, weights)[0]


def load(objects: Iterable[Object], functions: Mapping[str, Callable[..., Any]]) -> list[Stage]:
    """The stages among objects. Raises `StageError`."""
    return [
        Stage(obj, functions)
        for obj in objects
        if obj.get("kind") == "Stage" and str(obj.get("apiVersion", "")).startswith("kwok.x-k8s.io/")
    ]
