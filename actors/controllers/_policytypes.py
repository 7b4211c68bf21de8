"""Which types a ValidatingAdmissionPolicy is about, and what is wrong with its expressions for them.

Owns the choice of types (built-in and custom, ten per rule at most) and the form of the warnings. It must
never write anything.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from protocol.cel import DYN, CelError, Type, type_of_kind, type_of_schema
from protocol.cel.policies import checking_environment
from protocol.kinds import DEFAULT_MINOR, served
from protocol.objects import Object, spec
from protocol.schema import Schema, load

__all__ = ["KindName", "expression_warnings", "kinds_concerned"]

MAX_TYPES = 10


class KindName(NamedTuple):
    """A kind in one version; sorts as warnings are sorted."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


def expression_warnings(policy: Object, definitions: Iterable[Object], minor: int = DEFAULT_MINOR) -> list[Object]:
    """What is wrong with a policy's validations for the kinds that it is about. `definitions`: all
    CustomResourceDefinitions."""
    known = list(definitions)
    types = [(kind, found) for kind in kinds_concerned(policy, known, minor) if (found := _type_of(kind, known, minor))]
    if not types:
        return []
    wanted = spec(policy)
    params = _params_kind(wanted)
    params_type = _type_of(params, known, minor) if params is not None else None
    warnings: list[Object] = []
    for index, validation in enumerate(wanted.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            text = validation.get(field)
            if not text:
                continue
            problems = [
                f"{kind}: {problem}\n"
                for kind, type_ in types
                if (problem := _problem(text, wanted.get("variables") or (), type_, params is not None, params_type))
            ]
            if problems:
                warnings.append({"fieldRef": f"spec.validations[{index}].{field}", "warning": "\n".join(problems)})
    return warnings


def _problem(
    text: str, variables: Iterable[Object], object_type: Type, params: bool, params_type: Type | None
) -> str:
    """Why an expression does not fit a type; empty when it does."""
    declared: dict[str, Type] = {}
    for variable in variables:
        where = checking_environment(declared, object_type, params, params_type)
        try:
            declared[variable["name"]] = where.check(variable.get("expression") or "").type
        except CelError:
            declared[variable["name"]] = DYN
    try:
        checking_environment(declared, object_type, params, params_type).check(text)
    except CelError as error:
        return str(error)
    return ""


# --- which kinds ------------------------------------------------------------------------------


def kinds_concerned(policy: Object, definitions: Iterable[Object], minor: int = DEFAULT_MINOR) -> list[KindName]:
    """The kinds that a policy's rules name without wildcards, sorted; ten per rule at most."""
    served_kinds = list(_served(definitions, minor))
    found: set[KindName] = set()
    constraints = spec(policy).get("matchConstraints") or {}
    for rule in constraints.get("resourceRules") or ():
        groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
        if any("*" in word for word in (*groups, *versions)):
            continue
        count = 0
        resources = sorted(word for word in rule.get("resources") or () if "*" not in word and "/" not in word)
        for group, version, resource in ((g, v, r) for g in sorted(groups) for v in sorted(versions) for r in resources):
            for kind, plural, singular in served_kinds:
                if group in ("", kind.group) and kind.version == version and resource in (plural, singular):
                    found.add(kind)
                    count += 1
                    if count == MAX_TYPES:
                        return sorted(found)
    return sorted(found)


def _served(definitions: Iterable[Object], minor: int) -> Iterator[tuple[KindName, str, str]]:
    """Every kind with its plural and singular name."""
    for entry in served(minor):
        yield KindName(entry.group, entry.version, entry.kind), entry.resource, entry.singular
    for definition in definitions:
        wanted = spec(definition)
        names = wanted.get("names") or {}
        for version in wanted.get("versions") or ():
            if version.get("served"):
                kind = KindName(wanted.get("group", ""), version["name"], names.get("kind", ""))
                yield kind, names.get("plural", ""), names.get("singular", "")


def _params_kind(wanted: Object) -> KindName | None:
    kind = wanted.get("paramKind")
    if not kind:
        return None
    group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
    return KindName(group, version, str(kind.get("kind") or ""))


# --- their types ------------------------------------------------------------------------------


def _type_of(kind: KindName, definitions: Iterable[Object], minor: int) -> Type | None:
    """The type of a kind's objects; None when there is no schema of it."""
    schema = load(minor)
    declared = schema.by_gvk(*kind)
    if declared is not None:
        return type_of_kind(declared, kind.kind)
    for definition in definitions:
        wanted = spec(definition)
        if (wanted.get("group"), (wanted.get("names") or {}).get("kind")) != (kind.group, kind.kind):
            continue
        for version in wanted.get("versions") or ():
            if version.get("name") == kind.version:
                structural = (version.get("schema") or {}).get("openAPIV3Schema")
                return type_of_schema(structural or {"type": "object"}, True, kind.kind, _meta(schema))
    return None


def _meta(schema: Schema) -> Type | None:
    return type_of_kind(schema.meta(), "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
