"""One served version of a custom resource: its table entry and what the request pipeline asks of it.

Owns decoding, patching and cleaning of custom objects, the type by which their fields are owned, and
what is published about them. It must never touch the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.apiserver.crd._embedded import clean_embedded
from actors.apiserver.crd._node import Node, node_of, owned_type
from actors.apiserver.crd._shape import default, drop_nulls, prune
from actors.apiserver.crd._strategy import CustomStrategy
from actors.apiserver.fieldvalidation import DecodeFailure, convert, parse_body, strict_message
from actors.apiserver.fieldvalidation._careful import walk
from actors.apiserver.managedfields import Filter, exclude, include
from actors.apiserver.openapi import CustomDocument
from actors.apiserver.patch import apply_patch
from protocol import status
from protocol.api import StatusError
from protocol.kinds import ALL_VERBS, Kind, Subresource
from protocol.objects import mutable
from protocol.schema import ANY, Schema, Type

__all__ = ["Custom", "kind_of", "reader"]

Object = dict[str, Any]
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
assert sorted(VERBS) == sorted(ALL_VERBS)
_SUB_VERBS = ("get", "patch", "update")
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def kind_of(definition: Object, version: Object) -> Kind:
    """The table entry of a version. Names are the accepted ones."""
    spec = definition["spec"]
    names = (definition.get("status") or {}).get("acceptedNames") or spec["names"]
    group, name = spec["group"], version["name"]
    subresources = version.get("subresources") or {}
    subs: list[Subresource] = []
    if subresources.get("status") is not None:
        subs.append(Subresource("status", group, name, names["kind"], _SUB_VERBS))
    if subresources.get("scale") is not None:
        subs.append(Subresource("scale", "autoscaling", "v1", "Scale", _SUB_VERBS, group_in_discovery=True))
    stored = next((v["name"] for v in spec["versions"] if v.get("storage")), name)
    return Kind(
        group,
        name,
        names["kind"],
        spec["names"]["plural"],
        names.get("singular", ""),
        spec.get("scope") == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=VERBS,
        subresources=tuple(subs),
        storage_group=group,
        storage_version=stored,
    )


def reader(customs: list[Custom]) -> Callable[[Object], Object]:
    """What reading does to stored objects: those of a version get its defaults and lose what it does not
    know, by the definition as it is now (apiextensions' crdConversionRESTOptionsGetter). Nothing is stored."""
    nodes = {custom.kind.api_version: custom.node for custom in customs}

    def read(obj: Object) -> Object:
        node = nodes.get(obj["apiVersion"])
        if node is None:
            return obj
        shown: Object = mutable(obj)
        prune(shown, node, root=True)
        default(shown, node)
        drop_nulls(shown, node)
        return obj if shown == obj else shown

    return read


class WarnedError(StatusError):
    """A refusal of a body that deserved warnings, too."""

    def __init__(self, found: Object, warnings: list[str]) -> None:
        super().__init__(found)
        self.warnings = warnings


class Custom:
    """What the API server knows about one version of a custom resource."""

    def __init__(self, definition: Object, version: Object, schema: Schema) -> None:
        self.definition = definition
        self.version = version
        self.kind = kind_of(definition, version)
        self.schema: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        self.node: Node = node_of(self.schema)
        self.meta = schema.meta()
        subresources = version.get("subresources") or {}
        self.has_status = subresources.get("status") is not None
        self.scale_spec: Object | None = subresources.get("scale")
        self.columns: list[Object] = version.get("additionalPrinterColumns") or [_AGE]
        self.selectable = [field["jsonPath"] for field in version.get("selectableFields") or ()]
        self.strategy = CustomStrategy(self)
        self._type: Type | None = None
        self._warnings = self._deprecations()

    # --- what others ask ------------------------------------------------------------------------

    def type(self, served: Any = None) -> Type:
        """The type by which fields are owned."""
        if self._type is None:
            self._type = owned_type(self.node, self.meta, root=True)
        return self._type

    def reset(self, served: Any, subresource: str) -> Filter | None:
        """What a request cannot own."""
        if not self.has_status:
            return None
        if subresource == "status":
            return include(("f:status",))
        return exclude({"f:status": {}})

    def scale(self, served: Any) -> tuple[str, str, str]:
        """The paths of the replica count, wanted and seen, and of the selector."""
        scale = self.scale_spec or {}
        return (
            scale.get("specReplicasPath") or "",
            scale.get("statusReplicasPath") or "",
            scale.get("labelSelectorPath") or "",
        )

    def openapi(self, served: Any) -> list[CustomDocument]:
        """What OpenAPI says of this version."""
        return [CustomDocument(self.kind, self.schema)]

    def deprecation(self, served: Any) -> list[str]:
        """Warnings that every use of this version brings."""
        return self._warnings

    def _deprecations(self) -> list[str]:
        if not self.version.get("deprecated"):
            return []
        if self.version.get("deprecationWarning"):
            return [self.version["deprecationWarning"]]
        kind = self.kind
        text = f"{kind.api_version} {kind.kind} is deprecated"
        best = [
            version["name"]
            for version in self.definition["spec"]["versions"]
            if version.get("served") and not version.get("deprecated")
        ]
        if best:
            from actors.apiserver._discovery import _priority

            newest = max(best, key=_priority)
            text += f"; use {kind.group}/{newest} {kind.kind}"
        return [text]

    # --- objects --------------------------------------------------------------------------------

    def decode(self, served: Any, body: Any, directive: str, media: str) -> tuple[Object, list[str]]:
        """The object that a body means and its warnings. Raises `StatusError` (400, 422)."""
        kind = self.kind
        try:
            parsed = parse_body(body, media)
        except DecodeFailure as failure:
            words = str(failure) if "yaml" in media else f"couldn't get version/kind; json parse error: {failure}"
            raise self._unrecognized(words, body) from None
        value = parsed.value
        if not isinstance(value, dict) or not value.get("kind"):
            from actors.apiserver.fieldvalidation._decode import summarize

            raise self._unrecognized(f"Object 'Kind' is missing in '{summarize(body, 1 << 20)}'", body)
        found_version = value.get("apiVersion") or ""
        strict = list(parsed.strict)
        if parsed.repeated and parsed.raw is not None:
            strict += walk(ANY, None, parsed.raw, False)[1]
        obj = mutable(value)
        found_kind = str(value["kind"])
        try:
            strict += self._shape(obj, self._node_of(str(found_version)))
        except DecodeFailure as failure:
            raise self._cannot_handle(found_kind, found_version, str(failure)) from None
        if strict and directive == "Strict":
            raise self._cannot_handle(found_kind, found_version, strict_message(strict))
        if found_version != kind.api_version:
            error = status.bad_request(
                f"the API version in the data ({found_version}) does not match the expected API version"
                f" ({kind.api_version})"
            )
            raise WarnedError(error.status, strict if directive != "Ignore" else [])
        if found_kind != kind.kind:
            raise self._wrong_kind(obj, found_kind)
        return obj, strict if directive != "Ignore" else []

    def _node_of(self, api_version: str) -> Node:
        """The schema of a version; one that is not defined has no fields."""
        if api_version == self.kind.api_version:
            return self.node
        for version in self.definition["spec"]["versions"]:
            if api_version == f"{self.kind.group}/{version['name']}":
                return node_of((version.get("schema") or {}).get("openAPIV3Schema") or {})
        return node_of({"type": "object"})

    def _shape(self, obj: Object, node: Node | None = None) -> list[str]:
        """Clean metadata and prune, in place; the unknown fields."""
        strict: list[str] = []
        meta = obj.get("metadata")
        if meta is not None:
            clean, unknown = convert(self.meta, meta)
            obj["metadata"] = clean
            strict += [words.replace('field "', 'field "metadata.', 1) for words in unknown]
        node = node or self.node
        if node.any_embedded:
            strict += clean_embedded(obj, node, self.meta)
        gone = prune(obj, node, root=True)
        return strict + [f'unknown field "{path}"' for path in gone]

    def _unrecognized(self, words: str, body: Any) -> StatusError:
        from actors.apiserver.fieldvalidation._decode import summarize

        return status.bad_request(
            f"the object provided is unrecognized (must be of type {self.kind.kind}): {words} ({summarize(body)})"
        )

    def _cannot_handle(self, kind: str, api_version: str, words: str) -> StatusError:
        version = api_version.rpartition("/")[2]
        return status.bad_request(f'{kind} in version "{version}" cannot be handled as a {self.kind.kind}: {words}')

    def _wrong_kind(self, obj: Object, found: str) -> StatusError:
        from actors.apiserver.strategies._errors import invalid

        name = (obj.get("metadata") or {}).get("name", "")
        return status.invalid(self.kind.group, found, name, [invalid("kind", found, f"must be {self.kind.kind}")])

    def patch(
        self, served: Any, media: str, old: Object, body: Any, directive: str
    ) -> tuple[Object, list[str]]:
        """An object after a patch, cleaned."""

        def decoder(obj: Object) -> tuple[Object, list[str]]:
            strict = self._shape(obj)
            return obj, strict

        return apply_patch(media, None, old, body, directive, decoder)

    def clean(self, served: Any, obj: Object, directive: str) -> tuple[Object, list[str]]:
        """The result of an apply in the form in which objects are kept."""
        try:
            strict = self._shape(obj)
        except DecodeFailure as failure:
            raise status.unknown_error(f"failed to convert new typed object to object: {failure}") from None
        return obj, strict
