"""Which writes an admission policy or webhook concerns, and in which version it sees objects.

Owns rules, selectors and the equivalence of a resource's versions
(k8s.io/apiserver/pkg/admission/plugin/webhook/predicates). It must never evaluate expressions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from actors.apiserver.admission._base import DELETE, Attributes, Lookup
from protocol.kinds import Kind
from protocol.selectors import Selector, SelectorError, selector_of

__all__ = ["EXEMPT", "Match", "Problem", "converted", "find_match", "in_version", "matches_selectors", "settled"]

Object = dict[str, Any]
EXEMPT = frozenset(
    [
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ]
)
"""What configures admission is never subject to it: a wrong configuration must stay repairable."""


class Problem(Exception):
    """A configuration that cannot be used for this write."""


class Match(NamedTuple):
    """The resource in the version that a rule names."""

    kind: Kind
    """The table entry of the resource in that version."""

    def gvk(self, subresource: str) -> Object:
        """The kind of what is sent: the subresource's own, if it has one."""
        kind = self.kind
        found = kind.subresource(subresource) if subresource else None
        if found is not None and found.kind:
            return {"group": found.group, "version": found.version, "kind": found.kind}
        return {"group": kind.group, "version": kind.version, "kind": kind.kind}

    def gvr(self) -> Object:
        """The resource."""
        return {"group": self.kind.group, "version": self.kind.version, "resource": self.kind.resource}


# --- rules ------------------------------------------------------------------------------------


def _has(items: Iterable[str] | None, wanted: str) -> bool:
    return any(item in ("*", wanted) for item in items or ())


def _resource_matches(names: Iterable[str] | None, resource: str, subresource: str) -> bool:
    for name in names or ():
        main, _, sub = name.partition("/")
        if main in ("*", resource) and sub in ("*", subresource):
            return True
    return False


def _rule_matches(rule: Object, attributes: Attributes, kind: Kind) -> bool:
    scope = rule.get("scope") or "*"
    if scope != "*":
        namespaced = bool(attributes.namespace) and not _is_namespace(attributes)
        if namespaced != (scope == "Namespaced"):
            return False
    return (
        _has(rule.get("operations"), attributes.operation)
        and _has(rule.get("apiGroups"), kind.group)
        and _has(rule.get("apiVersions"), kind.version)
        and _resource_matches(rule.get("resources"), kind.resource, attributes.subresource)
        and (not rule.get("resourceNames") or attributes.name in rule["resourceNames"])
    )


def _is_namespace(attributes: Attributes) -> bool:
    return attributes.kind.group == "" and attributes.kind.resource == "namespaces"


def find_match(rules: Iterable[Object] | None, policy: str | None, attributes: Attributes) -> Match | None:
    """The version in which the rules want this write; None when they do not.

    `policy`: `Equivalent` also matches rules that name another version of the same resource.
    """
    rules = rules or ()
    if any(_rule_matches(rule, attributes, attributes.kind) for rule in rules):
        return Match(attributes.kind)
    if policy == "Exact":
        return None
    others: list[Kind] | None = None
    for rule in rules:
        if others is None:
            others = _equivalents(attributes.lookup, attributes.kind)
        for kind in others:
            if _rule_matches(rule, attributes, kind):
                return Match(kind)
    return None


def _equivalents(lookup: Lookup, kind: Kind) -> list[Kind]:
    """The same resource in its other served versions."""
    mine = lookup.resources.get(kind.group, kind.version, kind.resource)
    if mine is None:
        return []
    return [served.kind for served in lookup.resources if served.cache is mine.cache and served is not mine]


# --- selectors --------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _selector(text: bytes) -> Selector:
    return selector_of(orjson.loads(text))


def _compiled(selector: Object | None) -> Selector | None:
    """None: selects everything."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return None
    try:
        return _selector(orjson.dumps(selector))
    except SelectorError as error:
        raise Problem(str(error)) from None


def _labels(obj: Object | None) -> Object | None:
    return ((obj.get("metadata") or {}).get("labels") or {}) if obj is not None else None


def matches_selectors(source: Object, attributes: Attributes) -> bool:
    """Whether `namespaceSelector` and `objectSelector` of a configuration select this write.
    Raises `Problem` for a selector that is none, or a namespace that is unknown."""
    wanted = _compiled(source.get("namespaceSelector"))
    if wanted is not None and not _namespace_matches(wanted, attributes):
        return False
    wanted = _compiled(source.get("objectSelector"))
    if wanted is None:
        return True
    found = (_labels(attributes.object), _labels(attributes.old_object))
    return any(labels is not None and wanted.matches(labels) for labels in found)


def _namespace_matches(wanted: Selector, attributes: Attributes) -> bool:
    if _is_namespace(attributes):
        if attributes.operation != DELETE and attributes.object is not None and not attributes.subresource:
            return wanted.matches(_labels(attributes.object) or {})
        name = attributes.name
    else:
        name = attributes.namespace if attributes.kind.namespaced else ""
    if not name:
        return True
    namespace = attributes.lookup.get("", "namespaces", "", name)
    if namespace is None:
        raise Problem(f'namespaces "{name}" not found')
    return wanted.matches(_labels(namespace) or {})


# --- versions ---------------------------------------------------------------------------------


def _served_as(lookup: Lookup, api_version: str, kind: str) -> Any:
    group, _, version = api_version.rpartition("/")
    return lookup.resources.by_kind(group, version, kind)


def in_version(lookup: Lookup, obj: Object | None, kind: Kind) -> Object | None:
    """An object in the version of `kind`; itself when it has that already, or has no versions."""
    if obj is None or obj.get("apiVersion") == kind.api_version or obj.get("kind") != kind.kind:
        return obj
    source = _served_as(lookup, str(obj.get("apiVersion")), kind.kind)
    target = _served_as(lookup, kind.api_version, kind.kind)
    if source is None or target is None or source.cache is not target.cache:
        return obj
    if target.webhook is not None and target.from_storage is not None:
        target.from_storage(obj)  # says that this cannot wait for the webhook
    stored = source.stored(obj)
    found: Object = target.from_storage(stored) if target.from_storage is not None else stored
    return found


async def converted(lookup: Lookup, obj: Object | None, kind: Kind) -> Object | None:
    """`in_version`, by a webhook where the kind has one. Raises `StatusError` (500) when that fails."""
    if obj is None or obj.get("apiVersion") == kind.api_version or obj.get("kind") != kind.kind:
        return obj
    target = _served_as(lookup, kind.api_version, kind.kind)
    if target is None or target.webhook is None:
        return in_version(lookup, obj, kind)
    found: Object = await target.webhook.in_version(obj, kind.api_version)
    return found


def settled(lookup: Lookup, obj: Object) -> Object:
    """An object that admission changed: decoded by its type and defaulted, as if a client had sent it.
    Raises `StatusError` or `DecodeFailure` when it is no such object."""
    served = _served_as(lookup, str(obj.get("apiVersion")), str(obj.get("kind")))
    if served is None:
        return obj
    if served.custom is not None:
        obj, _ = served.custom.clean(served, obj, "Ignore")
    else:
        from actors.apiserver.fieldvalidation import convert

        kind = served.kind
        type_ = lookup.schema.by_gvk(kind.group, kind.version, kind.kind)
        if type_ is not None:
            obj, _ = convert(type_, obj)
    served.strategy.default(obj)
    return obj
