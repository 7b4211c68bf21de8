"""Static checking of expressions against a structural schema.

The schema becomes message types of a descriptor pool, which is how the engine knows fields; an
expression is compiled against them once, only for what the checker says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.apiserver.cel._ast import read
from actors.apiserver.cel._cost import cost
from actors.apiserver.cel._engine import CelError, tidy_error
from actors.apiserver.cel._formats import plain_optionals
from actors.apiserver.cel._identifiers import escape
from actors.apiserver.cel._sizes import MAX_REQUEST_BYTES, Bounds, bounds_of

__all__ = ["Checker", "check_types"]

_INT64, _DOUBLE, _BOOL, _STRING, _MESSAGE, _BYTES = 3, 1, 8, 9, 11, 12
_OPTIONAL, _REPEATED = 1, 3
_VALUE = ".google.protobuf.Value"


def _free(schema: Mapping[str, Any]) -> bool:
    """Whether an object may hold what no property declares."""
    return bool(not schema.get("properties") and schema.get("x-kubernetes-preserve-unknown-fields"))


class _Builder:
    """Collects the message types of one schema."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2

        self.file = descriptor_pb2.FileDescriptorProto(name="schema.proto", package="schema", syntax="proto2")
        self.modules = (struct_pb2, timestamp_pb2, duration_pb2)
        for module in self.modules:
            self.file.dependency.append(module.DESCRIPTOR.name)
        self.count = 0

    def message(self, schema: Mapping[str, Any], root: bool) -> str:
        """Declare an object type; its full name."""
        self.count += 1
        name = f"T{self.count}"
        declared = self.file.message_type.add(name=name)
        declared.options.deprecated_legacy_json_field_conflicts = True  # `a_b` may stand beside `aB`
        properties = dict(schema.get("properties") or {})
        if root or schema.get("x-kubernetes-embedded-resource"):
            properties.setdefault("apiVersion", {"type": "string"})
            properties.setdefault("kind", {"type": "string"})
            properties["metadata"] = {
                "type": "object",
                "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
            }
        number = 0
        for field, sub in properties.items():
            escaped = escape(field)
            if escaped:
                number += 1
                self.field(declared, escaped, number, sub)
        return f"schema.{name}"

    def field(self, message: Any, name: str, number: int, schema: Mapping[str, Any]) -> None:
        """Declare one field of a message."""
        label = _OPTIONAL
        if schema.get("type") == "array":
            label, schema = _REPEATED, schema.get("items") or {}
        elif schema.get("type") == "object" and not schema.get("properties") and schema.get("additionalProperties"):
            self.map(message, name, number, schema["additionalProperties"])
            return
        kind, type_name = self.type_of(schema)
        made = message.field.add(name=name, number=number, label=label, type=kind)
        if type_name:
            made.type_name = f".{type_name}"

    def map(self, message: Any, name: str, number: int, value: Any) -> None:
        """Declare a map from strings."""
        entry_name = "".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Entry"
        if any(nested.name == entry_name for nested in message.nested_type):  # `a_b` beside `aB`
            message.field.add(name=name, number=number, label=_OPTIONAL, type=_MESSAGE, type_name=_VALUE)
            return
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_OPTIONAL, type=_STRING)
        kind, type_name = self.type_of(value if isinstance(value, dict) else {})
        made = entry.field.add(name="value", number=2, label=_OPTIONAL, type=kind)
        if type_name:
            made.type_name = f".{type_name}"
        field = message.field.add(name=name, number=number, label=_REPEATED, type=_MESSAGE)
        field.type_name = f".schema.{message.name}.{entry_name}"

    def type_of(self, schema: Mapping[str, Any]) -> tuple[int, str]:
        """The field type of a schema that is no list and no map."""
        word, form = schema.get("type"), schema.get("format")
        if schema.get("x-kubernetes-int-or-string") or word is None:
            return _MESSAGE, "google.protobuf.Value"
        if word == "integer":
            return _INT64, ""
        if word == "number":
            return _DOUBLE, ""
        if word == "boolean":
            return _BOOL, ""
        if word == "string":
            if form in ("date", "date-time"):
                return _MESSAGE, "google.protobuf.Timestamp"
            if form == "duration":
                return _MESSAGE, "google.protobuf.Duration"
            return (_BYTES, "") if form == "byte" else (_STRING, "")
        if word == "object" and not _free(schema) and not schema.get("additionalProperties"):
            return _MESSAGE, self.message(schema, False)
        return _MESSAGE, "google.protobuf.Value"


class Checker:
    """Checks expressions about values of one schema."""

    def __init__(self, schema: Mapping[str, Any], root: bool = False) -> None:
        from cel_expr_python import cel
        from google.protobuf import descriptor_pool

        from actors.apiserver.cel._functions import extensions

        builder = _Builder()
        holder = builder.file.message_type.add(name="Holder")
        self_type = self._variable(cel, builder, holder, schema, root)
        pool = descriptor_pool.DescriptorPool()
        for module in builder.modules:
            pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        pool.AddSerializedFile(builder.file.SerializeToString())
        variables = {"self": self_type, "oldSelf": self_type}
        self._environment = cel.NewEnv(pool, variables=variables, extensions=extensions())
        self.bounds = bounds_of(schema, root)
        self._source: str | None = None
        self._expression: Any = None

    @staticmethod
    def _variable(cel: Any, builder: _Builder, holder: Any, schema: Mapping[str, Any], root: bool) -> Any:
        word = schema.get("type")
        if word == "object" and isinstance(schema.get("additionalProperties"), dict):
            return cel.Type.Map(cel.Type.STRING, Checker._element(cel, builder, schema["additionalProperties"]))
        if word == "object" and (root or not _free(schema)):
            return cel.Type(builder.message(schema, root))
        if word == "array":
            return cel.Type.List(Checker._element(cel, builder, schema.get("items") or {}))
        return Checker._element(cel, builder, schema)

    @staticmethod
    def _element(cel: Any, builder: _Builder, schema: Mapping[str, Any]) -> Any:
        kind, name = builder.type_of(schema)
        if kind == _MESSAGE:
            well_known = {
                "google.protobuf.Value": cel.Type.DYN,
                "google.protobuf.Timestamp": cel.Type.TIMESTAMP,
                "google.protobuf.Duration": cel.Type.DURATION,
            }
            return well_known.get(name) or cel.Type(name)
        return {_INT64: cel.Type.INT, _DOUBLE: cel.Type.DOUBLE, _BOOL: cel.Type.BOOL, _BYTES: cel.Type.BYTES}.get(
            kind, cel.Type.STRING
        )

    def result_type(self, source: str) -> str:
        """The static type of an expression's value (`bool`, ...). Raises `CelError`."""
        return str(self._compiled(source).return_type().name()).lower()

    def cost(self, source: str) -> int:
        """What an expression costs at most, for the largest values that the schema allows. Raises `CelError`."""
        return cost(read(self._compiled(source).serialize()), self._place)

    @property
    def most_occurrences(self) -> int:
        """How many such values a request has room for."""
        return MAX_REQUEST_BYTES // ((self.bounds.least_bytes if self.bounds is not None else 0) + 1)

    def _compiled(self, source: str) -> Any:
        if source != self._source:
            try:
                self._expression = self._environment.compile(plain_optionals(source))
            except Exception as error:
                raise CelError(tidy_error(str(error))) from None
            self._source = source
        return self._expression

    def _place(self, path: list[str]) -> Bounds | None:
        return self.bounds.at(path[1:]) if self.bounds is not None else None


def check_types(schema: Mapping[str, Any], root: bool = False) -> Checker:
    """A checker for the values of a structural schema."""
    return Checker(schema, root)
