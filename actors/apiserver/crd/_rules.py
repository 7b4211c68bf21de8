"""`x-kubernetes-validations`: rules in CEL at any place of a schema.

Owns which rules run (transition rules only with an old value), their budget, their messages, reasons and
field paths. Runs after all other validation, and not at all when that found values of wrong types.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from actors.apiserver.crd._cel_values import to_cel
from actors.apiserver.crd._node import Node
from actors.apiserver.crd._places import Place, Rule, place_of
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import duplicate, forbidden, invalid, required
from protocol.cel import NONE, RUNTIME_BUDGET, CelError, Optional

__all__ = ["BLOCKING", "Verdict", "blocked", "check_rules"]

Errors = list[FieldError]
BLOCKING = ("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
_MAX_MESSAGE_BYTES = 5 * 1024
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


def blocked(errors: Errors) -> FieldError | None:
    """The note that rules were skipped, when an error makes them meaningless."""
    if not any(error.type in BLOCKING for error in errors):
        return None
    return FieldError(
        "FieldValueInvalid",
        "<nil>",
        "Invalid value: null: some validation rules were not checked because the object was invalid; correct the"
        " existing errors to complete validation",
    )


class Verdict(NamedTuple):
    """What the rules say of a value: errors, and warnings about what was wrong before and is unchanged."""

    errors: Errors
    warnings: list[str]
    cost: int


def check_rules(node: Node, value: Any, old: Any, root: bool = False, budget: int = RUNTIME_BUDGET) -> Verdict:
    """Run all rules at and below a place. `old`: the value before; None on create. `root`: it is a resource."""
    place = place_of(node, root)
    if place is None:
        return Verdict([], [], 0)
    run = _Run(budget)
    run.check(place, value, old, "", _Before(old, None) if old is not None else None)
    return Verdict(run.errors, run.warnings, budget - max(run.budget, 0))


class _Before(NamedTuple):
    """The old value at a place, if there is one that corresponds; otherwise that of the nearest place
    above that has."""

    value: Any
    above: tuple[Any, Any] | None
    """Value and old value of the nearest correlated place above, when this place has none."""


class _Over(Exception):
    """No further rule may run."""


class _Run:
    """One validation, with what is left of its budget."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.errors: Errors = []
        self.warnings: list[str] = []

    def check(self, place: Place, value: Any, old: Any, path: str, before: _Before | None) -> None:
        """All rules at a place and below it."""
        try:
            self._check(place, value, old, path, before)
        except _Over:
            self.budget = -1

    def _check(self, place: Place, value: Any, old: Any, path: str, before: _Before | None) -> None:
        if value is None:
            return
        if place.rules:
            self._rules(place, value, old, path, before)
        for part in place.all_of:
            self._check(part, value, old, path, _uncorrelated(before))
        if isinstance(value, list) and place.items is not None:
            counterpart = _counterparts(place.node, old)
            for i, item in enumerate(value):
                was = counterpart(item)
                self._check(place.items, item, was, f"{path}[{i}]", _below(before, was, value, old))
        elif isinstance(value, dict):
            was_map = old if isinstance(old, dict) else {}
            for key in sorted(value) if place.properties or place.additional is not None else ():
                sub = place.properties.get(key)
                where = f"{path}.{key}" if path else key
                if sub is None and key not in place.node.properties:
                    sub, where = place.additional, f"{path}[{key}]"
                if sub is not None:
                    was = was_map.get(key)
                    self._check(sub, value[key], was, where, _below(before, was, value, old))

    def _rules(self, place: Place, value: Any, old: Any, path: str, before: _Before | None) -> None:
        where = path or "<nil>"
        node = place.node
        if self.budget <= 0:
            self.errors.append(invalid(where, node.type, _OUT_OF_BUDGET))
            raise _Over
        self_value = to_cel(node, value)
        old_value = to_cel(node, old) if old is not None else None
        for rule in place.rules:
            program = rule.program
            if program is None:
                if rule.error:
                    self.errors.append(invalid(where, node.type, f"rule compile error: {rule.error}"))
                continue
            if rule.uses_old and old is None and not rule.optional_old:
                continue
            was: Any = old_value
            if rule.optional_old:
                was = NONE if old is None else Optional(True, old_value)
            variables = {"self": self_value, "oldSelf": was}
            if not self._passes(rule, variables, where, node.type):
                self._refuse(rule, variables, path, value, node, not rule.uses_old and _unchanged(value, old, before))

    def _passes(self, rule: Rule, variables: dict[str, Any], where: str, word: str) -> bool:
        """Whether a rule holds; an error that is not the object's to answer for counts as holding."""
        assert rule.program is not None
        try:
            passed, cost = rule.program.costed(variables)
        except CelError as error:
            self._spend(error.cost, where, word)
            if error.cancelled:
                words = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {rule.shown}"
                self.errors.append(invalid(where, word, words))
                raise _Over from None
            if str(error).startswith("no such overload"):
                words = (
                    f"'{error}': call arguments did not match a supported operator, function or macro signature for"
                    f" rule: {rule.shown}"
                )
            else:
                words = f"{error} evaluating rule: {rule.shown}"
            self.errors.append(invalid(where, word, words))
            return True
        self._spend(cost, where, word)
        return passed is True

    def _spend(self, cost: int, where: str, word: str) -> None:
        if cost > self.budget:
            self.errors.append(invalid(where, word, _OUT_OF_BUDGET))
            raise _Over
        self.budget -= cost

    def _refuse(
        self, rule: Rule, variables: dict[str, Any], path: str, value: Any, node: Node, unchanged: bool
    ) -> None:
        where = f"{path}.{rule.field_path}" if path and rule.field_path else path or rule.field_path
        where = where or "<nil>"
        try:
            message = self._message(rule, variables) or rule.message or f"failed rule: {rule.shown}"
        except _Over as over:
            self._add(invalid(where, node.type, str(over)), unchanged)
            raise
        self._add(_error(rule.reason, where, value, message), unchanged)

    def _add(self, error: FieldError, unchanged: bool) -> None:
        if unchanged:
            self.warnings.append(f"{error.field}: {error.message}")
        else:
            self.errors.append(error)

    def _message(self, rule: Rule, variables: dict[str, Any]) -> str:
        """What `messageExpression` makes; empty when it makes nothing that can be shown."""
        if rule.message_program is None:
            return ""
        try:
            text, cost = rule.message_program.costed(variables)
        except CelError as error:
            if error.cost > self.budget:
                raise _Over(
                    "messageExpression evaluation failed due to running out of cost budget, no further validation rules"
                    " will be run"
                ) from None
            if error.cancelled:
                words = "no further validation rules will be run due to call cost exceeds limit for messageExpression: "
                raise _Over(words + _quoted(rule.message_source)) from None
            self.budget -= error.cost
            return ""
        if cost > self.budget:
            raise _Over(
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules will"
                " be run"
            )
        self.budget -= cost
        text = text.strip() if isinstance(text, str) else ""
        return "" if "\n" in text or len(text.encode()) > _MAX_MESSAGE_BYTES else text


def _quoted(text: str) -> str:
    from actors.apiserver.patch import go_quote

    return go_quote(text)


def _error(reason: str, where: str, value: Any, message: str) -> FieldError:
    if reason == "FieldValueForbidden":
        return forbidden(where, message)
    if reason == "FieldValueRequired":
        return required(where, message)
    if isinstance(value, (dict, list)):
        # Objects and lists are not shown.
        if reason == "FieldValueDuplicate":
            return FieldError(reason, where, "Duplicate value")
        return FieldError("FieldValueInvalid", where, f"Invalid value: {message}")
    return duplicate(where, value) if reason == "FieldValueDuplicate" else invalid(where, value, message)


# --- what was there before --------------------------------------------------------------------


def _counterparts(node: Node, old: Any) -> Callable[[Any], Any]:
    """Finds an item's old value: by its keys in map lists, nowhere in others."""
    if node.list_type != "map" or not isinstance(old, list):
        return lambda item: None

    def key(item: Any) -> tuple[str, ...]:
        return tuple(repr(item.get(name)) for name in node.map_keys) if isinstance(item, dict) else ()

    known = {key(item): item for item in old}
    return lambda item: known.get(key(item))


def _below(before: _Before | None, was: Any, value: Any, old: Any) -> _Before | None:
    if before is None:
        return None
    return _Before(was, before.above if old is None else (value, old))


def _uncorrelated(before: _Before | None) -> _Before | None:
    """Parts of `allOf` have only what is above them."""
    return None if before is None else _Before(None, before.above)


def _unchanged(value: Any, old: Any, before: _Before | None) -> bool:
    """Whether what a rule is about is as it was: then the rule warns only."""
    if before is None:
        return False
    if before.value is not None:
        return bool(value == before.value)
    return before.above is not None and bool(before.above[0] == before.above[1])
