"""ValidatingAdmissionPolicy: CEL expressions that a write must satisfy.

Owns how results become refusals, warnings and audit annotations
(k8s.io/apiserver/pkg/admission/plugin/policy/validating).

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from actors.apiserver.admission._base import CONNECT, Attributes, Plugin
from actors.apiserver.admission._matching import EXEMPT, converted
from actors.apiserver.admission._policies import GROUP, Invocation, Policies, Refusal, Rules
from actors.apiserver.admission._policy_terms import Budget, Inputs, OutOfBudget, Term, conditions_met
from protocol import status
from protocol.api import StatusError
from protocol.cel import CelError, type_name
from protocol.kinds import Kind

__all__ = ["ValidatingAdmissionPolicy"]

Object = dict[str, Any]
_MAX_MESSAGE_BYTES = 5 * 1024
_MAX_FAILURES_NOTED = 50
_MAX_ANNOTATION_BYTES = 10 * 1024
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413}


class _Validation(NamedTuple):
    term: Term
    message: str
    message_term: Term | None
    reason: str


class ValidatingRules(Rules):
    """A compiled policy."""

    def __init__(self, policy: Object) -> None:
        super().__init__(policy)
        spec = policy["spec"]
        where, words = self.scope.environment(), self.scope.environment(authorizer=False)
        self.validations = [
            _Validation(
                Term(v["expression"], where),
                (v.get("message") or "").strip(),
                Term(v["messageExpression"], words) if v.get("messageExpression") else None,
                v.get("reason") or "Invalid",
            )
            for v in spec.get("validations") or ()
        ]
        self.annotations = [(a["key"], Term(a["valueExpression"], where)) for a in spec.get("auditAnnotations") or ()]


class _Failure(NamedTuple):
    place: int
    message: str
    reason: str


class ValidatingAdmissionPolicy(Plugin):
    """Runs the validating policies that are bound."""

    name = "ValidatingAdmissionPolicy"

    def __init__(self) -> None:
        self._policies = Policies("validatingadmissionpolicies", "validatingadmissionpolicybindings", ValidatingRules)

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """All but what configures admission itself."""
        return not (group == GROUP and resource in EXEMPT)

    def validate(self, attributes: Attributes) -> Any:
        """Refuse, warn or note, as the bindings say. The first refusal is what the client reads."""
        return self._validate(attributes) if self._policies.any(attributes.lookup) else None

    async def _validate(self, attributes: Attributes) -> None:
        run = _Run(attributes)
        for invocation in list(self._policies.concerning(attributes, run.refusals.append)):
            await run.invoke(invocation)
        run.finish()


class _Run:
    """The policies' verdicts on one write."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.refusals: list[Refusal] = []
        self._noted: list[Object] = []
        self._annotations: dict[str, list[str]] = {}
        self._versions: dict[str, tuple[Object | None, Object | None]] = {}

    async def _objects(self, kind: Kind) -> tuple[Object | None, Object | None]:
        """The new and the old object in a version, asked for once. Raises `StatusError`."""
        found = self._versions.get(kind.api_version)
        if found is None:
            attributes, lookup = self.attributes, self.attributes.lookup
            new = await converted(lookup, attributes.object, kind)
            found = self._versions[kind.api_version] = (new, await converted(lookup, attributes.old_object, kind))
        return found

    async def invoke(self, invocation: Invocation[ValidatingRules]) -> None:
        """Run one policy with one binding and one parameter object."""
        rules, attributes = invocation.rules, self.attributes
        binding = str(invocation.binding["metadata"]["name"])
        try:
            new, old = await self._objects(invocation.match.kind)
            params = await invocation.parameters(attributes.lookup)
        except StatusError as failure:
            if rules.fails:
                words = f"failed to configure binding: failed to convert object version: {failure.message}"
                self.refusals.append(Refusal(rules.name, binding, words))
            return
        inputs = Inputs(attributes, invocation.match, new, old, params, rules.variables)
        try:
            if not conditions_met(rules.conditions, inputs):
                return
            failures = await _failures(rules, inputs)
        except CelError as error:
            if rules.fails:
                self._act(invocation, binding, [_Failure(0, str(error), "")])
            return
        self._act(invocation, binding, failures)
        await self._annotate(invocation, binding, inputs)

    def _act(self, invocation: Invocation[ValidatingRules], binding: str, failures: list[_Failure]) -> None:
        policy = invocation.rules.name
        actions = invocation.binding["spec"].get("validationActions") or ()
        for failure in failures:
            for action in actions:
                if action == "Deny":
                    self.refusals.append(Refusal(policy, binding, failure.message, failure.reason))
                elif action == "Warn":
                    self.attributes.warnings.append(
                        f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}':"
                        f" {failure.message}"
                    )
                elif action == "Audit":
                    self._noted.append(
                        {
                            "message": failure.message,
                            "policy": policy,
                            "binding": binding,
                            "expressionIndex": failure.place,
                            "validationActions": list(actions),
                        }
                    )

    async def _annotate(self, invocation: Invocation[ValidatingRules], binding: str, inputs: Inputs) -> None:
        rules, budget = invocation.rules, Budget()
        for key, term in rules.annotations:
            try:
                value = inputs.run(term, budget)
            except OutOfBudget as error:
                if rules.fails:
                    self._act(invocation, binding, [_Failure(0, str(error), "")])
                return
            except CelError as error:
                if rules.fails:
                    self.refusals.append(Refusal(rules.name, binding, str(error)))
                continue
            await budget.breathe(self.attributes.lookup)
            if value is None or (isinstance(value, str) and not value.strip()):
                continue
            if not isinstance(value, str):
                words = (
                    f"valueExpression '{term.source}' resulted in unsupported return type: {type_name(value)}. "
                    "Return type must be either string or null."
                )
                self.refusals.append(Refusal(rules.name, binding, words))
                continue
            values = self._annotations.setdefault(f"{rules.name}/{key}", [])
            text = value.strip()[:_MAX_ANNOTATION_BYTES]
            if text not in values:
                values.append(text)

    def finish(self) -> None:
        """Publish what was noted; refuse if any policy does. Raises `StatusError`."""
        notes = self.attributes.audit_annotations
        for key, values in self._annotations.items():
            notes[key] = ", ".join(values)
        if self._noted:
            text = orjson.dumps(self._noted[:_MAX_FAILURES_NOTED]).decode()
            notes["validation.policy.admission.k8s.io/validation_failure"] = text
        if self.refusals:
            raise _denied(self.attributes, self.refusals[0])


async def _failures(rules: ValidatingRules, inputs: Inputs) -> list[_Failure]:
    """The validations that a write does not satisfy. Raises `OutOfBudget`."""
    budget = Budget()
    failed: list[tuple[int, str]] = []
    for index, validation in enumerate(rules.validations):
        try:
            if inputs.run(validation.term, budget) is not True:
                failed.append((index, ""))
        except OutOfBudget:
            raise
        except CelError as error:
            if rules.fails:
                failed.append((index, str(error)))
        await budget.breathe(inputs.attributes.lookup)
    return [
        _Failure(index, words, "") if words else _refused(index, rules, inputs, budget) for index, words in failed
    ]


def _refused(index: int, rules: ValidatingRules, inputs: Inputs, budget: Budget) -> _Failure:
    validation = rules.validations[index]
    if validation.message_term is not None:
        value: Any = None
        try:
            value = inputs.run(validation.message_term, budget)
        except OutOfBudget as error:
            return _Failure(index, f"failed messageExpression: {error}", "")
        except CelError:
            pass
        if isinstance(value, str):
            text = value.strip()
            if text and len(text.encode()) <= _MAX_MESSAGE_BYTES and "\n" not in text:
                return _Failure(index, text, validation.reason)
    message = validation.message or f"failed expression: {validation.term.source.strip()}"
    return _Failure(index, message, validation.reason)


def _denied(attributes: Attributes, refusal: Refusal) -> StatusError:
    bound = f" with binding '{refusal.binding}'" if refusal.binding else ""
    message = f"ValidatingAdmissionPolicy '{refusal.policy}'{bound} denied request: {refusal.message}"
    name = "" if attributes.operation == CONNECT else attributes.name
    error = status.forbidden(attributes.group, attributes.resource, name, message)
    reason = refusal.reason or "Invalid"
    error.status["reason"] = reason
    error.status["code"] = _CODES.get(reason, 422)
    error.status["details"]["causes"] = [{"message": message}]
    return error
