"""Whole documents, made when first asked for and kept until what is served changes.

Owns which definitions a document carries: those its operations mention and what these mention.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from actors.apiserver.openapi._operations import MEDIA, META, kind_paths
from actors.apiserver.openapi._schemas import references, v2_definition, v3_schema
from protocol import kinds
from protocol.kinds import Kind
from protocol.schema import Schema

__all__ = ["CustomDocument", "Documents"]

Node = dict[str, Any]
_INFO = "io.k8s.apimachinery.pkg.version.Info"
# What the extension server names its documents (source: apiextensions-apiserver/pkg/controller/openapi/builder).
_CUSTOM_INFO: Node = {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}


class CustomDocument(NamedTuple):
    """A served version of a custom resource: its table entry and its `openAPIV3Schema`."""

    kind: Kind
    schema: Mapping[str, Any]


class Documents:
    """The documents of one minor version and the custom resources served right now."""

    def __init__(self, schema: Schema, custom: Iterable[CustomDocument] = ()) -> None:
        self.schema = schema
        self._built: dict[str, bytes] = {}
        self._builtin: dict[str, list[Kind]] = {}
        for kind in kinds.served(schema.minor):
            self._builtin.setdefault(_document_path(kind), []).append(kind)
        self._custom: dict[str, list[CustomDocument]] = {}
        self.set_custom(custom)

    def set_custom(self, custom: Iterable[CustomDocument]) -> None:
        """Serve these custom resources from now on."""
        stale = set(self._custom)
        self._custom = {}
        for document in custom:
            self._custom.setdefault(_document_path(document.kind), []).append(document)
        for path in (*stale, *self._custom, "v2"):
            self._built.pop(path, None)
            self._built.pop(f"{path}.protobuf", None)

    def index(self) -> Node:
        """The answer of `/openapi/v3`."""
        paths = ["version", *self._builtin, *(path for path in self._custom if path not in self._builtin)]
        return {
            "paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self.hash(path)}"} for path in sorted(paths)}
        }

    def hash(self, path: str) -> str:
        """Changes when the document does; upper-case hexadecimal like upstream's."""
        seed: list[Any] = [self.schema.minor, path]
        for document in self._custom.get(path, ()):
            seed += [document.kind.kind, document.kind.resource, document.schema]
        return hashlib.sha512(orjson.dumps(seed)).hexdigest().upper()

    def v3(self, path: str) -> bytes | None:
        """The document of a group version (`api/v1`, `apis/apps/v1`) or of `version`."""
        if path != "version" and path not in self._builtin and path not in self._custom:
            return None
        found = self._built.get(path)
        if found is None:
            found = self._built[path] = orjson.dumps(self._version() if path == "version" else self._v3(path))
        return found

    def v3_protobuf(self, path: str) -> bytes | None:
        """`v3` in gnostic's protobuf messages."""
        found = self._built.get(f"{path}.protobuf")
        if found is None:
            text = self.v3(path)
            if text is None:
                return None
            from actors.apiserver.openapi._protobuf import encode_v3

            found = self._built[f"{path}.protobuf"] = encode_v3(orjson.loads(text))
        return found

    def v2(self) -> bytes:
        """The one document of `/openapi/v2`."""
        found = self._built.get("v2")
        if found is None:
            found = self._built["v2"] = orjson.dumps(self._v2())
        return found

    def v2_hash(self) -> str:
        """Changes when `v2` does."""
        seed = [self.hash(path) for path in sorted({*self._builtin, *self._custom})]
        return hashlib.sha512(orjson.dumps(seed)).hexdigest().upper()

    def v2_protobuf(self) -> bytes:
        """`v2` in gnostic's protobuf messages."""
        found = self._built.get("v2.protobuf")
        if found is None:
            from actors.apiserver.openapi._protobuf import encode_v2

            found = self._built["v2.protobuf"] = encode_v2(self._v2())
        return found

    def _info(self) -> Node:
        return {"title": "Kubernetes", "version": f"1.{self.schema.minor}"}

    def _version(self) -> Node:
        ok = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_INFO}"}}}
        get = {
            "tags": ["version"],
            "description": "get the version information for this server",
            "operationId": "getCodeVersion",
            "responses": {"200": {"description": "OK", "content": ok}, "401": {"description": "Unauthorized"}},
        }
        return {
            "openapi": "3.0.0",
            "info": self._info(),
            "paths": {"/version/": {"get": get}},
            "components": {"schemas": {_INFO: v3_schema(self.schema, _INFO)}, **_security()},
        }

    def _v3(self, path: str) -> Node:
        paths = self._discovery(path) if path in self._builtin else {}
        custom: Node = {}
        for kind in self._builtin.get(path, ()):
            paths.update(kind_paths(kind, self.schema.name_of, self.schema.minor))
        for document in self._custom.get(path, ()):
            paths.update(self._custom_paths(document))
            custom.update(_custom_schemas(document, "#/components/schemas/"))
        schemas = self._closure([paths, custom], v3=True)
        schemas.update(custom)
        return {
            "openapi": "3.0.0",
            "info": self._info() if path in self._builtin else _CUSTOM_INFO,
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(schemas.items())), **_security()},
        }

    def _custom_paths(self, document: CustomDocument) -> Node:
        names = _custom_names(document.kind)

        def name_of(group: str, version: str, kind: str) -> str:
            return names.get((group, version, kind)) or self.schema.name_of(group, version, kind)

        return kind_paths(document.kind, name_of, self.schema.minor, custom=True)

    def _closure(self, roots: Any, v3: bool) -> Node:
        """The definitions reachable from `roots`."""
        definitions = self.schema.definitions
        found: set[str] = set()
        references(roots, found)
        out: Node = {}
        todo = sorted(found)
        while todo:
            name = todo.pop()
            if name in out or name not in definitions:
                continue
            out[name] = v3_schema(self.schema, name) if v3 else v2_definition(self.schema, name)
            more: set[str] = set()
            references(definitions[name], more)
            todo += sorted(more - out.keys())
        return out

    def _discovery(self, path: str) -> Node:
        """The path that lists the resources of a group version."""
        ref = f"#/components/schemas/{META}APIResourceList"
        group, _, version = path.removeprefix("apis/").removeprefix("api/").rpartition("/")
        from actors.apiserver.openapi._operations import tag

        get = {
            "tags": [tag(group, version)],
            "description": "get available resources",
            "operationId": f"get{tag(group, version)[:1].upper()}{tag(group, version)[1:].replace('_v', 'V')}APIResources",
            "responses": {
                "200": {"description": "OK", "content": {name: {"schema": {"$ref": ref}} for name in MEDIA}},
                "401": {"description": "Unauthorized"},
            },
        }
        return {f"/{path}/": {"get": get}}

    def _v2(self) -> Node:
        from actors.apiserver.openapi._swagger import v2_path

        paths: Node = {}
        custom: Node = {}
        for listed in self._builtin.values():
            for kind in listed:
                paths.update(kind_paths(kind, self.schema.name_of, self.schema.minor))
        for documents in self._custom.values():
            for document in documents:
                paths.update(self._custom_paths(document))
                custom.update(_custom_schemas(document, "#/definitions/"))
        definitions = self._closure([list(self.schema.definitions), custom], v3=False)
        for name in self.schema.definitions:
            if name not in definitions:
                definitions[name] = v2_definition(self.schema, name)
        definitions.update(custom)
        return {
            "swagger": "2.0",
            "info": self._info(),
            "paths": {path: v2_path(item) for path, item in sorted(paths.items())},
            "definitions": dict(sorted(definitions.items())),
            "securityDefinitions": {
                "BearerToken": {
                    "description": "Bearer Token authentication",
                    "type": "apiKey",
                    "name": "authorization",
                    "in": "header",
                }
            },
            "security": [{"BearerToken": []}],
        }


def _security() -> Node:
    return {
        "securitySchemes": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        }
    }


def _document_path(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _definition_name(kind: Kind, name: str) -> str:
    """`com.example.v1.Widget` for group `example.com`."""
    return ".".join([*reversed(kind.group.split(".")), kind.version, name])


def _custom_names(kind: Kind) -> dict[tuple[str, str, str], str]:
    return {
        (kind.group, kind.version, kind.kind): _definition_name(kind, kind.kind),
        (kind.group, kind.version, kind.list_kind): _definition_name(kind, kind.list_kind),
    }


def _custom_schemas(document: CustomDocument, prefix: str) -> Node:
    """The definitions of a custom kind and its list."""
    kind = document.kind
    header = {
        "apiVersion": {"description": _API_VERSION, "type": "string"},
        "kind": {"description": _KIND, "type": "string"},
    }
    body: Node = {key: value for key, value in document.schema.items() if key not in ("properties", "default")}
    body.setdefault("type", "object")
    meta = {
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/"
        "sig-architecture/api-conventions.md#metadata",
        "allOf": [{"$ref": f"{prefix}{META}ObjectMeta"}],
    }
    if prefix == "#/definitions/":
        meta = {"description": meta["description"], "$ref": f"{prefix}{META}ObjectMeta"}
    properties = {**header, "metadata": meta}
    for name, prop in (document.schema.get("properties") or {}).items():
        if name not in properties:
            properties[name] = prop
    body["properties"] = dict(sorted(properties.items()))
    gvk = {"group": kind.group, "kind": kind.kind, "version": kind.version}
    body["x-kubernetes-group-version-kind"] = [gvk]
    list_meta: Node = {"description": "Standard list metadata.", "allOf": [{"$ref": f"{prefix}{META}ListMeta"}]}
    if prefix == "#/definitions/":
        list_meta = {"description": "Standard list metadata.", "$ref": f"{prefix}{META}ListMeta"}
    items = {
        "description": f"List of {kind.resource}. More info: https://git.k8s.io/community/contributors/devel/"
        "sig-architecture/api-conventions.md",
        "type": "array",
        "items": {"$ref": prefix + _definition_name(kind, kind.kind)},
    }
    listed = {
        "description": f"{kind.list_kind} is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {**header, "items": items, "metadata": list_meta},
        "x-kubernetes-group-version-kind": [{**gvk, "kind": kind.list_kind}],
    }
    return {_definition_name(kind, kind.kind): body, _definition_name(kind, kind.list_kind): listed}


_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized"
    " schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community"
    "/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the"
    " endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community"
    "/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
