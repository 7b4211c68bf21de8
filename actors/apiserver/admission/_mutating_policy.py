"""MutatingAdmissionPolicy: CEL expressions that change a write.

Owns the two sorts of mutation (an applied configuration and a JSON patch) and when policies run a
second time (k8s.io/apiserver/pkg/admission/plugin/policy/mutating).

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from actors.apiserver.admission._base import DELETE, Attributes, Plugin, Reinvocation, same
from actors.apiserver.admission._matching import EXEMPT, converted, settled
from actors.apiserver.admission._policies import GROUP, Invocation, Policies, Refusal, Rules
from actors.apiserver.admission._policy_terms import Budget, Inputs, Term, conditions_met
from protocol import status
from protocol.api import StatusError
from protocol.cel import CelError, Environment, Message, to_json, type_name
from protocol.objects import mutable
from protocol.schema import ANY, Type

__all__ = ["MutatingAdmissionPolicy"]

Object = dict[str, Any]


class _Mutation:
    """One compiled mutation."""

    def __init__(self, mutation: Object, where: Environment) -> None:
        self.patches = mutation.get("patchType") == "JSONPatch"
        part = mutation.get("jsonPatch" if self.patches else "applyConfiguration") or {}
        self.term = Term(part.get("expression") or "", where)


class MutatingRules(Rules):
    """A compiled policy."""

    mutating: ClassVar[bool] = True

    def __init__(self, policy: Object) -> None:
        super().__init__(policy)
        where = self.scope.environment()
        self.mutations = [_Mutation(m, where) for m in policy["spec"].get("mutations") or ()]
        self.again = policy["spec"].get("reinvocationPolicy") == "IfNeeded"


class MutatingAdmissionPolicy(Plugin):
    """Runs the mutating policies that are bound."""

    name = "MutatingAdmissionPolicy"

    def __init__(self) -> None:
        self._policies = Policies("mutatingadmissionpolicies", "mutatingadmissionpolicybindings", MutatingRules)

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """All but deletions and what configures admission itself."""
        return operation != DELETE and not (group == GROUP and resource in EXEMPT)

    def admit(self, attributes: Attributes) -> Any:
        """Let every policy change the object in turn. Raises `StatusError`."""
        return self._admit(attributes) if self._policies.any(attributes.lookup) else None

    async def _admit(self, attributes: Attributes) -> None:
        refusals: list[Refusal] = []
        turn = Reinvocation.of(attributes, self.name)
        for invocation in list(self._policies.concerning(attributes, refusals.append)):
            await _invoke(attributes, invocation, turn, refusals)
        turn.done(attributes)
        if refusals:
            raise _denied(attributes, refusals)


async def _invoke(
    attributes: Attributes, invocation: Invocation[MutatingRules], turn: Reinvocation, refusals: list[Refusal]
) -> None:
    rules = invocation.rules
    binding = str(invocation.binding["metadata"]["name"])

    def refuse(words: str) -> None:
        if rules.fails:
            refusals.append(Refusal(rules.name, binding, words, "Invalid"))

    try:
        if not conditions_met(rules.conditions, await _inputs(attributes, invocation)):
            return
    except CelError as error:
        refuse(str(error))
        return
    except StatusError as failure:  # a version could not be made
        if rules.fails:
            refusals.append(Refusal(rules.name, "", f"failed to configure policy: {failure.message}"))
        return
    key = (rules.name, binding, _identity(invocation.params))
    if not turn.wants(key) or attributes.object is None:
        return
    before = attributes.object
    for mutation in rules.mutations:
        budget = Budget()
        try:
            changed = await _mutated(attributes, invocation, mutation, budget)
        except CelError as error:
            refuse(str(error))
            continue
        if changed is not None:
            attributes.object = changed
        await budget.breathe(attributes.lookup)
    turn.ran(attributes, key, rules.again, changed=not same(before, attributes.object))


def _identity(params: Object | None) -> tuple[str, str]:
    metadata = params["metadata"] if params is not None else {}
    return metadata.get("namespace", ""), metadata.get("name", "")


async def _inputs(attributes: Attributes, invocation: Invocation[MutatingRules]) -> Inputs:
    lookup, kind = attributes.lookup, invocation.match.kind
    return Inputs(
        attributes,
        invocation.match,
        await converted(lookup, attributes.object, kind),
        await converted(lookup, attributes.old_object, kind),
        await invocation.parameters(lookup),
        invocation.rules.variables,
    )


async def _mutated(
    attributes: Attributes, invocation: Invocation[MutatingRules], mutation: _Mutation, budget: Budget
) -> Object | None:
    """The object after one mutation, in the request's version; None: unchanged. Raises `CelError`."""
    lookup = attributes.lookup
    inputs = await _inputs(attributes, invocation)
    value = inputs.run(mutation.term, budget)
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
    return mutable(await converted(lookup, new, attributes.kind))


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
    operations = [{k: v for k, v in operation.items() if k != "from" or v} for operation in to_json(value)]
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

    if not isinstance(config, Message):
        raise CelError(f"unsupported return type from ApplyConfiguration expression: {type_name(config)}")
    misnamed = "\n".join(_misnamed(config, "Object"))
    if misnamed:
        raise CelError(f"type mismatch: {misnamed}")
    config = {**to_json(config), "apiVersion": obj.get("apiVersion"), "kind": obj.get("kind")}
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


def _misnamed(value: Any, path: str) -> Iterator[str]:
    """Objects whose type is not named by the path of fields that leads to them."""
    if isinstance(value, Message):
        if value.name != path:
            yield (
                f'unexpected type name "{value.name}", expected "{path}", which matches field name path from root'
                " Object type"
            )
        for key, item in value.items():
            yield from _misnamed(item, f"{path}.{key}")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _misnamed(item, path)
    elif isinstance(value, list):
        for item in value:
            yield from _misnamed(item, path)


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
