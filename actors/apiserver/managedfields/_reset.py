"""Which fields a request cannot own, because the resource's strategy puts them back.

A filter takes a set and returns what is left of it. Owns the table of the built-in resources
(source: `GetResetFields` of the registries).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from actors.apiserver.managedfields._sets import Set, remove_recursively

__all__ = ["Filter", "exclude", "include", "reset_filter"]

Filter = Callable[[Set], Set]
ANY_ELEMENT = "*"


def exclude(gone: Set) -> Filter:
    """Drop the members of a set and all below them."""
    return lambda fields: remove_recursively(fields, gone)


def include(*prefixes: tuple[str, ...]) -> Filter:
    """Keep only what lies at or below one of the paths; `*` matches any element."""
    return partial(_include, prefixes=prefixes)


def _include(fields: Set, prefixes: tuple[tuple[str, ...], ...]) -> Set:
    out: Set = {}
    for key, node in fields.items():
        if key == ".":
            continue
        longer = []
        for prefix in prefixes:
            if prefix[0] in (key, ANY_ELEMENT):
                if len(prefix) == 1:
                    out[key] = node
                    break
                longer.append(prefix[1:])
        else:
            kept = _include(node, tuple(longer)) if longer else {}
            if kept:
                out[key] = kept
    return out


def _set(*paths: str) -> Set:
    out: Set = {}
    for path in paths:
        node = out
        for word in path.split("."):
            node = node.setdefault(f"f:{word}", {})
    return out


_MAIN: dict[tuple[str, str], Set] = {
    ("certificates.k8s.io", "certificatesigningrequests"): _set("spec", "status"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): _set("status"),
}
_STATUS: dict[tuple[str, str], Set] = {
    ("", "pods"): _set("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
    ("apps", "deployments"): _set("spec", "metadata.labels"),
    ("storage.k8s.io", "volumeattachments"): _set("spec", "metadata"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): _set("spec", "metadata"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): _set("spec", "metadata"),
    ("apiextensions.k8s.io", "customresourcedefinitions"): _set("spec", "metadata"),
    ("apiregistration.k8s.io", "apiservices"): _set("spec", "metadata"),
    ("resource.k8s.io", "resourceclaims"): _set("spec", "metadata"),
    ("certificates.k8s.io", "certificatesigningrequests"): _set("spec", "status.conditions"),
    ("networking.k8s.io", "servicecidrs"): _set("spec"),
}
_OTHER: dict[tuple[str, str, str], Filter] = {
    ("", "pods", "ephemeralcontainers"): include(("f:spec", "f:ephemeralContainers")),
    ("", "pods", "resize"): include(
        ("f:spec", "f:containers", ANY_ELEMENT, "f:resources"),
        ("f:spec", "f:containers", ANY_ELEMENT, "f:resizePolicy"),
        ("f:spec", "f:initContainers", ANY_ELEMENT, "f:resources"),
        ("f:spec", "f:initContainers", ANY_ELEMENT, "f:resizePolicy"),
        ("f:spec", "f:resources"),
    ),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): exclude(_set("spec", "status.certificate")),
    ("", "namespaces", "finalize"): exclude(_set("status")),
}


@cache
def reset_filter(group: str, resource: str, subresource: str = "") -> Filter:
    """The filter of a built-in resource. Kinds without a status are not harmed by it."""
    if not subresource:
        return exclude(_MAIN.get((group, resource), _set("status")))
    if subresource == "status":
        return exclude(_STATUS.get((group, resource), _set("spec")))
    return _OTHER.get((group, resource, subresource), _same)


def _same(fields: Any) -> Any:
    return fields
