"""Who may do what: RBAC, the node authorizer, and the all-powerful group.

Owns decisions and their reasons. Rules are read from the watch cache and remembered until a role
or binding changes. It must never authenticate anybody.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from protocol import status
from protocol.api import StatusError, UserInfo

if TYPE_CHECKING:
    from actors.apiserver._core import Core

__all__ = ["Attributes", "Authorizer", "covers", "subject_of"]

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
_KINDS = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
_BOUND = 10_000
MODES = ("Node", "RBAC", "AlwaysAllow", "AlwaysDeny")
_UNASKED: Any = object()


class Attributes(NamedTuple):
    """What somebody wants to do. A `path` makes it a request for no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    fields: str = ""
    """The field selector of a list or watch: nodes may list what it narrows to themselves."""


class Grant(NamedTuple):
    """A rule, and through which binding somebody has it; or what is wrong with a binding."""

    rule: Object
    reason: str
    missing: str = ""


class Authorizer:
    """Decides by the roles and bindings of one API server."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.modes = core.config.authorization_modes
        wrong = set(self.modes) - set(MODES)
        if wrong or not self.modes:
            raise ValueError(f"authorization modes are {', '.join(MODES)}, not {core.config.authorization!r}")
        self._always_allows = "AlwaysAllow" in self.modes
        self._roles = "RBAC" in self.modes
        self._seen: tuple[int, ...] = ()
        self._cluster: dict[tuple[str, tuple[str, ...]], list[Grant]] = {}
        self._local: dict[tuple[str, tuple[str, ...], str], list[Grant]] = {}
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], tuple[bool, str]] = {}
        self._everywhere: dict[tuple[Any, ...], tuple[bool, str] | None] = {}
        """What is allowed whatever the namespace and the name, by user and request; None: not so."""

    def forget(self) -> None:
        """Rules may have changed altogether."""
        self._seen = ()

    def _refresh(self) -> None:
        caches = self.core.store.caches
        seen = tuple(caches[RBAC, kind].changes if (RBAC, kind) in caches else 0 for kind in _KINDS)
        if seen != self._seen or len(self._decisions) > _BOUND:
            self._seen = seen
            self._cluster, self._local, self._decisions, self._everywhere = {}, {}, {}, {}

    def decide(self, user: UserInfo, attributes: Attributes) -> tuple[bool, str]:
        """Whether `user` may, and why."""
        if "system:masters" in user.groups or self._always_allows:
            return True, ""
        self._refresh()
        verb, group, resource, subresource, _, _, path, _ = attributes
        wide = (user.name, user.groups, verb, group, resource, subresource, path)
        known = self._everywhere.get(wide, _UNASKED)
        if known is _UNASKED:
            if len(self._everywhere) > _BOUND:
                self._everywhere.clear()
            known = self._everywhere[wide] = self._decide_everywhere(user, attributes)
        if known is not None:
            return known
        key = (user.name, tuple(user.groups), attributes)
        known = self._decisions.get(key)
        if known is None:
            known = self._decide(user, attributes)
            if "system:nodes" not in user.groups:  # those depend on pods, which change all the time
                self._decisions[key] = known
        return known

    def _decide_everywhere(self, user: UserInfo, attributes: Attributes) -> tuple[bool, str] | None:
        """A grant for the whole cluster and all names, when the first that allows is one."""
        if not self._roles:
            return None
        for grant in self.grants(user, ""):
            if not grant.missing and rule_allows(grant.rule, attributes):
                return None if grant.rule.get("resourceNames") else (True, grant.reason)
        return None

    def _decide(self, user: UserInfo, attributes: Attributes) -> tuple[bool, str]:
        reasons: list[str] = []
        if "system:nodes" in user.groups and "Node" in self.modes:
            from actors.apiserver._nodeauthz import node_name_of, node_opinion

            node = node_name_of(user.name, user.groups)
            allowed, reason = node_opinion(self.core, node, attributes) if node is not None else (False, "")
            if allowed:
                return True, reason
            reasons.append(reason)
        missing: dict[str, None] = {}
        for grant in self.grants(user, attributes.namespace) if self._roles else ():
            if grant.missing:
                missing[grant.missing] = None
            elif rule_allows(grant.rule, attributes):
                return True, grant.reason
        if missing:
            reasons.append(f"RBAC: {status.aggregate(missing)}")
        return False, "\n".join(filter(None, reasons))

    def allowed(
        self, user: UserInfo, verb: str, group: str, resource: str, namespace: str = "", name: str = "",
        subresource: str = "",
    ) -> bool:
        """Whether `user` may do this to a resource."""
        return self.decide(user, Attributes(verb, group, resource, subresource, namespace, name))[0]

    def require(self, user: UserInfo, attributes: Attributes) -> str:
        """Why `user` may. Raises 403 when it may not."""
        allowed, reason = self.decide(user, attributes)
        if not allowed:
            raise self.refusal(user, attributes, reason)
        return reason

    def refusal(self, user: UserInfo, attributes: Attributes, reason: str = "") -> StatusError:
        """The 403 that says what was not allowed."""
        why = f": {reason}" if reason else ""
        if attributes.path:
            error = status.forbidden(
                "", "", "", f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"{why}'
            )
            error.status["details"] = {}
            return error
        resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
        where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
        return status.forbidden(
            attributes.group,
            attributes.resource,
            attributes.name,
            f'User "{user.name}" cannot {attributes.verb} resource "{resource}" in API group '
            f'"{attributes.group}" {where}{why}',
        )

    # --- rules ------------------------------------------------------------------------------

    def grants(self, user: UserInfo, namespace: str) -> Iterator[Grant]:
        """All rules that bind `user`: cluster wide ones, then those of the namespace."""
        self._refresh()
        key = (user.name, tuple(user.groups))
        cluster = self._cluster.get(key)
        if cluster is None:
            cluster = self._cluster[key] = list(self._cluster_grants(user))
        yield from cluster
        if namespace:
            local = self._local.get((*key, namespace))
            if local is None:
                local = self._local[*key, namespace] = list(self._local_grants(user, namespace))
            yield from local

    def _cluster_grants(self, user: UserInfo) -> Iterator[Grant]:
        for binding in self.core.list(RBAC, "clusterrolebindings"):
            subject = _matching(user, binding.get("subjects"), "")
            if subject is not None:
                reason = _reason("ClusterRoleBinding", binding["metadata"]["name"], binding, subject)
                yield from self._granted(binding.get("roleRef") or {}, "", reason)

    def _local_grants(self, user: UserInfo, namespace: str) -> Iterator[Grant]:
        for binding in self.core.list(RBAC, "rolebindings", namespace):
            subject = _matching(user, binding.get("subjects"), namespace)
            if subject is not None:
                name = f"{binding['metadata']['name']}/{namespace}"
                reason = _reason("RoleBinding", name, binding, subject)
                yield from self._granted(binding.get("roleRef") or {}, namespace, reason)

    def _granted(self, role_ref: Object, namespace: str, reason: str) -> Iterator[Grant]:
        """The rules of a role that is bound; a missing role is one grant that says so."""
        kind = "clusterrole" if role_ref.get("kind") == "ClusterRole" else "role"
        home = "" if kind == "clusterrole" else namespace
        if self.core.get(RBAC, f"{kind}s", home, role_ref.get("name", "")) is None:
            yield Grant({}, reason, f'{kind}.{RBAC} "{role_ref.get("name", "")}" not found')
            return
        for rule in self.rules_of(role_ref, namespace):
            yield Grant(rule, reason)

    def rules_of(self, role_ref: Object, namespace: str) -> list[Object]:
        """The rules of the role that a binding names; none when it is missing."""
        if role_ref.get("kind") == "ClusterRole":
            role = self.core.get(RBAC, "clusterroles", "", role_ref.get("name", ""))
        else:
            role = self.core.get(RBAC, "roles", namespace, role_ref.get("name", ""))
        return list(role.get("rules") or []) if role else []


def _reason(kind: str, name: str, binding: Object, subject: Object) -> str:
    ref = binding.get("roleRef") or {}
    named = f'"{subject.get("name", "")}'
    if subject.get("kind") == "ServiceAccount":
        named += f'/{subject.get("namespace", "")}'
    return f'RBAC: allowed by {kind} "{name}" of {ref.get("kind")} "{ref.get("name")}" to {subject.get("kind")} {named}"'


def _matching(user: UserInfo, subjects: list[Object] | None, namespace: str) -> Object | None:
    for subject in subjects or ():
        kind, name = subject.get("kind"), subject.get("name", "")
        if kind == "User" and name == user.name:
            return subject
        if kind == "Group" and name in user.groups:
            return subject
        if kind == "ServiceAccount":
            home = subject.get("namespace") or namespace
            if home and user.name == f"system:serviceaccount:{home}:{name}":
                return subject
    return None


def subject_of(user: UserInfo, subjects: list[Object] | None, namespace: str) -> Object | None:
    """The first subject that means this user, or None."""
    return _matching(user, subjects, namespace)


def rule_allows(rule: Object, attributes: Attributes) -> bool:
    """Whether one rule covers a request."""
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and attributes.verb not in verbs:
        return False
    if attributes.path:
        return any(_path_matches(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if "*" not in groups and attributes.group not in groups:
        return False
    if not _resource_matches(rule.get("resources") or (), attributes.resource, attributes.subresource):
        return False
    names = rule.get("resourceNames")
    return not names or attributes.name in names


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


def _resource_matches(resources: Any, resource: str, subresource: str) -> bool:
    combined = f"{resource}/{subresource}" if subresource else resource
    return any(word in ("*", combined) or (subresource and word == f"*/{subresource}") for word in resources)


def covers(owned: list[Object], wanted: list[Object]) -> list[Object]:
    """The atomic rules of `wanted` that no rule of `owned` covers (k8s.io/component-helpers/auth/rbac)."""
    missing = []
    for rule in wanted:
        for atom in _atoms(rule):
            if not any(_covered(have, atom) for have in owned):
                missing.append(atom)
    return missing


def _atoms(rule: Object) -> Iterator[Object]:
    verbs = rule.get("verbs") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                names = rule.get("resourceNames") or ()
                if names:
                    for name in names:
                        yield {"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": [name]}
                else:
                    yield {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    for url in rule.get("nonResourceURLs") or ():
        for verb in verbs:
            yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covered(have: Object, atom: Object) -> bool:
    verbs = have.get("verbs") or ()
    if "*" not in verbs and atom["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in atom:
        wanted = atom["nonResourceURLs"][0]
        return any(_path_matches(p, wanted) for p in have.get("nonResourceURLs") or ())
    groups = have.get("apiGroups") or ()
    if "*" not in groups and atom["apiGroups"][0] not in groups:
        return False
    if not _resource_covered(have.get("resources") or (), atom["resources"][0]):
        return False
    names = have.get("resourceNames")
    return not names or (bool(atom.get("resourceNames")) and atom["resourceNames"][0] in names)


def _resource_covered(have: Any, wanted: str) -> bool:
    if "*" in have or wanted in have:
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in have
