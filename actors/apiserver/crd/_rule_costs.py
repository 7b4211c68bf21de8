"""The budget of a definition's rules: each alone, and all of a schema together.

Owns the limits, how often a rule may run in one object, and the errors. What one run costs is
`protocol.cel`'s to say.

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation: cel_validation.go, validation.go
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import forbidden
from protocol.cel import MAX_COST, Checker

__all__ = ["RuleCosts", "below"]

Schema = dict[str, Any]
_PER_EXPRESSION, _PER_SCHEMA = 10_000_000, 100_000_000
_NAMED = 4
"""So many of the dearest rules are named when all together cost too much."""
_HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings"
    " are declared)"
)


def below(schema: Schema, times: int | None) -> int | None:
    """How often what is below a place may occur, when the place itself occurs `times`; None: no bound."""
    if times is None:
        return None
    word = schema.get("type")
    if word == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    elif word == "array":
        most = schema.get("maxItems")
    else:
        return times
    return None if most is None else min(times * max(0, int(most)), MAX_COST)


def _exceeds(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{what} exceeds budget by factor of {shown} {_HINT}"


class RuleCosts:
    """Adds up one schema's rules. A schema that was there before (`known`) keeps its dear rules."""

    def __init__(self, known: bool) -> None:
        self.known = known
        self.total = 0
        self._dearest: list[tuple[int, str]] = []

    def rule(self, checker: Checker, cost: int, times: int | None, path: str) -> list[FieldError]:
        """A rule that runs `times` per object at most, or as often as a request has room for."""
        if times is None:
            times = checker.most_occurrences
        return self._seen("estimated rule cost", min(cost * times, MAX_COST), path)

    def message(self, cost: int, path: str) -> list[FieldError]:
        """An expression that makes a rule's message."""
        return self._seen("estimated messageExpression cost", cost, path)

    def _seen(self, what: str, cost: int, path: str) -> list[FieldError]:
        self.total = min(self.total + cost, MAX_COST)
        if cost >= _PER_SCHEMA // 100:
            self._dearest = sorted([*self._dearest, (cost, path)], key=lambda one: -one[0])[:_NAMED]
        if self.known or cost <= _PER_EXPRESSION:
            return []
        return [forbidden(path, _exceeds(what, cost, _PER_EXPRESSION))]

    def all(self, path: str) -> list[FieldError]:
        """What is wrong with all rules together. `path`: the schema's."""
        if self.total <= _PER_SCHEMA:
            return []
        words = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [
            *(forbidden(dear, words) for _, dear in self._dearest),
            forbidden(path, _exceeds(what, self.total, _PER_SCHEMA)),
        ]
