"""Objects, selectors and quantities: pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import objects as o
from protocol.quantity import (
    QuantityError,
    canonical,
    format_quantity,
    milli_value,
    parse_quantity,
    value,
)

json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_trees)
def test_a_mutable_copy_is_equal_and_shares_no_container(tree: object) -> None:
    copy = o.mutable(tree)
    assert copy == tree
    assert not (containers(copy) & containers(tree))


def containers(tree: object) -> set[int]:
    if isinstance(tree, dict):
        return {id(tree)}.union(*(containers(v) for v in tree.values()))
    if isinstance(tree, list):
        return {id(tree)}.union(*(containers(v) for v in tree))
    return set()


def test_a_frozen_object_refuses_every_write_and_can_be_copied() -> None:
    frozen = o.freeze({"metadata": {"labels": {"a": "b"}}, "list": [1]})
    with pytest.raises(TypeError):
        frozen["x"] = 1
    with pytest.raises(TypeError):
        frozen["metadata"]["labels"].update(c="d")
    with pytest.raises(TypeError):
        frozen["list"].append(2)
    copy = o.mutable(frozen)
    copy["metadata"]["labels"]["c"] = "d"
    assert copy["metadata"]["labels"] == {"a": "b", "c": "d"}
    assert frozen["metadata"]["labels"] == {"a": "b"}


def test_a_condition_keeps_its_transition_time_until_its_status_changes() -> None:
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "t0", "reason": "A"}]
    assert not o.set_condition(
        conditions, {"type": "Ready", "status": "True", "reason": "A"}, "t1"
    )
    assert o.set_condition(conditions, {"type": "Ready", "status": "True", "reason": "B"}, "t1")
    assert conditions[0]["lastTransitionTime"] == "t0"
    assert o.set_condition(conditions, {"type": "Ready", "status": "False", "reason": "B"}, "t2")
    assert conditions[0]["lastTransitionTime"] == "t2"


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a in (x, y)", {"a": "y"}, True),
        ("a notin (x,y)", {"a": "y"}, False),
        ("a notin (x,y)", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("n>3", {"n": "4"}, True),
        ("n<3", {"n": "4"}, False),
        ("n<3", {"n": "x"}, False),
        ("example.com/x=1,b==2", {"example.com/x": "1", "b": "2"}, True),
        ("a=", {"a": ""}, True),
        ("in in (in)", {"in": "in"}, True),
        ("", {"anything": "at all"}, True),
    ],
)
def test_a_label_selector_matches(text: str, labels: dict[str, str], expected: bool) -> None:
    assert o.parse_selector(text).matches(labels) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a,", "found '', expected: identifier after ','"),
        ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
    ],
)
def test_a_broken_label_selector_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(o.SelectorError) as error:
        o.parse_selector(text)
    assert str(error.value) == message


def test_a_selector_object_equals_its_text_form() -> None:
    selector = o.selector_of(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert str(selector) == "app=web,!old,tier in (a,b)"
    assert selector.matches({"app": "web", "tier": "a"})
    assert not selector.matches({"app": "web", "tier": "a", "old": ""})


def test_no_selector_object_selects_nothing_and_an_empty_one_everything() -> None:
    assert not o.selector_of(None).matches({})
    assert o.selector_of({}).matches({"a": "b"})


def test_a_field_selector_splits_escapes_and_matches() -> None:
    selector = o.parse_field_selector(r"spec.nodeName=a\,b,status.phase!=Failed")
    assert selector.terms == (("spec.nodeName", "=", "a,b"), ("status.phase", "!=", "Failed"))
    assert selector.matches({"spec.nodeName": "a,b"})
    assert not selector.matches({"spec.nodeName": "a,b", "status.phase": "Failed"})
    with pytest.raises(o.SelectorError, match="can't understand 'x'"):
        o.parse_field_selector("x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100m", "100m"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("0.5Mi", "512Ki"),
        ("1.1Ki", "1126400m"),
        ("1024", "1024"),
        ("1000k", "1M"),
        ("12e6", "12e6"),
        ("0.1n", "1n"),
        ("0", "0"),
        ("-1500m", "-1500m"),
        ("+5", "+5"),  # taken for canonical, as upstream does
        ("3E3", "3E3"),
        ("1e30", "1e30"),
    ],
)
def test_the_canonical_form_of_a_quantity(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected


def test_a_suffix_that_stands_for_nothing_is_named() -> None:
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        canonical("1mi")


def test_a_selector_names_all_that_is_wrong_in_a_term() -> None:
    with pytest.raises(o.SelectorError) as refused:
        o.parse_selector("a in (-,,%s)" % ("x" * 64))
    assert str(refused.value).count("Invalid value") == 2
    assert "values[2][a]" in str(refused.value)
    assert "63 bytes" in str(refused.value)


@pytest.mark.parametrize("text", ["", "a", "1Kii", "1 ", "--1", "1e", "1mm", "1mi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_quantity(text)


@given(st.integers(-(10**17), 10**17))
def test_formatting_a_quantity_loses_nothing(number: int) -> None:
    for style in ("BinarySI", "DecimalSI", "DecimalExponent"):
        assert parse_quantity(format_quantity(number, style)) == number


def test_values_round_up() -> None:
    assert value("1.1") == 2
    assert milli_value("0.1m") == 1
