"""Objects inside custom objects (`x-kubernetes-embedded-resource`): their metadata and their type.

Owns what k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta does below the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.apiserver.crd._node import Node
from actors.apiserver.fieldvalidation import DecodeFailure, convert
from actors.apiserver.strategies import FieldError
from actors.apiserver.strategies._errors import invalid, required
from actors.apiserver.strategies._meta import validate_meta
from protocol.names import dns1035_label, path_segment_name
from protocol.schema import Type

__all__ = ["check_embedded", "clean_embedded"]

Object = dict[str, Any]


def _embedded(value: Any, node: Node, path: str) -> Iterator[tuple[str, Object]]:
    """The embedded objects of a value, and where they are."""
    if not node.any_embedded:
        return
    if isinstance(value, dict):
        if node.embedded:
            yield path, value
        for key, item in value.items():
            sub = node.properties.get(key)
            if sub is not None:
                yield from _embedded(item, sub, f"{path}.{key}" if path else key)
            elif node.additional is not None:
                yield from _embedded(item, node.additional, f"{path}[{key}]")
    elif isinstance(value, list) and node.items is not None:
        for i, item in enumerate(value):
            yield from _embedded(item, node.items, f"{path}[{i}]")


def clean_embedded(obj: Object, node: Node, meta: Type) -> list[str]:
    """Bring the metadata of embedded objects into its canonical form, in place; the unknown fields.
    Raises `DecodeFailure`."""
    unknown: list[str] = []
    for path, found in list(_embedded(obj, node, "")):
        for field in ("apiVersion", "kind"):
            if field in found and not isinstance(found[field], str):
                raise DecodeFailure(f"{path}.{field}: Invalid value: {_shown(found[field])}: must be a string")
        if "metadata" not in found:
            continue
        try:
            found["metadata"], dropped = convert(meta, found["metadata"])
        except DecodeFailure as failure:
            shown = _shown(found["metadata"])
            raise DecodeFailure(f"{path}.metadata: Invalid value: {shown}: {failure}") from None
        unknown += [words.replace('field "', f'field "{path}.metadata.', 1) for words in dropped]
    return sorted(unknown)


def _shown(value: Any) -> str:
    from actors.apiserver.patch import go_value

    return go_value(value)


def check_embedded(obj: Object, node: Node) -> list[FieldError]:
    """What is wrong with the types and metadata of embedded objects."""
    errors: list[FieldError] = []
    for path, found in _embedded(obj, node, ""):
        for field in ("apiVersion", "kind"):
            where = f"{path}.{field}"
            value = found.get(field)
            if field not in found:
                errors.append(required(where, ""))
            elif value == "":
                errors.append(invalid(where, value, "must not be empty"))
            elif field == "apiVersion" and str(value).count("/") > 1:
                errors.append(invalid(where, value, f"unexpected GroupVersion string: {value}"))
            elif field == "kind":
                wrong = dns1035_label(str(value).lower())
                if wrong:
                    words = "may have mixed case, but should otherwise match: " + ",".join(wrong)
                    errors.append(invalid(where, value, words))
        meta = found.get("metadata")
        if isinstance(meta, dict):
            named = {**meta, "name": meta.get("name") or "fakename"}
            errors += validate_meta(named, bool(meta.get("namespace")), path_segment_name, f"{path}.metadata")
    return errors
