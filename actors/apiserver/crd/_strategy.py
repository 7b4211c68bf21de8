"""How custom objects behave: defaults, preparation, validation, columns, selectable fields.

One strategy per served version. Source: k8s.io/apiextensions-apiserver/pkg/registry/customresource.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from actors.apiserver.crd import _shape
from actors.apiserver.crd._embedded import check_embedded
from actors.apiserver.crd._paths import PathProblem, find, parse
from actors.apiserver.crd._rules import blocked, check_rules
from actors.apiserver.crd._values import check_unique, check_value
from actors.apiserver.crd._was import Was
from actors.apiserver.strategies import Column, Context, FieldError, Strategy
from actors.apiserver.strategies._errors import invalid
from actors.apiserver.strategies._meta import validate_meta, validate_meta_update
from protocol.names import dns_subdomain_name

if TYPE_CHECKING:
    from actors.apiserver.crd._custom import Custom

__all__ = ["CustomStrategy"]

Object = dict[str, Any]
Errors = list[FieldError]
MAX_INT32 = 2**31 - 1


class CustomStrategy(Strategy):
    """The strategy of one version of a custom resource."""

    allow_unconditional_update: ClassVar[bool] = False

    def __init__(self, custom: Custom) -> None:
        super().__init__(custom.kind)
        self.custom = custom
        self.node = custom.node
        self._noted: tuple[Object | None, list[str]] = (None, [])
        """The object that was judged last, and what is still wrong with it but was so before."""

    def default(self, obj: Object) -> None:
        """The schema's defaults; nulls that have no place go."""
        _shape.default(obj, self.node)
        _shape.drop_nulls(obj, self.node)

    def prepare_for_create(self, obj: Object, ctx: Context) -> None:
        """A status subresource's status is not the creator's to set."""
        obj["metadata"]["generation"] = 1
        if self.custom.has_status:
            obj.pop("status", None)

    def prepare_for_update(self, new: Object, old: Object, ctx: Context) -> None:
        """Keep the status; any change outside metadata counts."""
        self._keep_generation(new, old)
        if self.custom.has_status:
            self.keep_status(new, old)
        if self._content(new) != self._content(old):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        self._keep_metadata(new, old)

    @staticmethod
    def _content(obj: Object) -> Object:
        return {key: value for key, value in obj.items() if key not in ("metadata", "apiVersion", "kind")}

    def prepare_for_status_update(self, new: Object, old: Object, ctx: Context) -> None:
        """Only the status (and who owns it) changes."""
        status = new.get("status")
        managers = new["metadata"].get("managedFields")
        version = new["metadata"].get("resourceVersion")
        for key in [key for key in new if key not in ("apiVersion", "kind")]:
            del new[key]
        for key, value in old.items():
            if key not in ("apiVersion", "kind", "status"):
                new[key] = dict(value) if key == "metadata" else value
        if status is not None:
            new["status"] = status
        new["metadata"].pop("managedFields", None)
        if managers:
            new["metadata"]["managedFields"] = managers
        if version is not None:
            new["metadata"]["resourceVersion"] = version

    def prepare_for_subresource(self, name: str, new: Object, old: Object, ctx: Context) -> None:
        """Scale changes the main resource."""
        self.prepare_for_update(new, old, ctx)

    # --- validation -----------------------------------------------------------------------------

    def validate(self, obj: Object) -> Errors:
        """All errors of a new object."""
        errors = validate_meta(obj["metadata"], self.kind.namespaced, dns_subdomain_name)
        return self._judge(errors, obj, None)

    def validate_update(self, new: Object, old: Object) -> Errors:
        """All errors of a change; what was wrong already and did not change is let be."""
        return self._judge(validate_meta_update(new["metadata"], old["metadata"]), new, old)

    def validate_status_update(self, new: Object, old: Object) -> Errors:
        """The same rules."""
        return self.validate_update(new, old)

    def validate_subresource(self, name: str, new: Object, old: Object) -> Errors:
        """The same rules."""
        return self.validate_update(new, old)

    def _judge(self, errors: Errors, new: Object, old: Object | None) -> Errors:
        was = Was(new, old, self.node.schema) if old is not None else None
        found = check_value(self.node.schema, new, "", was)
        errors = errors + found + self._scale_errors(new)
        if self.node.any_embedded:
            errors = errors + check_embedded(new, self.node)
        unique = check_unique(self.node, new, "")
        if unique and (old is None or not check_unique(self.node, old, "")):
            errors += unique
        if not self.node.any_rules:
            return errors
        note = blocked(errors)
        if note is not None:
            return [*errors, note]
        verdict = check_rules(self.node, new, old, True)
        self._noted = (new, verdict.warnings)
        return errors + verdict.errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        """Rules that an object breaks as it did before: they do not refuse it."""
        judged, found = self._noted
        self._noted = (None, [])
        return found if judged is new else []

    def status_warnings(self, new: Object, old: Object | None) -> list[str]:
        """The same for a status."""
        return self.warnings(new, old)

    def _scale_errors(self, obj: Object) -> Errors:
        scale = self.custom.scale_spec
        if scale is None:
            return []
        errors: Errors = []
        for field in ("specReplicasPath", "statusReplicasPath"):
            path = scale.get(field) or ""
            for value in _first(path, obj):
                if not isinstance(value, int) or isinstance(value, bool):
                    continue
                if value < 0:
                    errors.append(invalid(path.removeprefix("."), value, "should be a non-negative integer"))
                elif value > MAX_INT32:
                    words = f"should be less than or equal to {MAX_INT32}"
                    errors.append(invalid(path.removeprefix("."), value, words))
        return errors

    # --- reading --------------------------------------------------------------------------------

    def columns(self) -> tuple[Column, ...]:
        """The name and the declared columns."""
        out = [Column("Name", "string", "name", _NAME_TEXT)]
        for column in self._shown_columns():
            out.append(
                Column(
                    column.get("name", ""),
                    column.get("type", "string"),
                    column.get("format", ""),
                    column.get("description") or f"Custom resource definition column (in JSONPath format): {column.get('jsonPath', '')}",
                    column.get("priority", 0),
                )
            )
        return tuple(out)

    def row(self, obj: Object, now: float) -> list[Any]:
        """The cells of one object."""
        cells: list[Any] = [obj["metadata"].get("name", "")]
        for column in self._shown_columns():
            cells.append(self._cell(column, obj, now))
        return cells

    def _shown_columns(self) -> Iterator[Object]:
        """Those before the first whose path cannot be read: it ends upstream's table."""
        for column in self.custom.columns:
            try:
                parse(column.get("jsonPath", ""))
            except PathProblem:
                return
            yield column

    def _cell(self, column: Object, obj: Object, now: float) -> Any:
        found = _first(column.get("jsonPath", ""), obj)
        if not found:
            return None
        kind, value = column.get("type"), found[0]
        if kind == "integer":
            return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if kind == "number":
            return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if kind == "boolean":
            return value if isinstance(value, bool) else None
        if kind == "date":
            return self._age_of(value, now)
        return "<no value>" if value is None else _text(value)

    def _age_of(self, value: Any, now: float) -> Any:
        if not isinstance(value, str):
            return None
        try:
            datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return "<invalid>"
        return self.age({"metadata": {"creationTimestamp": value}}, now)

    def fields(self, obj: Object) -> dict[str, str]:
        """Name, namespace and the selectable fields."""
        meta = obj.get("metadata") or {}
        out = {"metadata.name": meta.get("name", "")}
        if self.kind.namespaced:
            out["metadata.namespace"] = meta.get("namespace", "")
        for path in self.custom.selectable:
            found = _first(path, obj)
            out[path.removeprefix(".")] = _text(found[0]) if found and found[0] is not None else ""
        return out


_NAME_TEXT = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a"
    " client to request the generation of an appropriate name automatically. Name is primarily intended for creation"
    " idempotence and configuration definition. Cannot be updated. More info:"
    " https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)


def _first(path: str, obj: Object) -> list[Any]:
    """The first value at a path, or nothing."""
    try:
        return find(path, obj)[:1]
    except PathProblem:
        return []


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        from actors.apiserver.strategies._errors import go_json

        return go_json(value)
    return "" if value is None else str(value)
