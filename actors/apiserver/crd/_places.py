"""The places of a schema that have rules, and the rules compiled for them.

Owns the tree of places (with those that `allOf` adds) and the compilation of rules, which waits until a
rule is needed. It must never look at objects.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel: validation.go, compilation.go
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.crd._field_path import PathProblem, find_path
from actors.apiserver.crd._node import Node
from protocol.cel import CelError, Checker, Program

__all__ = ["Place", "Rule", "place_of"]

Schema = dict[str, Any]


class Rule:
    """One rule. `error` says why it does not compile; without a rule's text there is neither that nor a
    program."""

    def __init__(self, declared: Schema, checker: Checker, schema: Schema | None = None) -> None:
        self.source = str(declared.get("rule") or "")
        self.message = (declared.get("message") or "").strip()
        self.reason = declared.get("reason") or "FieldValueInvalid"
        self.field_path = _shown_path(declared.get("fieldPath") or "", schema)
        self.optional_old = bool(declared.get("optionalOldSelf"))
        self.message_source = declared.get("messageExpression") or ""
        self.program: Program | None = None
        self.message_program: Program | None = None
        self.error = self.message_error = ""
        if not self.source.strip():
            return
        try:
            program = checker.compile(self.source, self.optional_old)
        except CelError as error:
            self.error = f"compilation failed: {error}"
            return
        if program.kind != "bool":
            self.error = "cel expression must evaluate to a bool"
            return
        self.program = program
        if self.message_source:
            self._compile_message(checker)

    def _compile_message(self, checker: Checker) -> None:
        try:
            program = checker.compile(self.message_source, self.optional_old)
        except CelError as error:
            self.message_error = f"messageExpression compilation failed: {error}"
            return
        if program.kind != "string":
            self.message_error = "messageExpression must evaluate to a string"
        else:
            self.message_program = program

    @property
    def uses_old(self) -> bool:
        """Whether the rule compares with what was before."""
        return self.program is not None and "oldSelf" in self.program.used

    @property
    def shown(self) -> str:
        """The rule in an error text: its message, or itself."""
        return self.message or self.source.strip()


class Place:
    """A place of a schema with rules at it or below it."""

    __slots__ = ("_declared", "_root", "_rules", "additional", "all_of", "items", "node", "properties")

    def __init__(self, node: Node, declared: list[Schema], root: bool) -> None:
        self.node = node
        self.items: Place | None = None
        self.additional: Place | None = None
        self.properties: dict[str, Place] = {}
        self.all_of: list[Place] = []
        self._declared = declared
        self._root = root
        self._rules: list[Rule] | None = None

    @property
    def rules(self) -> list[Rule]:
        """The rules of this very place, compiled."""
        if self._rules is None:
            self._rules = []
            if self._declared:
                checker = Checker(self.node.schema, self._root)
                self._rules = [Rule(declared, checker, self.node.schema) for declared in self._declared]
        return self._rules


_UNKNOWN: Any = object()


def place_of(node: Node, root: bool = False) -> Place | None:
    """The places of a schema; None when there is no rule in it."""
    if not node.any_rules:
        return None
    found: Place | None = node.where.get("place", _UNKNOWN)
    if found is _UNKNOWN:
        found = node.where["place"] = _place(node.schema, node, root)
    return found


def _place(schema: Schema, node: Node, root: bool) -> Place | None:
    """`schema` holds the rules; `node` is the place that they are about."""
    place = Place(node, list(schema.get("x-kubernetes-validations") or ()), root)
    if isinstance(schema.get("items"), dict) and node.items is not None:
        place.items = _place(schema["items"], node.items, node.items.embedded)
    for name, sub in (schema.get("properties") or {}).items():
        below = node.properties.get(name)
        found = _place(sub, below, below.embedded) if below is not None else None
        if found is not None:
            place.properties[name] = found
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) and node.additional is not None:
        place.additional = _place(extra, node.additional, node.additional.embedded)
    for part in schema.get("allOf") or ():
        found = _place(part, node, root)
        if found is not None:
            place.all_of.append(found)
    if place.items or place.additional or place.properties or place.all_of or schema.get("x-kubernetes-validations"):
        return place
    return None


# --- field paths ------------------------------------------------------------------------------



def _shown_path(text: str, schema: Schema | None) -> str:
    """A rule's `fieldPath` as error messages show it; empty where it leads nowhere."""
    if not text or schema is None:
        return ""
    try:
        return find_path(text, schema)[0]
    except PathProblem:
        return ""
