"""Expressions of admission policies and of webhooks' match conditions: what they see, how they run.

Owns the variables (`object`, `request`, `variables`, `authorizer`, ...) and the rules about
conditions. It must never decide what a result means for the write.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from actors.apiserver.admission._base import CREATE, DELETE, UPDATE, Attributes
from actors.apiserver.admission._matching import Match
from actors.apiserver.cel import CelError, Program, Scope, compile_program, with_authorizer
from protocol.api import UserInfo

__all__ = ["Condition", "Inputs", "Term", "conditions_met", "operation_options", "user_info"]

Object = dict[str, Any]
_NAMES = ("object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables")
_VARIABLE = re.compile(r"\bvariables\.([A-Za-z_][A-Za-z0-9_]*)")
_MISSING = re.compile(r"no such key: ([A-Za-z_][A-Za-z0-9_]*)")
_OPTIONS = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions"}


class Term:
    """One expression of a policy, compiled once. A compile error is kept and raised on use."""

    __slots__ = ("error", "program", "source", "uses")

    def __init__(self, source: str) -> None:
        self.source = source
        self.program: Program | None = None
        self.error = ""
        self.uses = tuple(dict.fromkeys(_VARIABLE.findall(source)))
        """The policy's variables that the expression mentions."""
        try:
            self.program = compile_program(source, _NAMES)
        except CelError as error:
            self.error = f"compilation error: compilation failed: {error}"


class Condition(Term):
    """A match condition."""

    __slots__ = ("name",)

    def __init__(self, name: str, source: str) -> None:
        super().__init__(source)
        self.name = name


def user_info(user: UserInfo) -> Object:
    """A user as admission reviews show it."""
    shown: Object = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


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
        "userInfo": user_info(attributes.user),
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
        self._declared = variables
        self._failed: dict[str, str] = {}
        self._known: Object = {}
        self._scope: Scope | None = None
        self.values: Object = {
            "object": obj,
            "oldObject": old,
            "request": request_object(attributes, match),
            "params": params,
            "namespaceObject": _namespace(attributes),
            "authorizer": _authorizer(attributes),
            "variables": self._known,
        }

    def run(self, term: Term) -> Any:
        """The value of an expression. Raises `CelError`."""
        if term.program is None:
            raise CelError(term.error)
        if term.uses:
            self._need(term.uses)
        with with_authorizer(self._allowed):
            try:
                if self._scope is None:
                    self._scope = Scope(self.values)
                return term.program.run(self._scope)
            except CelError as error:
                missing = _MISSING.search(str(error))
                if missing is not None and missing[1] in self._failed and missing[1] in term.uses:
                    error = CelError(self._failed[missing[1]])
                raise error from None

    def _need(self, names: Iterable[str]) -> None:
        """Compute the variables that an expression mentions, and those that they mention."""
        wanted = set(names)
        for name, term in reversed(self._declared):
            if name in wanted:
                wanted.update(term.uses)
        for name, term in self._declared:
            if name not in wanted or name in self._known or name in self._failed:
                continue
            if term.program is None:
                self._failed[name] = f'composited variable "{name}" fails to compile: {term.error}'
                continue
            try:
                self._known[name] = self.run(term)
                self._scope = None
            except CelError as error:
                self._failed[name] = f'composited variable "{name}" fails to evaluate: {error}'

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


def _authorizer(attributes: Attributes) -> Object:
    from actors.apiserver.cel import AUTHORIZER

    here = {
        "group": attributes.kind.group,
        "resource": attributes.kind.resource,
        "subresource": attributes.subresource,
        "namespace": attributes.namespace,
        "name": attributes.name,
    }
    return {AUTHORIZER: {}, "requestResource": {AUTHORIZER: here}}


def conditions_met(conditions: Sequence[Condition], inputs: Inputs) -> bool:
    """Whether all match conditions hold. One that is false decides; otherwise the errors are raised
    as one `CelError`."""
    errors: list[str] = []
    for condition in conditions:
        try:
            if inputs.run(condition) is False:
                return False
        except CelError as error:
            errors.append(f"expression '{condition.source}' resulted in error: {error}")
    if errors:
        distinct = list(dict.fromkeys(errors))
        raise CelError(distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]")
    return True
