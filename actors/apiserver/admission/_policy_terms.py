"""Expressions of admission policies and of webhooks' match conditions: what they see, how they run.

Owns the values of variables (`object`, `request`, `variables`, `authorizer`, ...), the budget that the
expressions of a policy share, and the rules about conditions. It must never decide what a result means
for the write.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.apiserver.admission._base import CREATE, DELETE, UPDATE, Attributes, Lookup
from actors.apiserver.admission._matching import Match
from protocol.api import UserInfo
from protocol.cel import (
    CONDITIONS_BUDGET,
    DYN,
    RUNTIME_BUDGET,
    Authorizer,
    CelError,
    Environment,
    Failure,
    Opaque,
    Program,
    ResourceCheck,
    Type,
)
from protocol.cel.policies import environment

__all__ = [
    "Budget", "Condition", "Inputs", "OutOfBudget", "Scope", "Term", "conditions_met", "operation_options",
]  # fmt: skip

Object = dict[str, Any]
_TURN = 100_000
"""Cost units after which the API server looks after other requests."""
_OPTIONS = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions"}


class OutOfBudget(CelError):
    """The expressions of one policy cost more than they may together."""

    def __init__(self) -> None:
        super().__init__("validation failed due to running out of cost budget, no further validation rules will be run")


class Budget:
    """What is left of the cost units that expressions share."""

    __slots__ = ("_since", "left")

    def __init__(self, units: int = RUNTIME_BUDGET) -> None:
        self.left = units
        self._since = 0

    def spend(self, units: int) -> None:
        """Count a cost. Raises `OutOfBudget`."""
        if units > self.left:
            raise OutOfBudget
        self.left -= units
        self._since += units

    async def breathe(self, lookup: Lookup) -> None:
        """Let others have a turn when expressions have run for long: each may take a fraction of a second."""
        if self._since >= _TURN:
            self._since = 0
            await lookup.actor.sleep(0)


class Scope:
    """What the expressions of one policy may mention; `variables` grows as they are declared."""

    def __init__(self, params: bool, mutating: bool = False) -> None:
        self._params = params
        self._mutating = mutating
        self._variables: dict[str, Type] = {}

    def environment(self, authorizer: bool = True) -> Environment:
        """The environment as of now."""
        return environment(self._params, authorizer, self._variables, self._mutating)

    def declare(self, name: str, term: Term) -> None:
        """One more variable."""
        self._variables[name] = term.program.checked.type if term.program is not None else DYN


class Term:
    """One expression of a policy, compiled once. A compile error is kept and raised on use."""

    __slots__ = ("error", "program", "source")

    def __init__(self, source: str, where: Environment) -> None:
        self.source = source
        self.program: Program | None = None
        self.error = ""
        try:
            self.program = where.compile(source)
        except CelError as error:
            self.error = f"compilation failed: {error}"


class Condition(Term):
    """A match condition."""

    __slots__ = ("name",)

    def __init__(self, name: str, source: str, where: Environment) -> None:
        super().__init__(source, where)
        self.name = name


def operation_options(attributes: Attributes) -> Object:
    """The options of the operation, as an object."""
    options: Object = {"kind": _OPTIONS.get(attributes.operation, ""), "apiVersion": "meta.k8s.io/v1"}
    if not options["kind"]:
        return {}
    if attributes.dry_run:
        options["dryRun"] = ["All"]
    names = ("fieldManager", "fieldValidation") if attributes.operation != DELETE else ("propagationPolicy",)
    for name in names:
        if attributes.options.get(name):
            options[name] = attributes.options[name]
    return options


def request_object(attributes: Attributes, match: Match) -> Object:
    """`request`: the AdmissionRequest without the objects."""
    own = Match(attributes.kind)
    subresource = attributes.subresource
    request: Object = {
        "kind": match.gvk(subresource),
        "resource": match.gvr(),
        "requestKind": own.gvk(subresource),
        "requestResource": own.gvr(),
        "name": attributes.name,
        "operation": attributes.operation,
        "userInfo": attributes.user.info(),
        "dryRun": attributes.dry_run,
        "options": operation_options(attributes),
    }
    if attributes.namespace:
        request["namespace"] = attributes.namespace
    elif attributes.kind.kind == "Namespace" and attributes.kind.group == "":
        request["namespace"] = attributes.name
    if subresource:
        request["subResource"] = request["requestSubResource"] = subresource
    return request


class _Variables(Opaque):
    """`variables`: each is evaluated when it is first asked for."""

    __slots__ = ("_declared", "_failed", "_inputs", "_known", "cost")
    kind = "kubernetes.variables"

    def __init__(self, inputs: Inputs, declared: Sequence[tuple[str, Term]]) -> None:
        self._inputs = inputs
        self._declared = dict(declared)
        self._known: Object = {}
        self._failed: dict[str, str] = {}
        self.cost = 0
        """Units that variables have cost and that nobody has been charged for yet."""

    def find(self, name: Any) -> tuple[bool, Any]:
        """A variable's value. Raises `Failure`."""
        if name in self._known:
            return True, self._known[name]
        term = self._declared.get(name)
        if term is None:
            return False, None
        if name not in self._failed:
            if term.program is None:
                self._failed[name] = f'composited variable "{name}" fails to compile: {term.error}'
            else:
                try:
                    self._known[name], cost = term.program.costed(self._inputs.values)
                    self.cost += cost
                    return True, self._known[name]
                except CelError as error:
                    self.cost += error.cost
                    self._failed[name] = f'composited variable "{name}" fails to evaluate: {error}'
        raise Failure(self._failed[name])

    def charge(self) -> int:
        """The units not charged for yet; they are then."""
        cost, self.cost = self.cost, 0
        return cost


class Inputs:
    """What the expressions of one policy see of one write."""

    def __init__(
        self,
        attributes: Attributes,
        match: Match,
        obj: Object | None,
        old: Object | None,
        params: Object | None = None,
        variables: Sequence[tuple[str, Term]] = (),
    ) -> None:
        self.attributes = attributes
        self._variables = _Variables(self, variables)
        here = {
            "group": attributes.kind.group,
            "resource": attributes.kind.resource,
            "subresource": attributes.subresource,
            "namespace": attributes.namespace,
            "name": attributes.name,
        }
        self.values: Object = {
            "object": obj,
            "oldObject": old,
            "request": request_object(attributes, match),
            "params": params,
            "namespaceObject": _namespace(attributes),
            "authorizer": Authorizer(self._allowed),
            "authorizer.requestResource": ResourceCheck(self._allowed, here),
            "variables": self._variables,
        }

    def run(self, term: Term, budget: Budget) -> Any:
        """The value of an expression. Raises `CelError`, or `OutOfBudget` when it was the last that may run."""
        if term.program is None:
            raise CelError(f"compilation error: {term.error}")
        try:
            value, cost = term.program.costed(self.values)
        except CelError as error:
            budget.spend(self._variables.charge())
            budget.spend(error.cost)
            raise CelError(f"expression '{term.source}' resulted in error: {error}") from None
        budget.spend(self._variables.charge())
        budget.spend(cost)
        return value

    def _allowed(self, **question: str) -> bool:
        """The authorizer's answer, for `authorizer` in expressions."""
        attributes = self.attributes
        user = attributes.user
        account = question.get("account")
        if account:
            namespace = account.split(":")[2]
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
            user = UserInfo(account, groups=groups)
        path = question.get("path")
        if path is not None:
            from actors.apiserver._authz import Attributes as Wish

            allowed, _ = attributes.lookup.authorizer.decide(user, Wish(question["verb"], path=path))
            return bool(allowed)
        return attributes.lookup.allowed(
            user,
            question["verb"],
            question.get("group", ""),
            question.get("resource", ""),
            question.get("namespace", ""),
            question.get("name", ""),
            question.get("subresource", ""),
        )


def _namespace(attributes: Attributes) -> Object | None:
    name = attributes.namespace if attributes.kind.namespaced else ""
    found = attributes.lookup.get("", "namespaces", "", name) if name else None
    if found is None:
        return None
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return {**found, "metadata": metadata}


def conditions_met(conditions: Sequence[Condition], inputs: Inputs) -> bool:
    """Whether all match conditions hold. One that is false decides; otherwise the errors are raised
    as one `CelError`."""
    errors: list[str] = []
    budget = Budget(CONDITIONS_BUDGET)
    failed = False
    for condition in conditions:
        try:
            failed = failed or inputs.run(condition, budget) is False
        except OutOfBudget:
            raise
        except CelError as error:
            errors.append(str(error))
    if failed:
        return False
    if errors:
        distinct = list(dict.fromkeys(errors))
        raise CelError(distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]")
    return True
