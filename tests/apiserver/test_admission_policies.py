"""Validating and mutating admission policies: matching, parameters, verdicts, patches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from protocol.api import ApiRequest, Resource, UserInfo

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
    [("'n=' + string(1 + 1)", "n=2"), ("'two\\nlines'", "plain"), ("'  '", "plain"), ("string(object.nonsense)", "plain")],
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
    ("expression", "words"),
    [
        ("{'data': {'a': 'b'}}", "must evaluate to Object but got map(string, map(string, string))"),
        ("Object{data: Object.nope{a: 'b'}}", ""),
        ("Object.data{a: 'b'}", "must evaluate to Object but got Object.data"),
        ("Other{a: 'b'}", "undeclared reference to 'Other'"),
    ],
)
def test_a_mutation_builds_objects_of_the_right_types(api: Any, refused: Any, expression: str, words: str) -> None:
    if words:
        assert words in refused(bind, api, mutation(expression), "mutating").status["message"]
        return
    bind(api, mutation(expression), "mutating")
    error = refused(api.config_map, "a")
    assert 'type mismatch: unexpected type name "Object.nope", expected "Object.data"' in denial(error)


# --- costs ------------------------------------------------------------------------------------

DEAR = "lists.range(60000).all(x, x >= 0)"
"""An expression of 360,012 units: within what one may cost; 27 fit into the budget of a policy."""
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
CANCELLED = "operation cancelled: actual cost limit exceeded"


def test_an_expression_that_costs_too_much_is_cancelled(api: Any, refused: Any) -> None:
    hostile = "lists.range(60000).all(x, lists.range(60000).all(y, x + y >= 0))"
    bind(api, {"validations": [{"expression": hostile}]})
    assert denial(refused(api.config_map, "a")) == f"expression '{hostile}' resulted in error: {CANCELLED}"


def test_what_a_policy_ignores_may_cost_too_much(api: Any) -> None:
    hostile = "lists.range(60000).all(x, lists.range(60000).all(y, x + y >= 0))"
    bind(api, {"failurePolicy": "Ignore", "validations": [{"expression": hostile}]})
    api.config_map("a")


def test_the_expressions_of_a_policy_share_a_budget(api: Any, refused: Any) -> None:
    bind(api, {"validations": [{"expression": DEAR}] * 40})
    assert denial(refused(api.config_map, "a")) == OUT_OF_BUDGET


def test_variables_are_paid_for_by_who_asks_first(api: Any, refused: Any) -> None:
    variables = [{"name": f"v{i}", "expression": DEAR} for i in range(40)]
    bind(api, {"variables": variables, "validations": [{"expression": "variables.v0 && variables.v0 && variables.v1"}]})
    api.config_map("a")
    every = " && ".join(f"variables.v{i}" for i in range(40))
    bind(api, {"variables": variables, "validations": [{"expression": every}]})
    assert denial(refused(api.config_map, "b")) == OUT_OF_BUDGET


def test_a_variable_that_fails_says_so(api: Any, refused: Any) -> None:
    expression = "variables.broken > 1"
    bind(
        api, {"variables": [{"name": "broken", "expression": "1 / (size(object.metadata.name) - 1)"}],
              "validations": [{"expression": expression}]},
    )  # fmt: skip
    words = 'composited variable "broken" fails to evaluate: division by zero'
    assert denial(refused(api.config_map, "a")) == f"expression '{expression}' resulted in error: {words}"


def test_match_conditions_have_a_budget_of_their_own(api: Any, refused: Any) -> None:
    conditions = [{"name": f"c{i}", "expression": DEAR} for i in range(10)]
    bind(api, {"matchConditions": conditions, "validations": [{"expression": "true"}]})
    assert denial(refused(api.config_map, "a")) == OUT_OF_BUDGET


@pytest.mark.parametrize(("many", "words"), [(26, "a"), (27, f"failed messageExpression: {OUT_OF_BUDGET}")])
def test_a_message_is_paid_for_by_what_the_validations_leave(api: Any, refused: Any, many: int, words: str) -> None:
    failing = {"expression": "false", "messageExpression": f"{DEAR} ? 'a' : 'b'"}
    bind(api, {"validations": [failing, *[{"expression": DEAR}] * many]})
    assert denial(refused(api.config_map, "a")) == words


def test_a_mutation_that_costs_too_much_is_cancelled(api: Any, refused: Any) -> None:
    hostile = "lists.range(60000).all(x, lists.range(60000).all(y, x + y >= 0)) ? Object{} : Object{}"
    bind(api, mutation(hostile), "mutating")
    assert denial(refused(api.config_map, "a")) == f"expression '{hostile}' resulted in error: {CANCELLED}"


def test_others_are_served_while_a_dear_policy_runs(api: Any) -> None:
    """Between expressions the API server takes other requests: reads that come in meanwhile are answered
    before the write is."""
    bind(api, {"validations": [{"expression": DEAR}] * 20})
    answered: list[str] = []
    maps = Resource("", "v1", "configmaps")
    for verb, body in (("create", {"metadata": {"name": "slow"}}), ("list", None)):
        message = ApiRequest(verb, maps, "default", body=body, user=UserInfo("admin", groups=("system:masters",)))
        api.server.ask(message, block=False).add_callback(lambda future, verb=verb: answered.append(verb))
    api.sim.run(until=lambda: len(answered) == 2, timeout_s=60)
    assert answered == ["list", "create"]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("request.nope == 1", "undefined field 'nope'"),
        ("request.userInfo.groups == 'a'", "found no matching overload for '_==_' applied to '(list(string), string)'"),
        ("namespaceObject.metadata.managedFields.size() > 0", "undefined field 'managedFields'"),
        ("variables.nope", "undefined field 'nope'"),
        ("variables.n == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("object.spec", "must evaluate to bool but got dyn"),
        ("authorizer.check('get').allowed()", "found no matching overload for 'check' applied to"),
    ],
)
def test_a_policy_whose_types_do_not_fit_is_refused(api: Any, refused: Any, expression: str, words: str) -> None:
    policy = {"variables": [{"name": "n", "expression": "size(object.data)"}], "validations": [{"expression": expression}]}
    assert words in refused(bind, api, policy).status["message"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validations": [{"expression": "variables.a"}]}, "undeclared reference to 'variables'"),
        ({"validations": [{"expression": "true", "message": " "}]}, 'message: Invalid value: " ": must be non-empty if specified'),
        ({"validations": [{"expression": "true", "message": "a\nb"}]}, "must not contain line breaks"),
        (
            {"variables": [{"name": "for", "expression": "1"}], "validations": [{"expression": "true"}]},
            'spec.variables[0].name: Invalid value: "for": must be a valid CEL identifier',
        ),
    ],
)
def test_a_validating_policy_is_judged_in_upstreams_words(api: Any, refused: Any, changes: Any, words: str) -> None:
    assert words in refused(bind, api, changes).status["message"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": " "}, "applyConfiguration": {"expression": "Object{}"}}]},
            [
                "spec.mutations[0].jsonPatch.expression: Required value",
                'spec.mutations[0].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch',
            ],
        ),
        (
            {"mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": " variables.a "}}]},
            ['applyConfiguration.expression: Invalid value: "variables.a": compilation failed: ', "undefined field 'a'"],
        ),
        (
            {
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}],
                "matchConstraints": {
                    "resourceRules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["DELETE"]}
                    ]
                },
            },
            [
                'spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": '
                'supported values: "*", "CONNECT", "CREATE", "UPDATE"'
            ],
        ),
    ],
)
def test_a_mutating_policy_is_judged_in_upstreams_words(api: Any, refused: Any, changes: Any, words: list[str]) -> None:
    message = refused(bind, api, changes, "mutating").status["message"]
    for word in words:
        assert word in message


def test_a_warnings_place_is_a_path(api: Any, refused: Any) -> None:
    bind(api, {"validations": [{"expression": "true"}]})
    policies = f"validatingadmissionpolicies.{GROUP}"
    policy = api.ask("list", policies)["items"][0]
    policy = {**policy, "status": {"typeChecking": {"expressionWarnings": [{"fieldRef": "spec.a[", "warning": "w"}, {}]}}}
    message = refused(api.ask, "update", policies, "", policy["metadata"]["name"], policy, "status").status["message"]
    at = "status.typeChecking.expressionWarnings"
    assert f'{at}[0].fieldRef: Invalid value: "spec.a[": invalid JSONPath: ' in message
    assert f"{at}[1].warning: Required value" in message
    assert f"{at}[1].fieldRef: Required value" in message
