"""Validation rules of custom resources: which run, what they say, what they may cost."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver.crd._node import node_of
from actors.apiserver.crd._rules import Verdict, check_rules

Object = dict[str, Any]
BUDGET = "Invalid value: \"object\": validation failed due to running out of cost budget, no further validation rules will be run"


def judge(schema: Object, value: Any, old: Any = None, root: bool = False, **more: Any) -> Verdict:
    return check_rules(node_of(schema), value, old, root, **more)


def told(verdict: Verdict) -> list[tuple[str, str]]:
    return [(error.field, error.message) for error in verdict.errors]


def holding(rules: list[Object], **properties: Object) -> Object:
    return {"type": "object", "properties": properties, "x-kubernetes-validations": rules}


INTEGER, TEXT = {"type": "integer"}, {"type": "string"}


def test_a_rule_about_an_object_does_not_show_it_but_one_about_a_scalar_does() -> None:
    scalar = {**TEXT, "x-kubernetes-validations": [{"rule": "self != 'bad'", "message": "no"}]}
    schema = holding([{"rule": "self.n > 1"}], n=INTEGER, s=scalar)
    assert told(judge(schema, {"n": 1, "s": "bad"})) == [
        ("<nil>", "Invalid value: failed rule: self.n > 1"),
        ("s", 'Invalid value: "bad": no'),
    ]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("FieldValueForbidden", "Forbidden: no"), ("FieldValueRequired", "Required value: no"), ("FieldValueDuplicate", "Duplicate value"),
        ("FieldValueInvalid", "Invalid value: no"),
    ],
)  # fmt: skip
def test_a_reason_gives_the_kind_of_the_error(reason: str, words: str) -> None:
    verdict = judge(holding([{"rule": "false", "message": "no", "reason": reason}]), {})
    assert [(error.type, error.message) for error in verdict.errors] == [(reason, words)]


@pytest.mark.parametrize(
    ("path", "where"),
    [(".a", "spec.a"), (".m['x.y']", "spec.m[x.y]"), ("['a']", "spec.a"), (".nope", "spec"), ("", "spec"), (".m.k", "spec.m[k]")],
)
def test_a_field_path_is_put_behind_the_place_of_the_rule(path: str, where: str) -> None:
    labels = {"type": "object", "additionalProperties": TEXT}
    inner = holding([{"rule": "false", "message": "no", "fieldPath": path}], a=INTEGER, m=labels)
    assert [field for field, _ in told(judge({"type": "object", "properties": {"spec": inner}}, {"spec": {}}))] == [where]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("'n is ' + string(self.n)", "n is 1"), ("'  '", "plain"), ("'a\\nb'", "plain"), ("string(1 / (self.n - 1))", "plain"),
        ("lists.range(6000).map(i, 'x').join()", "plain"),
    ],
)  # fmt: skip
def test_a_message_expression_is_used_when_it_can_be_shown(expression: str, words: str) -> None:
    rule = {"rule": "self.n > 1", "message": "plain", "messageExpression": expression}
    assert told(judge(holding([rule], n=INTEGER), {"n": 1})) == [("<nil>", f"Invalid value: {words}")]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("1 / self.n > 0", "Invalid value: \"object\": division by zero evaluating rule: 1 / self.n > 0"),
        ("self.s == 'x'", "Invalid value: \"object\": no such key: s evaluating rule: self.s == 'x'"),
        ("self.either.startsWith('x')",
         "Invalid value: \"object\": 'no such overload: startsWith(int, string)': call arguments did not match a supported operator,"
         " function or macro signature for rule: self.either.startsWith('x')"),
        ("self.either + 'a' == ''",
         "Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro signature"
         " for rule: self.either + 'a' == ''"),
    ],
)  # fmt: skip
def test_a_rule_that_fails_to_run_says_why(rule: str, words: str) -> None:
    schema = holding([{"rule": rule}], n=INTEGER, s=TEXT, either={"x-kubernetes-int-or-string": True})
    assert told(judge(schema, {"n": 0, "either": 3})) == [("<nil>", words)]


# --- transitions ------------------------------------------------------------------------------


def test_transition_rules_wait_for_an_old_value() -> None:
    schema = holding([{"rule": "self.n >= oldSelf.n", "message": "shrinks"}], n=INTEGER)
    assert told(judge(schema, {"n": 1})) == []
    assert told(judge(schema, {"n": 1}, {"n": 2})) == [("<nil>", "Invalid value: shrinks")]


def test_with_an_optional_old_value_the_rule_runs_on_creation_too() -> None:
    rule = {"rule": "oldSelf.hasValue() || self.n == 0", "optionalOldSelf": True}
    schema = holding([rule], n=INTEGER)
    assert len(judge(schema, {"n": 1}).errors) == 1
    assert judge(schema, {"n": 0}).errors == []
    assert judge(schema, {"n": 1}, {"n": 5}).errors == []


def test_items_of_map_lists_are_compared_with_those_of_their_keys() -> None:
    item = holding([{"rule": "self.v == oldSelf.v", "message": "fixed"}], k=TEXT, v=INTEGER)
    schema = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    old = [{"k": "a", "v": 1}, {"k": "b", "v": 2}]
    assert told(judge(schema, [{"k": "b", "v": 2}, {"k": "c", "v": 9}, {"k": "a", "v": 3}], old)) == [("[2]", "Invalid value: fixed")]
    atomic = {**schema, "x-kubernetes-list-type": "atomic"}
    assert judge(atomic, [{"k": "a", "v": 3}], old).errors == []


def test_what_was_wrong_and_did_not_change_is_a_warning() -> None:
    inner = holding([{"rule": "self.n > 1", "message": "small"}], n=INTEGER)
    schema = {"type": "object", "properties": {"a": inner, "b": INTEGER}}
    verdict = judge(schema, {"a": {"n": 1}, "b": 2}, {"a": {"n": 1}, "b": 1})
    assert (told(verdict), verdict.warnings) == ([], ["a: Invalid value: small"])
    assert told(judge(schema, {"a": {"n": 0}, "b": 2}, {"a": {"n": 1}, "b": 1})) == [("a", "Invalid value: small")]


def test_items_of_other_lists_are_unchanged_when_the_list_is() -> None:
    item = {**INTEGER, "x-kubernetes-validations": [{"rule": "self > 1", "message": "small"}]}
    schema = {"type": "object", "properties": {"l": {"type": "array", "items": item}, "b": INTEGER}}
    assert judge(schema, {"l": [1, 2], "b": 1}, {"l": [1, 2]}).warnings == ["l[0]: Invalid value: 1: small"]
    assert told(judge(schema, {"l": [1, 3]}, {"l": [1, 2]})) == [("l[0]", "Invalid value: 1: small")]


def test_a_transition_rule_is_not_softened() -> None:
    schema = holding([{"rule": "oldSelf.n != self.n", "message": "must change"}], n=INTEGER)
    assert told(judge(schema, {"n": 1}, {"n": 1})) == [("<nil>", "Invalid value: must change")]


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "schema", "value"),
    [
        ("self.x + 0.5 == 1.5", {"type": "number"}, 1),
        ("self.x.getFullYear() == 2026", {"type": "string", "format": "date-time"}, "2026-01-02T03:04:05Z"),
        ("self.x.getMonth() == 1", {"type": "string", "format": "date"}, "2026-02-03"),
        ("self.x > duration('1h')", {"type": "string", "format": "duration"}, "90m"),
        ("self.x == b'ab'", {"type": "string", "format": "byte"}, "YWI="),
        ("self.x == ['b', 'a']", {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["a", "b"]),
        ("(self.x + ['b', 'c']).size() == 3", {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["a", "b"]),
        ("self.x.a__dash__b == 1", {"type": "object", "properties": {"a-b": INTEGER}}, {"a-b": 1}),
        ("type(self.x) == string ? self.x.endsWith('%') : self.x > 3", {"x-kubernetes-int-or-string": True}, "5%"),
    ],
)
def test_values_are_seen_as_their_schema_says(rule: str, schema: Object, value: Any) -> None:
    assert told(judge(holding([{"rule": rule}], x=schema), {"x": value})) == []


def test_rules_in_all_of_are_rules_of_the_place() -> None:
    part = {"properties": {"n": {"x-kubernetes-validations": [{"rule": "self > 1", "message": "small"}]}},
            "x-kubernetes-validations": [{"rule": "self.n != 0", "message": "zero"}]}  # fmt: skip
    schema = {"type": "object", "properties": {"n": INTEGER}, "allOf": [part]}
    assert told(judge(schema, {"n": 0})) == [("<nil>", "Invalid value: zero"), ("n", "Invalid value: 0: small")]


def test_a_resource_has_a_name_and_a_kind_whatever_its_schema() -> None:
    schema = holding([{"rule": "self.metadata.name != 'bad' && self.kind == 'Widget'", "message": "no"}])
    assert told(judge(schema, {"kind": "Widget", "apiVersion": "a/v1", "metadata": {"name": "bad"}}, root=True)) == [
        ("<nil>", "Invalid value: no")
    ]


# --- costs ------------------------------------------------------------------------------------


def test_a_rule_that_costs_too_much_ends_the_validation() -> None:
    rule = "self.l.all(x, self.l.all(y, x + y >= 0))"
    schema = holding([{"rule": rule}, {"rule": "false"}], l={"type": "array", "items": INTEGER})
    words = (
        "Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due"
        f" to call cost exceeds limit for rule: {rule}"
    )
    assert told(judge(schema, {"l": list(range(2000))})) == [("<nil>", words)]


def test_the_rules_of_an_object_share_a_budget() -> None:
    item = holding([{"rule": "self.l.all(x, x >= 0)"}], l={"type": "array", "items": INTEGER})
    schema = {"type": "array", "items": item}
    value = [{"l": list(range(1000))}] * 5
    one = judge(schema, value[:1]).cost
    assert judge(schema, value).cost == 5 * one
    assert told(judge(schema, value, budget=3 * one + 1)) == [("[3]", BUDGET)]
    assert told(judge(schema, value, budget=3 * one)) == [("[3]", BUDGET)]
    assert told(judge(schema, value, budget=5 * one)) == []
