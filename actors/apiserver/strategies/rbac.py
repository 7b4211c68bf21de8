"""Role, ClusterRole, RoleBinding and ClusterRoleBinding.

Owns rules, subjects and references. Whether somebody may grant what is in them is authorisation's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import NameRule
from actors.apiserver.strategies._selectors import validate_selector
from protocol.names import dns1123_subdomain, path_segment_name

__all__ = ["BindingStrategy", "RoleStrategy"]

_GROUP = "rbac.authorization.k8s.io"
_SUBJECTS = ("ServiceAccount", "User", "Group")


def _check_rule(rule: Object, namespaced: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not rule.get("verbs"):
        errors.append(required(path + ".verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        at = path + ".nonResourceURLs"
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            errors.append(invalid(at, urls, detail))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid(at, urls, detail))
        return errors
    if not rule.get("apiGroups"):
        detail = "resource rules must supply at least one api group"
        errors.append(required(path + ".apiGroups", detail))
    if not rule.get("resources"):
        detail = "resource rules must supply at least one resource"
        errors.append(required(path + ".resources", detail))
    return errors


class RoleStrategy(Strategy):
    """Role and ClusterRole."""

    name_rule: ClassVar[NameRule] = staticmethod(path_segment_name)
    allow_create_on_update = True

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        for index, rule in enumerate(obj.get("rules") or ()):
            errors += _check_rule(rule, self.kind.namespaced, f"rules[{index}]")
        aggregation = obj.get("aggregationRule")
        if aggregation is None:
            return errors
        at = "aggregationRule.clusterRoleSelectors"
        selectors = aggregation.get("clusterRoleSelectors") or []
        if not selectors:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            errors.append(required(at, detail))
        for index, selector in enumerate(selectors):
            errors += validate_selector(selector, f"{at}[{index}]")
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new) + self.check_meta_update(new, old)

    def canonicalize(self, obj: Object) -> None:
        obj["rules"] = obj.get("rules") or None


class BindingStrategy(Strategy):
    """RoleBinding and ClusterRoleBinding."""

    name_rule: ClassVar[NameRule] = staticmethod(path_segment_name)
    allow_create_on_update = True

    def default(self, obj: Object) -> None:
        reference = obj.setdefault("roleRef", {})
        if not reference.get("apiGroup"):
            reference["apiGroup"] = _GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = _GROUP

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        reference = obj.get("roleRef") or {}
        group, kind, name = (reference.get(key, "") for key in ("apiGroup", "kind", "name"))
        if group != _GROUP:
            errors.append(not_supported("roleRef.apiGroup", group, (_GROUP,)))
        kinds = ("Role", "ClusterRole") if self.kind.namespaced else ("ClusterRole",)
        if kind not in kinds:
            errors.append(not_supported("roleRef.kind", kind, kinds))
        if not name:
            errors.append(required("roleRef.name"))
        else:
            errors += [invalid("roleRef.name", name, m) for m in path_segment_name(name, False)]
        for index, subject in enumerate(obj.get("subjects") or ()):
            errors += _check_subject(subject, self.kind.namespaced, f"subjects[{index}]")
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check(new) + self.check_meta_update(new, old)
        now, was = new.get("roleRef") or {}, old.get("roleRef") or {}
        if now != was:
            names = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
            shown = {go_name: now.get(name, "") for go_name, name in names}
            errors.append(invalid("roleRef", shown, "cannot change roleRef"))
        return errors

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Role", "string", "", "Role that is granted."),
            AGE,
            Column("Users", "string", "", "Users in the binding.", 1),
            Column("Groups", "string", "", "Groups in the binding.", 1),
            Column("ServiceAccounts", "string", "", "Service accounts in the binding.", 1),
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        reference = obj.get("roleRef") or {}
        found: dict[str, list[str]] = {kind: [] for kind in _SUBJECTS}
        for subject in obj.get("subjects") or ():
            kind, name = subject.get("kind", ""), subject.get("name", "")
            if kind in found:
                namespace = subject.get("namespace", "")
                found[kind].append(f"{namespace}/{name}" if kind == "ServiceAccount" else name)
        return [
            obj["metadata"].get("name", ""),
            f"{reference.get('kind', '')}/{reference.get('name', '')}",
            self.age(obj, now),
            *(", ".join(found[kind]) for kind in ("User", "Group", "ServiceAccount")),
        ]


def _check_subject(subject: Object, namespaced: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, name, group = (subject.get(key, "") for key in ("kind", "name", "apiGroup"))
    if not name:
        errors.append(required(path + ".name"))
    if kind == "ServiceAccount":
        if name:
            errors += [invalid(path + ".name", name, m) for m in dns1123_subdomain(name)]
        if group:
            errors.append(not_supported(path + ".apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(path + ".namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            errors.append(not_supported(path + ".apiGroup", group, (_GROUP,)))
    else:
        errors.append(not_supported(path + ".kind", kind, _SUBJECTS))
    return errors
