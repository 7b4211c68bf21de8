"""Nobody grants what they do not hold: the check on writes of roles and bindings.

Owns the comparison of granted with held rules, and its text.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._authz import RBAC, Attributes, covers
from protocol import status
from protocol.api import UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._request import Request

__all__ = ["check_grant"]

Object = dict[str, Any]
_EVERYTHING: list[Object] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]},
]
_ROLES, _BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")


def check_grant(core: Core, request: Request, new: Object, old: Object | None) -> None:
    """Raise 403 when a role or binding would grant more than the user holds."""
    kind = request.served.kind
    if kind.group != RBAC or "RBAC" not in core.authorizer.modes or "system:masters" in request.user.groups:
        return
    namespace = request.namespace if kind.namespaced else ""
    name = new["metadata"].get("name", "") or request.name
    if old is not None and _without_owners(new) == _without_owners(old):
        return
    if kind.resource in _ROLES:
        if _may(core, request.user, "escalate", kind.resource, namespace, name):
            return
        rules = list(new.get("rules") or [])
    elif kind.resource in _BINDINGS:
        ref = new.get("roleRef") or {}
        resource = "clusterroles" if ref.get("kind") == "ClusterRole" else "roles"
        if _may(core, request.user, "bind", resource, namespace, ref.get("name", "")):
            return
        if core.get(RBAC, resource, "" if resource == "clusterroles" else namespace, ref.get("name", "")) is None:
            raise status.not_found(RBAC, kind.resource, ref.get("name", ""))
        rules = core.authorizer.rules_of(ref, namespace)
    else:
        return
    grants = list(core.authorizer.grants(request.user, namespace))
    held = [grant.rule for grant in grants if not grant.missing]
    missing = covers(held, rules)
    if missing:
        problems = [grant.missing for grant in grants if grant.missing]
        why = f"; resolution errors: [{' '.join(problems)}]" if problems else ""
        raise status.forbidden(RBAC, kind.resource, name, _text(request.user, missing) + why)
    if new.get("aggregationRule") or (old or {}).get("aggregationRule"):
        if covers(held, _EVERYTHING):  # it gathers whatever roles there will be
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise status.forbidden(RBAC, kind.resource, name, why)


_FOR_DELETION = ("finalizers", "managedFields", "ownerReferences", "resourceVersion")


def _without_owners(obj: Object) -> Object:
    """An object without what garbage collection writes: that may go on, whoever helps it."""
    return {**obj, "metadata": {k: v for k, v in obj.get("metadata", {}).items() if k not in _FOR_DELETION and v}}


def _may(core: Core, user: UserInfo, verb: str, resource: str, namespace: str, name: str) -> bool:
    return core.authorizer.decide(user, Attributes(verb, RBAC, resource, "", namespace, name))[0]


def _quoted(values: Any) -> str:
    return "[" + " ".join(orjson.dumps(value).decode() for value in values) + "]"


def _compact(missing: list[Object]) -> list[Object]:
    """Rules that differ only in their verb become one."""
    merged: dict[str, Object] = {}
    for atom in missing:
        key = orjson.dumps({k: v for k, v in atom.items() if k != "verbs"}).decode()
        if "resourceNames" in atom or "nonResourceURLs" in atom:
            key += atom["verbs"][0]
        if key in merged:
            merged[key]["verbs"] = [*merged[key]["verbs"], *(v for v in atom["verbs"] if v not in merged[key]["verbs"])]
        else:
            merged[key] = dict(atom)
    return list(merged.values())


def _shown(rule: Object) -> str:
    words = [
        f"{label}:{_quoted(rule[field])}"
        for label, field in (
            ("APIGroups", "apiGroups"), ("Resources", "resources"), ("NonResourceURLs", "nonResourceURLs"),
            ("ResourceNames", "resourceNames"), ("Verbs", "verbs"),
        )
        if rule.get(field)
    ]
    return "{" + ", ".join(words) + "}"


def _text(user: UserInfo, missing: list[Object]) -> str:
    lines = sorted(_shown(rule) for rule in _compact(missing))
    return (
        f'user "{user.name}" (groups={_quoted(user.groups)}) is attempting to grant RBAC permissions not currently '
        "held:\n" + "\n".join(lines)
    )
