"""Validating and mutating admission policies: matching, parameters, verdicts, patches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from actors.apiserver.cel import as_maps

Object = dict[str, Any]
GROUP = "admissionregistration.k8s.io"
NUMBERS = itertools.count()
CONFIG_MAPS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}


def bind(api: Any, policy: Object, sort: str = "validating", rule: Object | None = None, **binding: Any) -> None:
    """Create a policy about config maps (or what `rule` says) and a binding for it."""
    spec = {"matchConstraints": {"resourceRules": [rule or CONFIG_MAPS]}, **policy}
    if sort == "validating":
        binding.setdefault("validationActions", ["Deny"])
    else:
        spec.setdefault("reinvocationPolicy", "Never")
    name = f"p{next(NUMBERS)}"
    api.create(f"{sort}admissionpolicies.{GROUP}", "", {"metadata": {"name": name}, "spec": spec})
    body = {"metadata": {"name": f"{name}-b"}, "spec": {"policyName": name, **binding}}
    api.create(f"{sort}admissionpolicybindings.{GROUP}", "", body)


def denial(error: Any) -> str:
    """What a denial says after naming policy and binding."""
    head, _, rest = error.message.partition(" denied request: ")
    assert " with binding " in head
    return str(rest)


def test_a_failed_validation_refuses_the_write(api: Any, refused: Any) -> None:
    bind(api, {"validations": [{"expression": "object.metadata.name != 'bad'", "message": "not bad"}]})
    api.config_map("good")
    error = refused(api.config_map, "bad")
    assert (error.code, error.reason, denial(error)) == (422, "Invalid", "not bad")


def test_a_reason_gives_the_code(api: Any, refused: Any) -> None:
    bind(api, {"validations": [{"expression": "false", "reason": "Forbidden"}]})
    error = refused(api.config_map, "a")
    assert (error.code, denial(error)) == (403, "failed expression: false")


@pytest.mark.parametrize(
    ("expression", "words"),
    [("'n=' + string(1 + 1)", "n=2"), ("'two\\nlines'", "plain"), ("'  '", "plain"), ("object.nonsense", "plain")],
)
def test_a_message_expression_is_used_when_it_yields_one_line(
    api: Any, refused: Any, expression: str, words: str
) -> None:
    bind(api, {"validations": [{"expression": "false", "message": "plain", "messageExpression": expression}]})
    assert denial(refused(api.config_map, "a")) == words


def test_variables_build_on_each_other(api: Any, refused: Any) -> None:
    variables = [
        {"name": "n", "expression": "size(object.data)"}, {"name": "many", "expression": "variables.n > 2"},
    ]
    bind(api, {"variables": variables, "validations": [{"expression": "!variables.many", "message": "too many"}]})
    api.config_map("a", data={"a": "1"})
    assert denial(refused(api.config_map, "b", data={"a": "1", "b": "2", "c": "3"})) == "too many"


def test_a_variable_that_fails_is_named(api: Any, refused: Any) -> None:
    variables = [{"name": "n", "expression": "object.data.missing"}]
    bind(api, {"variables": variables, "validations": [{"expression": "variables.n == 'x'"}]})
    assert denial(refused(api.config_map, "a", data={"k": "v"})) == (
        "expression 'variables.n == 'x'' resulted in error: composited variable \"n\" fails to evaluate: "
        "no such key: missing"
    )


def test_errors_are_ignored_where_the_policy_says_so(api: Any) -> None:
    bind(api, {"failurePolicy": "Ignore", "validations": [{"expression": "object.data.missing == 'x'"}]})
    api.config_map("a", data={"k": "v"})


def test_match_conditions_exempt_writes(api: Any, refused: Any) -> None:
    condition = {"name": "not-mine", "expression": "request.userInfo.username != 'admin'"}
    bind(api, {"matchConditions": [condition], "validations": [{"expression": "false"}]})
    api.config_map("a")


def test_the_old_object_and_the_request_are_seen(api: Any, refused: Any) -> None:
    rule = "request.operation == 'CREATE' || oldObject.data.k == object.data.k"
    bind(api, {"validations": [{"expression": rule, "message": "fixed"}]})
    api.config_map("a", data={"k": "v"})
    assert denial(refused(api.merge, "configmaps", "default", "a", {"data": {"k": "w"}})) == "fixed"


def test_namespaces_are_selected_and_seen(api: Any, refused: Any) -> None:
    api.create("namespaces", "", {"metadata": {"name": "checked", "labels": {"check": "yes"}}})
    expression = "namespaceObject.metadata.labels['check'] != 'yes'"
    selector = {"namespaceSelector": {"matchLabels": {"check": "yes"}}}
    bind(api, {"validations": [{"expression": expression, "message": "seen"}]}, matchResources=selector)
    api.config_map("a")
    assert denial(refused(api.config_map, "a", "checked")) == "seen"


def test_a_binding_may_exclude_names(api: Any, refused: Any) -> None:
    excluded = {"excludeResourceRules": [{**CONFIG_MAPS, "resourceNames": ["free"]}]}
    bind(api, {"validations": [{"expression": "false"}]}, matchResources=excluded)
    api.config_map("free")
    refused(api.config_map, "other")


def test_parameters_come_from_the_object_that_the_binding_names(api: Any, refused: Any) -> None:
    api.config_map("limits", data={"max": "1"})
    policy = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.spec.replicas <= int(params.data.max)", "message": "too many"}],
    }
    rule = {**CONFIG_MAPS, "apiGroups": ["apps"], "resources": ["deployments"]}
    ref = {"name": "limits", "parameterNotFoundAction": "Deny"}
    bind(api, policy, rule=rule, paramRef=ref)

    def deployment(replicas: int) -> Object:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        return {"metadata": {"name": f"d{replicas}"}, "spec": spec}

    api.create("deployments.apps", "default", deployment(1))
    assert denial(refused(api.create, "deployments.apps", "default", deployment(2))) == "too many"
    api.ask("delete", "configmaps", "default", "limits")
    words = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert denial(refused(api.create, "deployments.apps", "default", deployment(1))) == words


def test_the_authorizer_can_be_asked(api: Any) -> None:
    expression = "authorizer.group('').resource('secrets').namespace('default').check('delete').allowed()"
    bind(api, {"validations": [{"expression": expression}]})
    api.config_map("a")


def test_another_version_of_the_same_resource_is_seen_in_the_version_of_the_rule(api: Any, refused: Any) -> None:
    rule = {**CONFIG_MAPS, "apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"]}
    expression = "object.apiVersion == 'autoscaling/v1' && object.spec.targetCPUUtilizationPercentage < 50"
    bind(api, {"validations": [{"expression": expression, "message": "hot"}]}, rule=rule)
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    body = {"metadata": {"name": "h"}, "spec": {"maxReplicas": 2, "scaleTargetRef": target, "metrics": [metric]}}
    assert denial(refused(api.create, "horizontalpodautoscalers.v2.autoscaling", "default", body)) == "hot"


# --- mutation ---------------------------------------------------------------------------------


def mutation(expression: str, sort: str = "ApplyConfiguration") -> Object:
    part = {"expression": expression}
    found: Object = {"patchType": sort}
    found["applyConfiguration" if sort == "ApplyConfiguration" else "jsonPatch"] = part
    return {"mutations": [found]}


def test_an_applied_configuration_merges(api: Any) -> None:
    bind(api, mutation("Object{metadata: Object.metadata{labels: {'added': object.metadata.name}}}"), "mutating")
    assert api.config_map("a", labels={"mine": "1"})["metadata"]["labels"] == {"mine": "1", "added": "a"}


def test_a_json_patch_patches(api: Any) -> None:
    expression = "[JSONPatch{op: 'add', path: '/data', value: {'k': 'v'}}]"
    bind(api, mutation(expression, "JSONPatch"), "mutating")
    assert api.config_map("a")["data"] == {"k": "v"}


def test_an_atomic_part_is_not_mutated_by_a_configuration(api: Any, refused: Any) -> None:
    rule = {**CONFIG_MAPS, "resources": ["pods"]}
    expression = "Object{spec: Object.spec{nodeSelector: {'a': 'b'}}}"
    bind(api, mutation(expression), "mutating", rule)
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    error = refused(api.create, "pods", "default", body)
    assert error.code == 403
    assert "may not mutate atomic arrays, maps or structs: .spec.nodeSelector" in denial(error)


@pytest.mark.parametrize(
    ("source", "maps"),
    [
        ("Object{spec: Object.spec{replicas: 3}}", '{"spec": {"replicas": 3}}'),
        ("Object{?a: optional.of(x ? 1 : 2)}", '{?"a": optional.of(x ? 1 : 2)}'),
        ("[JSONPatch{op: 'add', value: {'k': v}}]", """[{"op": 'add', "value": {'k': v}}]"""),
        ("'Object{a: 1}'", "'Object{a: 1}'"),
        ("object.spec{a: 1}", "object.spec{a: 1}"),
    ],
)
def test_initializers_of_objects_are_maps(source: str, maps: str) -> None:
    assert as_maps(source) == maps
