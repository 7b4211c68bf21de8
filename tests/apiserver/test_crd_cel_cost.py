"""Estimated costs of validation rules, and what is refused for its cost.

The figures are those that k8s.io/apiextensions-apiserver states for the same schemas.
"""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver.crd._schema_rules import check_schema
from protocol.cel import Checker

Schema = dict[str, Any]


def listed(word: str, most: int | None = None, form: str = "") -> Schema:
    item: Schema = {"x-kubernetes-int-or-string": True} if word == "int-or-string" else {"type": word}
    if form:
        item["format"] = form
    return {"type": "array", "items": item} | ({} if most is None else {"maxItems": most})


def mapped(word: str, most: int | None = None) -> Schema:
    return {"type": "object", "additionalProperties": {"type": word}} | ({} if most is None else {"maxProperties": most})


def text(most: int | None = None) -> Schema:
    return {"type": "string"} | ({} if most is None else {"maxLength": most})


OBJECTS = {"type": "array", "items": {"type": "object", "required": ["required"], "properties": {
    "required": {"type": "string"}, "optional": {"type": "string"}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "rule", "units"),
    [
        (listed("number"), "self.all(x, true)", 4718591),
        (listed("number", 10), "self.all(x, true)", 32),
        (listed("string"), "self.all(x, true)", 3145727),
        (listed("boolean"), "self.all(x, true)", 1887437),
        ({"type": "array", "items": listed("number")}, "self.all(x, true)", 3145727),
        (mapped("number"), "self.all(x, true)", 1348169),
        (mapped("string", 3), "self.all(x, true)", 11),
        (mapped("boolean"), "self.all(x, true)", 943718),
        (text(), "self.contains('test')", 314574),
        (text(10), "self.contains('test')", 5),
        (text(), "self.startsWith('test')", 2),
        (text(), 'size(self + "hello") > size("hello")', 314578),
        (text(4), 'size(self + "hello") > size("hello")', 7),
        (listed("number"), "self[1] == 0.0", 2),
        (listed("string"), "self[1] == self[1]", 314577),
        (listed("number", 10), "self.all(x, self.all(y, true))", 352),
        (listed("number", 10), "self.all(x, self.all(y, self.all(z, true)))", 3552),
        (text(), 'self.matches("x")', 314574),
        (text(50), 'self.matches("x")', 22),
        (text(), '"".matches("(((((((((())))))))))[0-9]")', 7),
        (text(), 'self.matches("")', 1),
        (mapped("number"), 'self["x"] == 0.0', 2),
        (text(0), 'self == "x"', 1),
        (listed("number"), "self.all(x, x == 0.0)", 6291454),
        (listed("number", 3 * 1024 * 2048), "self.all(x, x == 0.0)", 25165826),
        (listed("int-or-string"), "self.all(x, true)", 4718591),
        (listed("int-or-string"), "self[0] == 5", 3),
        ({"type": "array", "items": listed("number")}, "self[0][0] == -1.0", 3),
        ({"type": "array", "items": mapped("number")}, "self.all(x, x.y == 25.2)", 6291452),
        ({"type": "array", "items": mapped("number")}, "self[0].x > 2.0", 4),
        (listed("string", None, "duration"), "self.all(x, true)", 2359295),
        (listed("string", None, "date"), "self.all(x, true)", 725936),
        (listed("string", None, "date-time"), "self.all(x, true)", 428963),
        (listed("string", None, "duration"), "self[0].getHours() == 2", 4),
        (mapped("string"), "self.all(x, x.contains(self[x]))", 2752507),
        (mapped("string", 10) | {"additionalProperties": text(10)}, "self.all(x, x.contains(self[x]))", 72),
        (OBJECTS, "self.all(x, true)", 555128),
        (OBJECTS, "self[0] == null", 2),
        ({"type": "array", "items": {"type": "object", "additionalProperties": OBJECTS["items"]}},
         'self.all(x, x["y"].required == "z")', 7340027),
        (text(), "self.find('[0-9]+') == ''", 629147),
        (text(10), "self.find('[0-9]+') == ''", 11),
        (listed("string"), "self.join(' ') == 'aa bb'", 329853068905),
        ({"type": "array", "maxItems": 10, "items": text(10)}, "self.join(' ') == 'aa bb'", 43),
        (listed("string"), "self.isSorted() == true", 329854432052),
        ({"type": "array", "maxItems": 10, "items": text(10)}, "self.isSorted() == true", 52),
        ({"type": "object", "properties": {"str": text(), "before": text(2), "after": text(4)}},
         "self.str.replace(self.before, self.after) == 'does not matter'", 629154),
        ({"type": "object", "properties": {"str": text(4), "before": text(2), "after": text(4)}},
         "self.str.replace(self.before, self.after) == 'does not matter'", 12),
        ({"type": "object", "properties": {"str": text(), "separator": text()}},
         "self.str.split(self.separator) == []", 629160),
        (text(), "self.lowerAscii() == 'lower!'", 314575),
        (text(10), "self.lowerAscii() == 'lower!'", 6),
        (mapped("integer"), "oldSelf.size() == self.size()", 5),
        ({"type": "string", "enum": ["A", "B", "C", "LongValue"]}, "self.contains('A')", 2),
        ({"x-kubernetes-int-or-string": True}, "isQuantity(self)", 314574),
        ({"x-kubernetes-int-or-string": True, "maxLength": 20}, "isQuantity(self)", 9),
    ],
)
def test_a_rule_costs_what_upstream_estimates(schema: Schema, rule: str, units: int) -> None:
    assert _cost(schema, rule) == units


def _cost(schema: Schema, rule: str) -> int:
    checker = Checker(schema)
    return checker.cost(checker.compile(rule))


def judged(schema: Schema, known: bool = False) -> list[tuple[str, str]]:
    root = {"type": "object", "properties": {"spec": schema}}
    return [(error.field, error.message) for error in check_schema({"openAPIV3Schema": root}, "schema", False, known)]


HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
    " declared)"
)
SPEC = "schema.openAPIV3Schema.properties[spec]"


def test_a_rule_over_its_budget_is_refused_by_a_factor() -> None:
    schema = listed("string") | {"x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]}
    words = f"Forbidden: estimated rule cost exceeds budget by factor of more than 100x {HINT}"
    assert (f"{SPEC}.x-kubernetes-validations[0].rule", words) in judged(schema)
    bounded = schema | {"maxItems": 10, "items": text(10)}
    assert judged(bounded) == []


def test_a_rule_counts_as_often_as_its_place_may_occur() -> None:
    item = {"type": "string", "x-kubernetes-validations": [{"rule": "self.contains('test')"}]}
    found = judged({"type": "array", "items": item})
    assert found[0][0] == f"{SPEC}.items.x-kubernetes-validations[0].rule"
    assert "more than 100x" in found[0][1]
    assert judged({"type": "array", "items": item, "maxItems": 10}) == []
    found = judged({"type": "array", "items": item, "maxItems": 64})
    assert found == [(
        f"{SPEC}.items.x-kubernetes-validations[0].rule",
        f"Forbidden: estimated rule cost exceeds budget by factor of 2.0x {HINT}",
    )]  # fmt: skip


def test_all_rules_of_a_schema_have_a_budget_too() -> None:
    rule = {"rule": "self.contains('test')"}
    item = {"type": "string", "x-kubernetes-validations": [rule] * 30}
    found = judged({"type": "array", "items": item, "maxItems": 12})
    assert [field for field, _ in found] == [
        *(f"{SPEC}.items.x-kubernetes-validations[{i}].rule" for i in range(4)), "schema.openAPIV3Schema",
    ]  # fmt: skip
    assert found[0][1].endswith("contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema")
    assert "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.1" in found[4][1]


def test_a_schema_that_was_there_before_keeps_its_dear_rules() -> None:
    schema = listed("string") | {"x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]}
    assert all("contributed" not in words for _, words in judged(listed("string"), True))
    assert not [words for _, words in judged(schema, True) if words.startswith("Forbidden: estimated rule cost")]


def test_properties_that_differ_in_style_only_are_two() -> None:
    properties = {"jwks_uri": text(9), "jwksUri": text(9), "m_a": mapped("string"), "mA": mapped("string")}
    rule = "(has(self.jwks_uri) ? 1 : 0) + (has(self.jwksUri) ? 1 : 0) < 2 && size(self.m_a) == size(self.mA)"
    assert judged({"type": "object", "properties": properties, "x-kubernetes-validations": [{"rule": rule}]}) == []
