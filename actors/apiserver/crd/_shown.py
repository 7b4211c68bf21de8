"""Definitions as errors print them: in the names of upstream's internal types.

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions: types.go, types_jsonschema.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ROOT_FIELDS", "SCHEMA_FIELDS", "shown_items", "shown_rule", "shown_schema", "shown_versions"]

Object = dict[str, Any]


def shown_items(value: Any) -> Any:
    """What `items` holds."""
    if isinstance(value, list):
        return {"Schema": None, "JSONSchemas": [shown_schema(item) for item in value]}
    return {"Schema": shown_schema(value), "JSONSchemas": None}


def _schema_or_bool(value: Any) -> Any:
    if isinstance(value, bool):
        return {"Allows": value, "Schema": None}
    return {"Allows": True, "Schema": shown_schema(value)}


def _schema_or_words(value: Any) -> Any:
    if isinstance(value, list):
        return {"Schema": None, "Property": value}
    return {"Schema": shown_schema(value), "Property": None}


def _list(value: Any) -> Any:
    return [shown_schema(item) for item in value]


def _map(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {key: one(value[key]) for key in sorted(value)}


def _docs(value: Any) -> Any:
    return {"Description": value.get("description", ""), "URL": value.get("url", "")}


def shown_rule(rule: Object) -> Object:
    """A validation rule."""
    return {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }


def _rules(value: Any) -> Any:
    return [shown_rule(rule) for rule in value]


def _same(value: Any) -> Any:
    return value


SCHEMA_FIELDS: tuple[tuple[str, str, Any, Callable[[Any], Any]], ...] = (
    ("id", "ID", "", _same),
    ("$schema", "Schema", "", _same),
    ("$ref", "Ref", None, _same),
    ("description", "Description", "", _same),
    ("type", "Type", "", _same),
    ("nullable", "Nullable", False, _same),
    ("format", "Format", "", _same),
    ("title", "Title", "", _same),
    ("default", "Default", None, _same),
    ("maximum", "Maximum", None, _same),
    ("exclusiveMaximum", "ExclusiveMaximum", False, _same),
    ("minimum", "Minimum", None, _same),
    ("exclusiveMinimum", "ExclusiveMinimum", False, _same),
    ("maxLength", "MaxLength", None, _same),
    ("minLength", "MinLength", None, _same),
    ("pattern", "Pattern", "", _same),
    ("maxItems", "MaxItems", None, _same),
    ("minItems", "MinItems", None, _same),
    ("uniqueItems", "UniqueItems", False, _same),
    ("multipleOf", "MultipleOf", None, _same),
    ("enum", "Enum", None, _same),
    ("maxProperties", "MaxProperties", None, _same),
    ("minProperties", "MinProperties", None, _same),
    ("required", "Required", None, _same),
    ("items", "Items", None, shown_items),
    ("allOf", "AllOf", None, _list),
    ("oneOf", "OneOf", None, _list),
    ("anyOf", "AnyOf", None, _list),
    ("not", "Not", None, lambda value: shown_schema(value)),
    ("properties", "Properties", None, _map(lambda value: shown_schema(value))),
    ("additionalProperties", "AdditionalProperties", None, _schema_or_bool),
    ("patternProperties", "PatternProperties", None, _map(lambda value: shown_schema(value))),
    ("dependencies", "Dependencies", None, _map(_schema_or_words)),
    ("additionalItems", "AdditionalItems", None, _schema_or_bool),
    ("definitions", "Definitions", None, _map(lambda value: shown_schema(value))),
    ("externalDocs", "ExternalDocs", None, _docs),
    ("example", "Example", None, _same),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields", None, _same),
    ("x-kubernetes-embedded-resource", "XEmbeddedResource", False, _same),
    ("x-kubernetes-int-or-string", "XIntOrString", False, _same),
    ("x-kubernetes-list-map-keys", "XListMapKeys", None, _same),
    ("x-kubernetes-list-type", "XListType", None, _same),
    ("x-kubernetes-map-type", "XMapType", None, _same),
    ("x-kubernetes-validations", "XValidations", None, _rules),
)
"""Name in JSON, name in the internal type, the value when it is not set, how it is printed; in the type's order."""

ROOT_FIELDS = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength",
    "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties",
    "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip
"""What a root schema may set where `status` is a subresource."""


def shown_schema(schema: Object) -> Object:
    """A schema."""
    out = {}
    for field, name, unset, show in SCHEMA_FIELDS:
        value = schema.get(field)
        out[name] = unset if value is None else show(value)
    return out


def _subresources(value: Object) -> Object:
    scale = value.get("scale")
    shown = None if scale is None else {
        "SpecReplicasPath": scale.get("specReplicasPath", ""),
        "StatusReplicasPath": scale.get("statusReplicasPath", ""),
        "LabelSelectorPath": scale.get("labelSelectorPath"),
    }  # fmt: skip
    return {"Status": None if value.get("status") is None else {}, "Scale": shown}


def _column(column: Object) -> Object:
    out = {name: column.get(name[0].lower() + name[1:], "") for name in ("Name", "Type", "Format", "Description")}
    return {**out, "Priority": column.get("priority", 0), "JSONPath": column.get("jsonPath", "")}


def shown_versions(versions: list[Object]) -> list[Object]:
    """The versions of a definition."""
    out = []
    for version in versions:
        schema, sub = version.get("schema"), version.get("subresources")
        columns, fields = version.get("additionalPrinterColumns"), version.get("selectableFields")
        body = None if schema is None else schema.get("openAPIV3Schema")
        row = {
            "Name": version.get("name", ""),
            "Served": bool(version.get("served")),
            "Storage": bool(version.get("storage")),
            "Deprecated": bool(version.get("deprecated")),
            "DeprecationWarning": version.get("deprecationWarning"),
            "Schema": None if schema is None else {"OpenAPIV3Schema": None if body is None else shown_schema(body)},
            "Subresources": None if sub is None else _subresources(sub),
            "AdditionalPrinterColumns": None if columns is None else [_column(column) for column in columns],
            "SelectableFields": None if fields is None else [{"JSONPath": f.get("jsonPath", "")} for f in fields],
        }
        out.append(row)
    return out
