"""`x-kubernetes-validations`: rules in CEL at any place of a schema.

Owns which rules run (transition rules only with an old value), their messages, reasons and field
paths. Runs after all other validation, and not at all when that found values of wrong types.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from actors.apiserver.cel import CelError, Program, Scope, compile_program
from actors.apiserver.cel._identifiers import escape
from actors.apiserver.crd._node import Node
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import duplicate, forbidden, invalid, required

__all__ = ["BLOCKING", "Rule", "blocked", "check_rules"]

Errors = list[FieldError]
VARIABLES = ("self", "oldSelf")
_OPTIONAL_OLD = "(oldSelf == null ? optional.none() : optional.of(oldSelf))"
BLOCKING = ("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
_OLD_SELF = re.compile(r"\boldSelf\b")


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


class Rule:
    """One compiled rule."""

    def __init__(self, declared: dict[str, Any]) -> None:
        self.source = str(declared.get("rule", ""))
        self.message = declared.get("message") or ""
        self.reason = declared.get("reason") or "FieldValueInvalid"
        self.field_path = (declared.get("fieldPath") or "").strip()
        self.optional_old = bool(declared.get("optionalOldSelf"))
        self.program: Program | None = None
        self.message_program: Program | None = None
        self.error = ""
        self.uses_old = bool(_OLD_SELF.search(self.source))
        try:
            self.program = compile_program(self._prepared(self.source), VARIABLES)
            expression = declared.get("messageExpression")
            if expression:
                self.message_program = compile_program(self._prepared(expression), VARIABLES)
        except CelError as error:
            self.error = str(error)

    @property
    def checked(self) -> str:
        """What is compiled against the schema, where `oldSelf` is never null."""
        source = self.source.strip()
        return _OLD_SELF.sub("optional.of(oldSelf)", source) if self.optional_old else source

    def _prepared(self, source: str) -> str:
        """The expression for the engine, which knows `oldSelf` as a value or null."""
        source = source.strip()
        return _OLD_SELF.sub(_OPTIONAL_OLD, source) if self.optional_old else source


def rules_of(node: Node) -> list[Rule]:
    """The compiled rules of one place."""
    found: list[Rule] | None = node.where.get("rules")
    if found is None:
        declared = [*node.rules]
        for part in node.schema.get("allOf") or ():
            declared += part.get("x-kubernetes-validations") or ()
        found = node.where["rules"] = [Rule(rule) for rule in declared]
    return found


def check_rules(node: Node, value: Any, old: Any, path: str = "") -> Errors:
    """All rules that a value breaks. `old`: the value before, None on create or without a counterpart."""
    errors: Errors = []
    if node.any_rules:
        _check(node, value, old, path, errors)
    return errors


def _check(node: Node, value: Any, old: Any, path: str, errors: Errors) -> None:
    if value is None or not node.any_rules:
        return
    rules = rules_of(node)
    if rules:
        _run(node, rules, value, old, path, errors)
    if isinstance(value, list) and node.items is not None and node.items.any_rules:
        before = _counterparts(node, old)
        for i, item in enumerate(value):
            _check(node.items, item, before(item), f"{path}[{i}]", errors)
    elif isinstance(value, dict):
        was = old if isinstance(old, dict) and node.map_type != "atomic" else {}
        for key in sorted(value):
            sub = node.properties.get(key)
            where = f"{path}.{key}" if path else key
            if sub is None:
                sub, where = node.additional, f"{path}[{key}]"
            if sub is not None and sub.any_rules:
                _check(sub, value[key], was.get(key), where, errors)


def _counterparts(node: Node, old: Any) -> Any:
    """Finds an item's old value: by its keys in map lists, nowhere in others."""
    if node.list_type != "map" or not isinstance(old, list):
        return lambda item: None

    def key(item: Any) -> tuple[str, ...]:
        return tuple(repr(item.get(name)) for name in node.map_keys) if isinstance(item, dict) else ()

    known = {key(item): item for item in old}
    return lambda item: known.get(key(item))


def _run(node: Node, rules: list[Rule], value: Any, old: Any, path: str, errors: Errors) -> None:
    where = path or "<nil>"
    # What did not change is not judged again.
    unchanged = old is not None and value == old
    prepared = to_cel(node, value)
    before = to_cel(node, old) if old is not None else None
    scope: Scope | None = None
    for rule in rules:
        if rule.error:
            errors.append(invalid(where, node.type, f"rule compile error: {rule.error}"))
            continue
        if rule.uses_old and old is None and not rule.optional_old:
            continue
        assert rule.program is not None
        if scope is None:
            scope = Scope({"self": prepared, "oldSelf": before})
        try:
            passed = rule.program.run(scope)
        except CelError as error:
            if not unchanged:
                errors.append(invalid(where, node.type, f"{error} evaluating rule: {rule.message or _one_line(rule)}"))
            continue
        if passed is not True and not unchanged:
            errors.append(_failure(rule, scope, path, value))


def _one_line(rule: Rule) -> str:
    return " ".join(rule.source.split())


def _failure(rule: Rule, scope: Scope, path: str, value: Any) -> FieldError:
    message = rule.message.strip() or f"failed rule: {_one_line(rule)}"
    if rule.message_program is not None:
        try:
            text = rule.message_program.run(scope)
            if isinstance(text, str) and text.strip() and "\n" not in text.strip():
                message = text.strip()
        except CelError:
            pass
    where = (path + rule.field_path if path else rule.field_path.removeprefix(".")) if rule.field_path else path
    where = where or "<nil>"
    if rule.reason == "FieldValueForbidden":
        return forbidden(where, message)
    if rule.reason == "FieldValueRequired":
        return required(where, message)
    if rule.reason == "FieldValueDuplicate":
        return duplicate(where, value)
    # The value is shown as nothing: only the message follows.
    return FieldError("FieldValueInvalid", where, f"Invalid value: {message}")


def to_cel(node: Node, value: Any) -> Any:
    """A value as expressions see it: times and bytes by their formats, properties by escaped names."""
    if not _differs(node):
        return value
    if isinstance(value, dict):
        out: dict[str, Any] = {}
        for key, item in value.items():
            sub = node.properties.get(key)
            if sub is not None:
                out[escape(key) or key] = to_cel(sub, item)
            else:
                out[key] = to_cel(node.additional, item) if node.additional is not None else item
        return out
    if isinstance(value, list):
        return [to_cel(node.items, item) for item in value] if node.items is not None else value
    return _scalar(node.schema.get("format"), value)


def _differs(node: Node) -> bool:
    found: bool | None = node.where.get("differs")
    if found is None:
        node.where["differs"] = False
        below = [*node.properties.values(), *(n for n in (node.items, node.additional) if n is not None)]
        found = (
            node.schema.get("format") in ("date", "date-time", "duration", "byte")
            or any(escape(name) not in ("", name) for name in node.properties)
            or any(_differs(sub) for sub in below)
        )
        node.where["differs"] = found
    return found


_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _scalar(form: str | None, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        if form == "date-time":
            return datetime.fromisoformat(value.replace("Z", "+00:00"))
        if form == "date":
            return datetime.fromisoformat(value + "T00:00:00+00:00")
        if form == "byte":
            import base64

            return base64.b64decode(value)
    except ValueError:
        return value
    if form == "duration":
        parts = _DURATION_PART.findall(value)
        if parts:
            sign = -1 if value.startswith("-") else 1
            return timedelta(seconds=sign * sum(float(number) * _SECONDS[unit] for number, unit in parts))
    return value
