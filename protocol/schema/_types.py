"""The typed view of a schema: `Type` and `Field`.

Owns how one OpenAPI definition becomes types. It must never read files (see `_load`) and never
look at an object's values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ANY", "Field", "Type"]

SCALARS = frozenset(
    {"string", "integer", "number", "boolean", "quantity", "int-or-string", "time", "micro-time", "bytes"}
)


class Type:
    """One type: an object with fields, a map, a list, a scalar, or anything at all.

    `kind`: `object`, `map`, `list`, `any`, or a scalar: `string`, `integer`, `number`, `boolean`,
    `quantity`, `int-or-string`, `time`, `micro-time`, `bytes`.
    `go`: the name of the Go type, as Go's JSON errors print it (`[]v1.Container`).
    `list_type`: `atomic`, `set` or `map` (then `map_keys` are the keys); `atomic`: owned as a whole.
    `elem`: type of the elements of a list, the values of a map, or of an object's further keys.
    `choice`: of `any`, the type that its objects are decoded as (with the `format` `or-array` also its
    lists' elements; `or-bool` takes a boolean, `or-strings` a list of strings); for all else it is untyped.
    `preserve`: unknown fields are kept. `embedded`: the object has apiVersion, kind and metadata.
    """

    __slots__ = (
        "_build",
        "_fields",
        "atomic",
        "cache",
        "choice",
        "elem",
        "embedded",
        "format",
        "go",
        "key_defaults",
        "kind",
        "list_type",
        "map_keys",
        "name",
        "nullable",
        "preserve",
        "source",
    )

    def __init__(
        self,
        kind: str,
        *,
        name: str = "",
        go: str = "",
        elem: Type | None = None,
        choice: Type | None = None,
        format: str = "",
        list_type: str = "atomic",
        map_keys: tuple[str, ...] = (),
        atomic: bool = False,
        preserve: bool = False,
        embedded: bool = False,
        nullable: bool = False,
        fields: dict[str, Field] | None = None,
        build: Callable[[], dict[str, Field]] | None = None,
        source: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.go = go
        self.elem = elem
        self.choice = choice
        self.format = format
        self.list_type = list_type
        self.map_keys = map_keys
        self.key_defaults: dict[str, Any] = {}
        self.atomic = atomic
        self.preserve = preserve
        self.embedded = embedded
        self.nullable = nullable
        self._fields = fields
        self._build = build
        self.source = source if source is not None else {}
        self.cache: dict[str, Any] = {}

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of an object by their JSON names; empty for other types."""
        found = self._fields
        if found is None:
            found = self._fields = self._build() if self._build is not None else {}
        return found

    @property
    def scalar(self) -> bool:
        """Whether values are leaves."""
        return self.kind in SCALARS

    def field(self, *path: str) -> Field:
        """The field at a path of names, stepping through list elements.

        Raises `KeyError` for a name that is not declared.
        """
        type_: Type = self
        found: Field | None = None
        for word in path:
            while type_.kind in ("list", "map") and type_.elem is not None:
                type_ = type_.elem
            found = type_.fields[word]
            type_ = found.type
        if found is None:
            raise KeyError("an empty path names no field")
        return found

    def __repr__(self) -> str:
        return f"<Type {self.kind} {self.name or self.go}>"


ANY = Type("any", go="interface {}")


class Field:
    """A field of an object type.

    `omit`: an empty value is not written. `always`: a missing value is written as `empty`
    (a copy is due when it is a dict or list). `strategies`, `merge_key`: strategic merge patch.
    """

    __slots__ = ("always", "empty", "merge_key", "name", "omit", "pointer", "required", "source", "strategies", "type")

    def __init__(
        self,
        name: str,
        type: Type,
        *,
        required: bool = False,
        pointer: bool = False,
        omit: bool = True,
        always: bool = False,
        strategies: tuple[str, ...] = (),
        merge_key: str = "",
        source: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.required = required
        self.pointer = pointer
        self.omit = omit
        self.always = always
        self.strategies = strategies
        self.merge_key = merge_key
        self.source = source if source is not None else {}

    def __repr__(self) -> str:
        return f"<Field {self.name} {self.type!r}>"
