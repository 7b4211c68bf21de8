"""The status of ValidatingAdmissionPolicies: expressions checked against what they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.controllers._policytypes import expression_warnings, kinds_concerned

Object = dict[str, Any]
WIDGETS: Object = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}},
            }
        ],
    },
}  # fmt: skip


def rule(group: str, version: str, *resources: str) -> Object:
    return {"apiGroups": [group], "apiVersions": [version], "operations": ["*"], "resources": list(resources)}


def policy(*expressions: str, rules: list[Object] | None = None, **more: Any) -> Object:
    constraints = {"resourceRules": rules or [rule("apps", "v1", "deployments")]}
    validations = [{"expression": expression} for expression in expressions]
    return {"metadata": {"name": "p"}, "spec": {"matchConstraints": constraints, "validations": validations, **more}}


def warnings(*expressions: str, **more: Any) -> list[tuple[str, str]]:
    return [(w["fieldRef"], w["warning"]) for w in expression_warnings(policy(*expressions, **more), [WIDGETS])]


def test_a_field_that_a_kind_does_not_have_is_pointed_at() -> None:
    assert warnings("object.spec.replicas > 1", "object.replicas > 1") == [
        (
            "spec.validations[1].expression",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n",
        )
    ]


def test_each_kind_has_its_own_warning() -> None:
    both = [rule("apps", "v1", "replicasets", "deployments"), rule("", "v1", "pods")]
    ((_, text),) = warnings("object.spec.template.spec.containers.size() > 0", rules=both)
    assert text.startswith("/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'template'\n")
    ((_, text),) = warnings("object.replicas > 1", rules=both)
    assert [line.split(": ")[0] for line in text.split("\n") if "ERROR" in line] == [
        "/v1, Kind=Pod", "apps/v1, Kind=Deployment", "apps/v1, Kind=ReplicaSet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "expression",
    [
        "object.metadata.labels['a'] == 'b'", "object.spec.template.spec.containers.all(c, c.image.startsWith('x'))",
        "object.metadata.creationTimestamp > timestamp('2026-01-01T00:00:00Z')", "object.spec.strategy.rollingUpdate.maxSurge == '1'",
        "oldObject == null || object.spec.replicas >= oldObject.spec.replicas", "request.userInfo.groups.exists(g, g == 'x')",
        "authorizer.group('').resource('pods').check('get').allowed()", "namespaceObject.metadata.name == 'x'",
    ],
)  # fmt: skip
def test_what_fits_is_not_warned_of(expression: str) -> None:
    assert warnings(expression) == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("object.spec.replicas == '3'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("object.spec.template.spec.containers.all(c, c.name == 1)", "found no matching overload for '_==_' applied to '(string, int)'"),
        ("object.metadata.labels.size() == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("params.data.x == 1", "undeclared reference to 'params'"),
    ],
)
def test_types_that_do_not_go_together_are_warned_of(expression: str, words: str) -> None:
    ((place, text),) = warnings(expression)
    assert place == "spec.validations[0].expression"
    assert words in text


def test_messages_and_variables_are_checked_too() -> None:
    variables = [{"name": "n", "expression": "object.spec.replicas"}, {"name": "wrong", "expression": "object.nope"}]
    assert warnings("variables.n > 1 && variables.wrong == 1", variables=variables) == []
    ((_, text),) = warnings("variables.n == 'a'", variables=variables)
    assert "applied to '(int, string)'" in text
    found = policy("true")
    found["spec"]["validations"][0]["messageExpression"] = "object.spec.nope"
    ((warning),) = expression_warnings(found, [])
    assert warning["fieldRef"] == "spec.validations[0].messageExpression"


def test_parameters_have_the_type_of_their_kind() -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    assert warnings("params.data['a'] == 'b'", paramKind=kind) == []
    ((_, text),) = warnings("params.spec.x == 'b'", paramKind=kind)
    assert "undefined field 'spec'" in text
    assert warnings("params.anything.goes", paramKind={"apiVersion": "unknown.example/v1", "kind": "Unknown"}) == []


def test_custom_kinds_are_known_by_their_definitions() -> None:
    rules = [rule("example.com", "v1", "widgets")]
    assert warnings("object.spec.size > 1 && object.metadata.uid != ''", rules=rules) == []
    ((_, text),) = warnings("object.spec.color == 'red'", rules=rules)
    assert text.startswith("example.com/v1, Kind=Widget: ERROR: <input>:1:12: undefined field 'color'")


@pytest.mark.parametrize(
    "rules",
    [[rule("*", "v1", "pods")], [rule("apps", "*", "deployments")], [rule("apps", "v1", "*")], [rule("", "v1", "pods/log")], [rule("no.such", "v1", "things")]],
)
def test_wildcards_subresources_and_unknown_kinds_are_not_checked(rules: list[Object]) -> None:
    assert kinds_concerned(policy(rules=rules), []) == []
    assert warnings("object.nope", rules=rules) == []


def test_at_most_ten_kinds_of_a_rule_are_checked() -> None:
    every = ["pods", "services", "secrets", "configmaps", "nodes", "namespaces", "events", "endpoints", "limitranges",
             "resourcequotas", "serviceaccounts", "persistentvolumes"]  # fmt: skip
    assert len(kinds_concerned(policy(rules=[rule("", "v1", *every)]), [])) == 10


def test_the_controller_writes_what_it_found_once_per_generation(plane: Callable[..., Any]) -> None:
    running = plane("validatingadmissionpolicy-status-controller")
    running.create("validatingadmissionpolicies", policy("object.replicas > 1"))
    running.eventually(lambda: (running.get("validatingadmissionpolicies", "p") or {}).get("status"))
    found = running.get("validatingadmissionpolicies", "p")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 1
    (warning,) = found["status"]["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[0].expression"
    (entry,) = [entry for entry in found["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    assert (entry["manager"], entry["operation"]) == ("validatingadmissionpolicy-status", "Apply")
    running.patch("validatingadmissionpolicies", "p", {"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}})
    running.eventually(lambda: running.get("validatingadmissionpolicies", "p")["status"]["observedGeneration"] == 2)
    assert not running.get("validatingadmissionpolicies", "p")["status"].get("typeChecking")
