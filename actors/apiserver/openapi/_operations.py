"""The paths of a kind: operations with their parameters, bodies and responses, in OpenAPI v3.

Owns the texts and names of operations (source: k8s.io/apiserver/pkg/endpoints/installer.go).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson

from protocol.kinds import Kind, Subresource

__all__ = ["kind_paths", "tag"]

Node = dict[str, Any]
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
MEDIA = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
STREAMS = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
PATCH_MEDIA = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_CUSTOM_MEDIA = ("application/json", "application/yaml")
_CUSTOM_PATCH = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")


@cache
def _texts() -> dict[str, str]:
    """What each query parameter is for, as upstream documents it."""
    found: dict[str, str] = orjson.loads(Path(__file__).with_name("parameters.json").read_bytes())
    return found


_APPLY_MANAGER = " This field is required for apply requests (application/apply-patch) but optional for non-apply patch types (JsonPatch, MergePatch, StrategicMergePatch)."
_INTEGERS = ("limit", "timeoutSeconds", "gracePeriodSeconds")
_BOOLEANS = (
    "allowWatchBookmarks",
    "watch",
    "sendInitialEvents",
    "force",
    "orphanDependents",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
)
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
)
_SHARDS_SINCE = 36
_DELETE = (
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
)
_WRITE = ("dryRun", "fieldManager", "fieldValidation")


def query(name: str, text: str = "") -> Node:
    """One query parameter."""
    word = "integer" if name in _INTEGERS else "boolean" if name in _BOOLEANS else "string"
    return {
        "name": name,
        "in": "query",
        "description": _texts()[name] + text,
        "schema": {"type": word, "uniqueItems": True},
    }


def _in_path(name: str, text: str) -> Node:
    return {
        "name": name,
        "in": "path",
        "description": text,
        "required": True,
        "schema": {"type": "string", "uniqueItems": True},
    }


def _group_words(group: str) -> str:
    """`rbac.authorization.k8s.io` is `rbacAuthorization` in names of operations and tags."""
    if not group:
        return "core"
    parts = group.removesuffix(".k8s.io").split(".")
    return parts[0] + "".join(part[:1].upper() + part[1:] for part in parts[1:])


def tag(group: str, version: str) -> str:
    """`apps_v1`."""
    return f"{_group_words(group)}_{version}"


def _title(word: str) -> str:
    return word[:1].upper() + word[1:]


class _Writer:
    """Writes the operations of one kind."""

    def __init__(self, kind: Kind, custom: bool, minor: int) -> None:
        self.kind = kind
        self.custom = custom
        self.lists = tuple(name for name in _LIST if name != "shardSelector" or minor >= _SHARDS_SINCE)
        self.tag = tag(kind.group, kind.version)
        self.prefix = _title(_group_words(kind.group)) + _title(kind.version)

    def content(self, ref: str, media: tuple[str, ...] = MEDIA) -> Node:
        if self.custom:  # neither protobuf nor streams nor strategic merge patches
            media = _CUSTOM_MEDIA if media == ("*/*",) else tuple(m for m in media if m in (*_CUSTOM_MEDIA, *_CUSTOM_PATCH))
        return {name: {"schema": {"$ref": f"#/components/schemas/{ref}"}} for name in media}

    def responses(self, ref: str, *codes: tuple[str, str], media: tuple[str, ...] = MEDIA) -> Node:
        out: Node = {code: {"description": text, "content": self.content(ref, media)} for code, text in codes}
        out["401"] = {"description": "Unauthorized"}
        return out

    def operation(
        self, verb: str, text: str, action: str, gvk: tuple[str, str, str], name: str, responses: Node, **more: Any
    ) -> Node:
        out: Node = {"tags": [self.tag], "description": text, "operationId": f"{verb}{self.prefix}{name}"}
        out.update({key: value for key, value in more.items() if value})
        out["responses"] = responses
        out["x-kubernetes-action"] = action
        out["x-kubernetes-group-version-kind"] = {"group": gvk[0], "version": gvk[1], "kind": gvk[2]}
        return out

    def body(self, ref: str) -> Node:
        return {"content": self.content(ref, ("*/*",)), "required": True}

    def patch_body(self) -> Node:
        return {"content": self.content(META + "Patch", PATCH_MEDIA), "required": True}


def _gvk(kind: Kind | Subresource) -> tuple[str, str, str]:
    return (kind.group, kind.version, kind.kind)


def kind_paths(kind: Kind, ref_of: Any, minor: int, custom: bool = False) -> Node:
    """All path items of a kind. `ref_of(group, version, kind)` names a definition ("" if none)."""
    writer = _Writer(kind, custom, minor)
    ref = ref_of(*_gvk(kind))
    if not ref:
        return {}
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    scoped = ("Namespaced" if kind.namespaced else "") + kind.kind
    shared = [query("pretty")]
    if kind.namespaced:
        shared.insert(0, _in_path("namespace", "object name and auth scope, such as for teams and projects"))
    collection = _collection(writer, ref, ref_of(kind.group, kind.version, kind.list_kind), scoped)
    paths: Node = {}
    if collection:
        paths[f"{base}{scope}/{kind.resource}"] = {**collection, "parameters": shared}
    item = _item(writer, ref, scoped)
    named = [_in_path("name", f"name of the {kind.kind}"), *shared]
    if item:
        paths[f"{base}{scope}/{kind.resource}/{{name}}"] = {**item, "parameters": named}
    for sub in kind.subresources:
        found = _subresource(writer, ref, ref_of(*_gvk(sub)) or ref, scoped, sub)
        if found:
            paths[f"{base}{scope}/{kind.resource}/{{name}}/{sub.name}"] = {**found, "parameters": named}
    if kind.namespaced and "list" in kind.verbs:
        everywhere = _list(writer, ref_of(kind.group, kind.version, kind.list_kind), f"{kind.kind}ForAllNamespaces")
        paths[f"{base}/{kind.resource}"] = {
            "get": everywhere,
            "parameters": [*(query(name) for name in writer.lists), query("pretty")],
        }
        everywhere.pop("parameters", None)
    return paths


def _list(writer: _Writer, list_ref: str, name: str) -> Node:
    kind = writer.kind
    return writer.operation(
        "list",
        f"list or watch objects of kind {kind.kind}",
        "list",
        _gvk(kind),
        name,
        writer.responses(list_ref or META + "Status", ("200", "OK"), media=(*MEDIA, *STREAMS)),
        parameters=[query(name) for name in writer.lists],
    )


def _collection(writer: _Writer, ref: str, list_ref: str, scoped: str) -> Node:
    kind, verbs = writer.kind, writer.kind.verbs
    out: Node = {}
    if "list" in verbs:
        out["get"] = _list(writer, list_ref, scoped)
    if "create" in verbs:
        article = "an" if kind.kind[:1] in "AEIOU" else "a"
        out["post"] = writer.operation(
            "create",
            f"create {article} {kind.kind}",
            "post",
            _gvk(kind),
            scoped,
            writer.responses(ref, ("200", "OK"), ("201", "Created"), ("202", "Accepted")),
            parameters=[query(name) for name in _WRITE],
            requestBody=writer.body(ref),
        )
    if "deletecollection" in verbs:
        names = sorted({*_DELETE, *writer.lists} - {"allowWatchBookmarks", "watch"})
        out["delete"] = writer.operation(
            "delete",
            f"delete collection of {kind.kind}",
            "deletecollection",
            _gvk(kind),
            f"Collection{scoped}",
            writer.responses(META + "Status", ("200", "OK")),
            parameters=[query(name) for name in names],
            requestBody={"content": writer.content(META + "DeleteOptions", ("*/*",))},
        )
    return out


def _read(writer: _Writer, ref: str, text: str, gvk: tuple[str, str, str], name: str) -> Node:
    return writer.operation("read", text, "get", gvk, name, writer.responses(ref, ("200", "OK")))


def _replace(writer: _Writer, ref: str, text: str, gvk: tuple[str, str, str], name: str) -> Node:
    return writer.operation(
        "replace",
        text,
        "put",
        gvk,
        name,
        writer.responses(ref, ("200", "OK"), ("201", "Created")),
        parameters=[query(word) for word in _WRITE],
        requestBody=writer.body(ref),
    )


def _patch(writer: _Writer, ref: str, text: str, gvk: tuple[str, str, str], name: str) -> Node:
    return writer.operation(
        "patch",
        text,
        "patch",
        gvk,
        name,
        writer.responses(ref, ("200", "OK"), ("201", "Created")),
        parameters=[
            query("dryRun"),
            query("fieldManager", _APPLY_MANAGER),
            query("fieldValidation"),
            query("force"),
        ],
        requestBody=writer.patch_body(),
    )


def _item(writer: _Writer, ref: str, scoped: str) -> Node:
    kind, verbs = writer.kind, writer.kind.verbs
    out: Node = {}
    article = "an" if kind.kind[:1] in "AEIOU" else "a"
    if "get" in verbs:
        out["get"] = _read(writer, ref, f"read the specified {kind.kind}", _gvk(kind), scoped)
    if "update" in verbs:
        out["put"] = _replace(writer, ref, f"replace the specified {kind.kind}", _gvk(kind), scoped)
    if "delete" in verbs:
        out["delete"] = writer.operation(
            "delete",
            f"delete {article} {kind.kind}",
            "delete",
            _gvk(kind),
            scoped,
            writer.responses(META + "Status", ("200", "OK"), ("202", "Accepted")),
            parameters=[query(name) for name in _DELETE],
            requestBody={"content": writer.content(META + "DeleteOptions", ("*/*",))},
        )
    if "patch" in verbs:
        out["patch"] = _patch(writer, ref, f"partially update the specified {kind.kind}", _gvk(kind), scoped)
    return out


def _subresource(writer: _Writer, ref: str, sub_ref: str, scoped: str, sub: Subresource) -> Node:
    kind = writer.kind
    name = f"{scoped}{_title(sub.name)}"
    own = ref if sub.name in ("status", "approval", "ephemeralcontainers", "resize", "finalize") else sub_ref
    gvk = _gvk(kind) if own == ref else _gvk(sub)
    out: Node = {}
    what = f"{sub.name} of the specified {kind.kind}"
    if "get" in sub.verbs:
        out["get"] = _read(writer, own, f"read {what}", gvk, name)
    if "update" in sub.verbs:
        out["put"] = _replace(writer, own, f"replace {what}", gvk, name)
    if "patch" in sub.verbs:
        out["patch"] = _patch(writer, own, f"partially update {what}", gvk, name)
    if "create" in sub.verbs:
        out["post"] = writer.operation(
            "create",
            f"create {sub.name} of {'an' if kind.kind[:1] in 'AEIOU' else 'a'} {kind.kind}",
            "post",
            gvk,
            name,
            writer.responses(own, ("200", "OK"), ("201", "Created"), ("202", "Accepted")),
            parameters=[query(word) for word in _WRITE],
            requestBody=writer.body(own),
        )
    return out
