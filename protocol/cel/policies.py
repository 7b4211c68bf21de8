"""What expressions of admission policies and match conditions may mention.

Owns the types of `request`, `namespaceObject`, `authorizer` and `variables`, and of the objects that
mutations build. Who compiles a policy to check it, to run it, or to warn of wrong types, compiles against
these.

Source: k8s.io/apiserver/pkg/admission/plugin/cel: compile.go, composition.go; pkg/cel/mutation
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from protocol.cel._environment import Environment
from protocol.cel._types import BOOL, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, struct

__all__ = ["APPLY_CONFIGURATION", "JSON_PATCHES", "checking_environment", "environment", "variables_type"]

_AUTHORIZER = Type("struct", "kubernetes.authorization.Authorizer")
_RESOURCE_CHECK = Type("struct", "kubernetes.authorization.ResourceCheck")
_KIND = struct("kubernetes.GroupVersionKind", dict.fromkeys(("group", "version", "kind"), STRING))
_RESOURCE = struct("kubernetes.GroupVersionResource", dict.fromkeys(("group", "version", "resource"), STRING))
_USER = struct(
    "kubernetes.UserInfo",
    {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))},
)
_REQUEST = struct(
    "kubernetes.AdmissionRequest",
    {
        **dict.fromkeys(("subResource", "requestSubResource", "name", "namespace", "operation"), STRING),
        "kind": _KIND,
        "resource": _RESOURCE,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "userInfo": _USER,
        "dryRun": BOOL,
        "options": DYN,
    },
)
_CONDITION = struct(
    "kubernetes.NamespaceCondition",
    {**dict.fromkeys(("status", "type", "message", "reason"), STRING), "lastTransitionTime": TIMESTAMP},
)
_META = struct(
    "kubernetes.NamespaceMetadata",
    {
        **dict.fromkeys(("name", "generateName", "namespace", "UID", "resourceVersion"), STRING),
        "labels": map_of(STRING, STRING),
        "annotations": map_of(STRING, STRING),
        "creationTimestamp": TIMESTAMP,
        "deletionTimestamp": TIMESTAMP,
        "deletionGracePeriodSeconds": INT,
        "generation": INT,
        "finalizers": list_of(STRING),
    },
)
_NAMESPACE = struct(
    "kubernetes.Namespace",
    {
        "metadata": _META,
        "spec": struct("kubernetes.NamespaceSpec", {"finalizers": list_of(STRING)}),
        "status": struct("kubernetes.NamespaceStatus", {"conditions": list_of(_CONDITION), "phase": STRING}),
    },
)
_JSON_PATCH = struct("JSONPatch", {"op": STRING, "path": STRING, "from": STRING, "value": DYN})
APPLY_CONFIGURATION = struct("Object", lambda field: DYN)
"""What the expression of an applied configuration yields."""
JSON_PATCHES = list_of(_JSON_PATCH)
"""What the expression of a JSON patch yields."""


def _built(name: str) -> Type | None:
    """The types that mutations build: any `Object.path`, and `JSONPatch`."""
    if name == "JSONPatch":
        return _JSON_PATCH
    if name == "Object":
        return APPLY_CONFIGURATION
    return struct(name, lambda field: DYN) if name.startswith("Object.") else None


def variables_type(variables: Mapping[str, Type]) -> Type:
    """The type of `variables`, when a policy has these."""
    return struct("kubernetes.variables", dict(variables))


def environment(
    params: bool = False,
    authorizer: bool = True,
    variables: Mapping[str, Type] | None = None,
    mutating: bool = False,
) -> Environment:
    """The environment of a policy's expressions. `variables`: the policy's own so far; None where there can
    be none."""
    if variables is None:
        return _plain(params, authorizer, mutating)
    return Environment(_names(params, authorizer, variables), _built if mutating else None)


def checking_environment(
    variables: Mapping[str, Type], object_type: Type | None, params: bool, params_type: Type | None
) -> Environment:
    """The environment in which a policy is checked against the types of the objects that it is about; None
    is anything."""
    names = _names(params, False, variables)
    names |= {"object": object_type or DYN, "oldObject": object_type or DYN, "authorizer": _AUTHORIZER}
    if params:
        names["params"] = params_type or DYN
    return Environment(names)


@lru_cache(maxsize=8)
def _plain(params: bool, authorizer: bool, mutating: bool) -> Environment:
    return Environment(_names(params, authorizer, None), _built if mutating else None)


def _names(params: bool, authorizer: bool, variables: Mapping[str, Type] | None) -> dict[str, Type]:
    names = {"object": DYN, "oldObject": DYN, "namespaceObject": _NAMESPACE, "request": _REQUEST}
    if params:
        names["params"] = DYN
    if authorizer:
        names |= {"authorizer": _AUTHORIZER, "authorizer.requestResource": _RESOURCE_CHECK}
    if variables is not None:
        names["variables"] = variables_type(variables)
    return names
