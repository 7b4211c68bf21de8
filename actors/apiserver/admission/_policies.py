"""Admission policies and their bindings: which concern a write, with which parameters.

Owns what ValidatingAdmissionPolicy and MutatingAdmissionPolicy share: matching of definitions and
bindings, parameters, and compiled policies kept per revision. What a policy does is in
`_validating_policy` and `_mutating_policy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from actors.apiserver.admission._base import Attributes, Lookup
from actors.apiserver.admission._matching import Match, Problem, converted, find_match, matches_selectors
from actors.apiserver.admission._policy_terms import Condition, Scope, Term
from protocol.kinds import Kind
from protocol.selectors import SelectorError, selector_of

__all__ = ["GROUP", "Invocation", "Policies", "Refusal", "Rules"]

Object = dict[str, Any]
GROUP = "admissionregistration.k8s.io"
_MAX_COMPILED = 1024


class Rules:
    """The compiled expressions that both sorts of policy have."""

    mutating: ClassVar[bool] = False

    def __init__(self, policy: Object) -> None:
        spec = policy["spec"]
        self.name = str(policy["metadata"]["name"])
        self.fails = spec.get("failurePolicy") != "Ignore"
        self.scope = Scope(bool(spec.get("paramKind")), self.mutating)
        self.variables: list[tuple[str, Term]] = []
        for variable in spec.get("variables") or ():
            term = Term(variable["expression"], self.scope.environment())
            self.scope.declare(variable["name"], term)
            self.variables.append((variable["name"], term))
        where = self.scope.environment()
        self.conditions = [Condition(c["name"], c["expression"], where) for c in spec.get("matchConditions") or ()]


_Rules = TypeVar("_Rules", bound=Rules)


class Refusal(NamedTuple):
    """Why a policy refuses. `binding` is empty when the policy itself is at fault."""

    policy: str
    binding: str
    message: str
    reason: str = ""


class Invocation(NamedTuple, Generic[_Rules]):
    """One policy to run: with one binding and one object of parameters."""

    rules: _Rules
    policy: Object
    binding: Object
    match: Match
    params: Object | None
    """The parameters as they are stored."""
    params_kind: Kind | None

    async def parameters(self, lookup: Lookup) -> Object | None:
        """The parameters in the version that the policy names. Raises `StatusError` when a webhook converts
        them and fails."""
        if self.params is None or self.params_kind is None:
            return self.params
        return await converted(lookup, self.params, self.params_kind)


class Policies(Generic[_Rules]):
    """The policies of one sort."""

    def __init__(self, policies: str, bindings: str, compile_: Callable[[Object], _Rules]) -> None:
        self._policies = policies
        self._bindings = bindings
        self._compile = compile_
        self._compiled: dict[str, tuple[str, _Rules]] = {}

    def any(self, lookup: Lookup) -> bool:
        """Whether there is anything to ask; cheap, for the writes of clusters without policies."""
        for _ in lookup.list(GROUP, self._bindings):
            return True
        return False

    def rules(self, policy: Object) -> _Rules:
        """The compiled policy, kept until it changes."""
        metadata = policy["metadata"]
        name, revision = str(metadata["name"]), str(metadata.get("resourceVersion"))
        known = self._compiled.get(name)
        if known is None or known[0] != revision:
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.clear()
            known = (revision, self._compile(policy))
            self._compiled[name] = known
        return known[1]

    def concerning(self, attributes: Attributes, refuse: Callable[[Refusal], None]) -> Iterator[Invocation[_Rules]]:
        """The invocations that a write calls for, in order; `refuse` hears of wrong configurations."""
        lookup = attributes.lookup
        bindings: dict[str, list[Object]] = {}
        for binding in lookup.list(GROUP, self._bindings):
            bindings.setdefault(str(binding["spec"].get("policyName")), []).append(binding)
        for policy in lookup.list(GROUP, self._policies):
            found = bindings.get(policy["metadata"]["name"])
            if found:
                yield from self._of_policy(policy, found, attributes, refuse)

    def _of_policy(
        self, policy: Object, bindings: list[Object], attributes: Attributes, refuse: Callable[[Refusal], None]
    ) -> Iterator[Invocation[_Rules]]:
        rules = self.rules(policy)

        def misconfigured(what: str, binding: str, problem: Problem) -> None:
            if rules.fails:
                refuse(Refusal(rules.name, binding, f"failed to configure {what}: {problem}"))

        try:
            match = _match(policy["spec"].get("matchConstraints") or {}, attributes)
            if match is None:
                return
            _check_param_kind(policy, attributes.lookup)
        except Problem as problem:
            misconfigured("policy", "", problem)
            return
        for binding in bindings:
            try:
                if _match(binding["spec"].get("matchResources"), attributes) is None:
                    continue
                parameters = _parameters(policy, binding, attributes)
            except Problem as problem:
                misconfigured("binding", str(binding["metadata"]["name"]), problem)
                continue
            for params, kind in parameters:
                yield Invocation(rules, policy, binding, match, params, kind)


def _match(resources: Object | None, attributes: Attributes) -> Match | None:
    """How `matchConstraints` or `matchResources` concern a write; None: not."""
    if resources is None:
        return Match(attributes.kind)
    pending: Problem | None = None
    try:
        if not matches_selectors(resources, attributes):
            return None
    except Problem as problem:
        pending = problem
    policy = resources.get("matchPolicy")
    if resources.get("excludeResourceRules") and find_match(resources["excludeResourceRules"], policy, attributes):
        return None
    rules = resources.get("resourceRules")
    found = find_match(rules, policy, attributes) if rules else Match(attributes.kind)
    if found is not None and pending is not None:
        raise pending
    return found


# --- parameters -------------------------------------------------------------------------------


def _served_params(param_kind: Object, lookup: Lookup) -> Any:
    group, _, version = str(param_kind.get("apiVersion") or "").rpartition("/")
    return lookup.resources.by_kind(group, version, param_kind.get("kind"))


def _check_param_kind(policy: Object, lookup: Lookup) -> None:
    param_kind = policy["spec"].get("paramKind")
    if param_kind and _served_params(param_kind, lookup) is None:
        shown = f"{param_kind.get('apiVersion')}, Kind={param_kind.get('kind')}"
        raise Problem(f"failed to find resource referenced by paramKind: '{shown}'")


def _parameters(
    policy: Object, binding: Object, attributes: Attributes
) -> list[tuple[Object | None, Kind | None]]:
    """The objects of parameters to run with, as stored, and the kind that they are wanted in; nothing once
    for none."""
    param_kind, ref = policy["spec"].get("paramKind"), binding["spec"].get("paramRef")
    if not param_kind or not ref:
        return [(None, None)]
    lookup = attributes.lookup
    served = _served_params(param_kind, lookup)
    namespace = _params_namespace(served, ref, attributes)
    group, resource = served.cache.group, served.cache.resource
    found: list[Object]
    if ref.get("name"):
        one = lookup.get(group, resource, namespace, ref["name"])
        found = [one] if one is not None else []
    else:
        try:
            selector = selector_of(ref.get("selector") or {})
        except SelectorError as error:
            raise Problem(str(error)) from None
        found = [
            obj
            for obj in lookup.list(group, resource, namespace)
            if selector.matches(obj["metadata"].get("labels") or {})
        ]
    if not found and ref.get("parameterNotFoundAction") == "Deny":
        raise Problem("no params found for policy binding with `Deny` parameterNotFoundAction")
    return [(obj, served.kind) for obj in found]


def _params_namespace(served: Any, ref: Object, attributes: Attributes) -> str:
    if not served.kind.namespaced:
        if ref.get("namespace"):
            raise Problem("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        return ""
    namespace = str(ref.get("namespace") or attributes.namespace or "")
    if not namespace:
        raise Problem("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    return namespace
