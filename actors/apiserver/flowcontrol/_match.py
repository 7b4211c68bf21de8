"""Which FlowSchema a request belongs to. Pure functions of rules, users and what is wanted."""

from __future__ import annotations

from typing import Any

from actors.apiserver._authz import Attributes
from protocol.api import UserInfo

__all__ = ["matches", "precedence"]

Object = dict[str, Any]
_ACCOUNT = "system:serviceaccount:"


def precedence(schema: Object) -> tuple[int, str]:
    """The order in which schemas are asked."""
    return int((schema.get("spec") or {}).get("matchingPrecedence") or 1000), schema["metadata"]["name"]


def matches(schema: Object, user: UserInfo, wanted: Attributes) -> bool:
    """Whether any rule of a schema covers the request."""
    return any(_rule(rule, user, wanted) for rule in (schema.get("spec") or {}).get("rules") or ())


def _rule(rule: Object, user: UserInfo, wanted: Attributes) -> bool:
    if not any(_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if wanted.path:
        return any(_path_rule(one, wanted) for one in rule.get("nonResourceRules") or ())
    return any(_resource_rule(one, wanted) for one in rule.get("resourceRules") or ())


def _subject(subject: Object, user: UserInfo) -> bool:
    kind = subject.get("kind")
    if kind == "User":
        name = (subject.get("user") or {}).get("name")
        return name in ("*", user.name)
    if kind == "Group":
        name = (subject.get("group") or {}).get("name")
        return name == "*" or name in user.groups
    account = subject.get("serviceAccount") or {}
    if not user.name.startswith(_ACCOUNT):
        return False
    namespace, _, name = user.name[len(_ACCOUNT) :].partition(":")
    return namespace == account.get("namespace") and account.get("name") in ("*", name)


def _path_rule(rule: Object, wanted: Attributes) -> bool:
    if not _has(rule.get("verbs"), wanted.verb):
        return False
    return any(
        pattern in ("*", wanted.path)
        or (pattern.endswith("/*") and wanted.path.startswith(pattern[:-1]))
        or (pattern.endswith("*") and not pattern.endswith("/*") and wanted.path.startswith(pattern[:-1]))
        for pattern in rule.get("nonResourceURLs") or ()
    )


def _resource_rule(rule: Object, wanted: Attributes) -> bool:
    resource = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
    if not (_has(rule.get("verbs"), wanted.verb) and _has(rule.get("apiGroups"), wanted.group)):
        return False
    if not _has(rule.get("resources"), resource):
        return False
    if wanted.namespace:
        return _has(rule.get("namespaces"), wanted.namespace)
    return bool(rule.get("clusterScope"))


def _has(words: Any, word: str) -> bool:
    return bool(words) and ("*" in words or word in words)
