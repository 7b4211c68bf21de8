"""MutatingAdmissionPolicy: CEL expressions that change a write.

Owns the two sorts of mutation (an applied configuration and a JSON patch) and when policies run a
second time (k8s.io/apiserver/pkg/admission/plugin/policy/mutating).

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.apiserver.admission._base import DELETE, Attributes, Plugin, Reinvocation, same
from actors.apiserver.admission._matching import EXEMPT, in_version, settled
from actors.apiserver.admission._policies import GROUP, Invocation, Policies, Refusal, Rules
from actors.apiserver.admission._policy_terms import Inputs, Term, conditions_met
from actors.apiserver.cel import CelError, as_maps
from protocol import status
from protocol.api import StatusError
from protocol.objects import mutable
from protocol.schema import ANY, Type

__all__ = ["MutatingAdmissionPolicy"]

Object = dict[str, Any]


class _Mutation:
    """One compiled mutation."""

    def __init__(self, mutation: Object) -> None:
        self.patches = mutation.get("patchType") == "JSONPatch"
        part = mutation.get("jsonPatch" if self.patches else "applyConfiguration") or {}
        self.source = part.get("expression") or ""
        self.term = Term(as_maps(self.source))


class MutatingRules(Rules):
    """A compiled policy."""

    def __init__(self, policy: Object) -> None:
        super().__init__(policy)
        self.mutations = [_Mutation(m) for m in policy["spec"].get("mutations") or ()]
        self.again = policy["spec"].get("reinvocationPolicy") == "IfNeeded"


class MutatingAdmissionPolicy(Plugin):
    """Runs the mutating policies that are bound."""

    name = "MutatingAdmissionPolicy"

    def __init__(self) -> None:
        self._policies = Policies("mutatingadmissionpolicies", "mutatingadmissionpolicybindings", MutatingRules)

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """All but deletions and what configures admission itself."""
        return operation != DELETE and not (group == GROUP and resource in EXEMPT)

    def admit(self, attributes: Attributes) -> None:
        """Let every policy change the object in turn. Raises `StatusError`."""
        if not self._policies.any(attributes.lookup):
            return
        refusals: list[Refusal] = []
        turn = Reinvocation.of(attributes, self.name)
        for invocation in list(self._policies.concerning(attributes, refusals.append)):
            _invoke(attributes, invocation, turn, refusals)
        turn.done(attributes)
        if refusals:
            raise _denied(attributes, refusals)


def _invoke(
    attributes: Attributes, invocation: Invocation[MutatingRules], turn: Reinvocation, refusals: list[Refusal]
) -> None:
    rules = invocation.rules
    binding = str(invocation.binding["metadata"]["name"])

    def refuse(words: str) -> None:
        if rules.fails:
            refusals.append(Refusal(rules.name, binding, words, "Invalid"))

    try:
        if not conditions_met(rules.conditions, _inputs(attributes, invocation)):
            return
    except CelError as error:
        refuse(str(error))
        return
    key = (rules.name, binding, _identity(invocation.params))
    if not turn.wants(key) or attributes.object is None:
        return
    before = attributes.object
    for mutation in rules.mutations:
        try:
            changed = _mutated(attributes, invocation, mutation)
        except CelError as error:
            refuse(str(error))
            continue
        if changed is not None:
            attributes.object = changed
    turn.ran(attributes, key, rules.again, changed=not same(before, attributes.object))


def _identity(params: Object | None) -> tuple[str, str]:
    metadata = params["metadata"] if params is not None else {}
    return metadata.get("namespace", ""), metadata.get("name", "")


def _inputs(attributes: Attributes, invocation: Invocation[MutatingRules]) -> Inputs:
    lookup, kind = attributes.lookup, invocation.match.kind
    return Inputs(
        attributes,
        invocation.match,
        in_version(lookup, attributes.object, kind),
        in_version(lookup, attributes.old_object, kind),
        invocation.params,
        invocation.rules.variables,
    )


def _mutated(attributes: Attributes, invocation: Invocation[MutatingRules], mutation: _Mutation) -> Object | None:
    """The object after one mutation, in the request's version; None: unchanged. Raises `CelError`."""
    lookup = attributes.lookup
    inputs = _inputs(attributes, invocation)
    try:
        value = inputs.run(mutation.term)
    except CelError as error:
        raise CelError(f"expression '{mutation.source}' resulted in error: {error}") from None
    obj = inputs.values["object"]
    if mutation.patches:
        new = _patched(obj, value)
    else:
        new = _applied(_type_of(attributes, obj), obj, value)
    if new is None:
        return None
    from actors.apiserver.fieldvalidation import DecodeFailure

    try:
        new = settled(lookup, new)
    except DecodeFailure as failure:
        raise status.internal_error(str(failure)) from None
    return mutable(in_version(lookup, new, attributes.kind))


def _type_of(attributes: Attributes, obj: Object) -> Type:
    group, _, version = str(obj.get("apiVersion")).rpartition("/")
    served = attributes.lookup.resources.by_kind(group, version, obj.get("kind"))
    found: Type | None
    if served is not None and served.custom is not None:
        found = served.custom.type(served)
    else:
        found = attributes.lookup.schema.by_gvk(group, version, obj.get("kind"))
    return found or ANY


def _patched(obj: Object, value: Any) -> Object | None:
    from actors.apiserver.patch import PatchProblem, apply_operations

    if not isinstance(value, list):
        raise CelError("type mismatch: JSONPatchType.expression should evaluate to array")
    operations = [{k: v for k, v in operation.items() if k != "from" or v} for operation in value]
    if not operations:
        return None
    try:
        changed: Object = apply_operations(mutable(obj), operations)
    except PatchProblem as problem:
        if str(problem).endswith("test failed"):
            return None
        raise CelError(f"JSON Patch: {problem}") from None
    return changed


def _applied(type_: Type, obj: Object, config: Any) -> Object:
    from actors.apiserver.managedfields import check, merge

    if not isinstance(config, dict):
        raise CelError(f"invalid return type: {type(config).__name__}")
    config = {**config, "apiVersion": obj.get("apiVersion"), "kind": obj.get("kind")}
    problems = check(type_, config)
    if problems:
        raise CelError(f"error applying patch: failed to convert patch object to typed object: {problems}")
    atomics = ", ".join(_atomics(type_, config, ""))
    if atomics:
        raise CelError(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + atomics
        )
    merged: Object = mutable(merge(type_, obj, config))
    return merged


def _atomics(type_: Type, value: Any, path: str) -> Iterator[str]:
    """The paths of values that are only owned as a whole."""
    if isinstance(value, dict) and type_.kind in ("object", "map"):
        if type_.atomic:
            yield path
        for key, item in value.items():
            field = type_.fields.get(key) if type_.kind == "object" else None
            below = field.type if field is not None else type_.elem
            if below is not None:
                yield from _atomics(below, item, f"{path}.{key}")
    elif isinstance(value, list) and type_.kind == "list":
        if type_.list_type == "atomic":
            yield path
        for index, item in enumerate(value):
            yield from _atomics(type_.elem or ANY, item, f"{path}[{index}]")


def _denied(attributes: Attributes, refusals: list[Refusal]) -> StatusError:
    """403 with one cause per refusal; the first is the message."""
    error = status.forbidden(attributes.group, attributes.resource, attributes.name, "")
    causes = []
    for refusal in refusals:
        if refusal.binding:
            who = f"policy '{refusal.policy}' with binding '{refusal.binding}'"
        else:
            who = f'policy "{refusal.policy}"'
        causes.append({"message": f"{who} denied request: {refusal.message}"})
    error.status["message"] = causes[0]["message"]
    if refusals[0].reason:
        error.status["reason"] = refusals[0].reason
    error.status["details"]["causes"] = causes
    return error
