"""Expressions mean what the CEL project's own implementation says they mean."""

from __future__ import annotations

import math
import random
import re
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest

from protocol.cel import CelError, dynamic
from protocol.cel._values import Duration, Opaque, Optional, Timestamp

VALUES: dict[str, Any] = {
    "self": {"n": 3, "f": 1.5, "s": "abc", "t": True, "nil": None, "l": [1, 2, 3], "m": {"a": 1, "b": 2}, "w": ["x", "yy"], "e": []}
}


@cache
def reference() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional, ext_strings

    extensions = [ext_optional.ExtOptional(), ext_strings.ExtStrings(version=2)]
    return cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=extensions)


def theirs(source: str) -> tuple[str, Any]:
    try:
        value = reference().compile(source).eval(data=VALUES)
    except Exception:
        return "error", None
    if "ERROR" in str(value.type().name()).upper():
        return "error", None
    return "value", plain(value.plain_value())


def ours(source: str) -> tuple[str, Any]:
    try:
        return "value", plain(dynamic(("self",)).compile(source).run(VALUES))
    except CelError:
        return "error", None


def plain(value: Any) -> Any:
    """A value in one form for both; numbers keep whether they are whole."""
    if isinstance(value, Timestamp):
        return ("time", int(value))
    if isinstance(value, Duration):
        return ("span", int(value))
    if isinstance(value, datetime):
        return ("time", round(value.timestamp() * 10**9))
    if isinstance(value, timedelta):
        return ("span", round(value.total_seconds() * 10**9))
    if isinstance(value, (Opaque, Optional)):
        return "opaque"
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return ("double", "nan" if math.isnan(value) else value)
    return ("int", int(value)) if isinstance(value, int) else str(value)


@pytest.mark.parametrize(
    "source",
    [
        "1 + 2 * 3 - 4 / 2 % 3", "-(1) - -1 - - 2", "!!true && !false", "- 5", "--5", "1.5e3 + .5 + 2.", "0x1F + 0", "7u / 2u",
        "1 < 2 == true", "1 == 1 == true", "true ? 1 : false ? 2 : 3", "a ? 1 : 2", "self.n in self.l && 'a' in self.m",
        "'\\u00e9\\n\\'' + r'\\n' + '''a'b''' + \"\"\"x\n\"y\"\"\"", "b'\\x01\\377' == b'\\001\\xff'", "'\\q'", "'a' 'b'", "[1,2,]", "{'a':1,}",
        "[]", "{}", "self.l[1] + self['n']", "self.l[5]", "self.m.zz", "self.nil == null", "self.nil.x", "has(self.m.a) && !has(self.m.z)",
        "self.l.all(x, x > 0)", "self.l.exists(x, x > 2)", "self.l.exists_one(x, x > 2)", "self.l.map(x, x * x)", "self.l.map(x, x > 1, x)",
        "self.l.filter(x, x != 2)", "self.m.map(k, self.m[k]).exists(v, v == 2)", "self.e.all(x, false)", "self.l.all(x, 6 / (x - 2) > 0)",
        "self.w.all(w, w.size() > 0 && w.matches('^[xy]+$'))", "self.s.startsWith('ab') && self.s.endsWith('c') && self.s.contains('b')",
        "self.l.map(x, self.l.filter(y, y < x)).filter(z, z.size() > 0)", "self.l.exists(self, self == 2)",
        "size(self.m) + self.l.size() + size('\\u00fc') + size(b'ab')", "type(self.n) == int && type('') == string && type({}) == map",
        "int('12') + int(3.9) + int(-3.9)", "double('1.5') + double(2)", "string(1) + string(true) + string(2.5)", "string(b'a')", "bytes('a')",
        "uint(3) == 3u", "bool('true')", "int('a')", "9223372036854775807 + 1", "-9223372036854775808", "1 / 0", "1 % 0", "1.0 / 0.0",
        "timestamp('2026-02-03T04:05:06.5Z').getFullYear()", "timestamp('2026-02-03T04:05:06Z') - timestamp('2026-02-03T03:05:06Z')",
        "timestamp('2026-02-03T04:05:06Z') + duration('1h30m')", "duration('90s').getMinutes()", "duration('-1.5h')", "duration('x')",
        "timestamp('2026-02-03T23:05:06Z').getDayOfMonth('+02:00')", "timestamp('2026-02-03T23:05:06Z').getDayOfWeek()",
        "self.?n.orValue(9) + self.?zz.orValue(9)", "self[?'n'].hasValue()", "self.l[?9].hasValue()", "optional.of(1).optMap(x, x + 1).value()",
        "{?'a': self.?n, ?'b': self.?zz}", "[?self.?zz, ?self.?n]", "optional.none().or(optional.of(3)).value()", "self.?m.a.orValue(0)",
        "[1, 2] + [3] == [1, 2, 3]", "{'a': [1]} == {'a': [1]}", "self.l == [1, 2, 3] || 1 / 0 == 1", "1 / 0 == 1 || true", "[1, 2] == [1]",
        "'abc'.charAt(1) + 'abc'.substring(1, 2) + 'a-b'.replace('-', '+')", "'a,b,c'.split(',', 2)", "['a', 'b'].join('-')",
        "'  x '.trim() + 'Ab'.lowerAscii() + 'Ab'.upperAscii()", "'tacocat'.indexOf('c', 3) + 'tacocat'.lastIndexOf('ac')",
        "'%d %s %x'.format([1, 2, 255])", "'b' > 'a' && b'b' >= b'a' && true > false", "'a' < 1", "self.s + 1", "self.n + self.f", "self.n < self.f",
        "self.t && 1", "!self.n", "-self.s", "self.n == self.f || self.n != 3.0", "(((((1)))))", "// note\n1 // more\n+ 1", "if", "self.in", "1 +", ")",
        "self.l.map(x, x", "self.l.all(1, true)", "has(self)", "has(self.l[0])", "x.y.z", "self . n", "'a'.b", "google.protobuf",
    ],
)  # fmt: skip
def test_an_expression_means_what_it_means_to_the_reference(source: str) -> None:
    assert ours(source) == theirs(source)


FORMS: dict[str, tuple[list[str], list[str]]] = {
    # per type: what stands alone, and what is made of others (w: whole, s: text, t: truth, l: list, a: anything)
    "w": (
        ["0", "1", "2", "-3", "self.n", "x", "self.m.a", "9223372036854775807"],
        [*(f"(%w {op} %w)" for op in "+-*/"), "(%w mod %w)", "size(%s)", "size(%l)", "(%t ? %w : %w)", "%l[%w]", "-%w"],
    ),
    "s": (["''", "'a'", "'abc'", "self.s", "self.w[0]"], ["(%s + %s)", "string(%w)", "string(%t)", "(%t ? %s : %s)"]),
    "t": (
        ["true", "false", "self.t", "has(self.m.a)", "has(self.m.z)"],
        [
            *(f"(%w {op} %w)" for op in ("<", "<=", ">", ">=", "==", "!=")), "(%t && %t)", "(%t || %t)", "!%t", "(%a == %a)",
            "(%w in %l)", "%s.contains(%s)", "%l.all(x, %t)", "%l.exists(x, %t)", "%l.exists_one(x, %t)",
        ],
    ),
    "l": (
        ["self.l", "[1, 2, 3]", "self.e", "[0]"],
        ["[%w]", "[int(%w), int(%w)]", "(%l + %l)", "%l.map(x, %w)", "%l.filter(x, %t)", "%l.map(x, %t, %w)"],
    ),
    "a": (["null", "self.m", "self.f", "1.5", "self.zz", "dyn(self.s)"], ["%w", "%s", "%t", "%l"]),
}  # fmt: skip


def made(chance: random.Random, kind: str, depth: int) -> str:
    """A random expression of a type."""
    alone, forms = FORMS[kind]
    if not depth or chance.random() < 0.2:
        return chance.choice(alone)
    return re.sub("%([wstla])", lambda found: made(chance, found[1], depth - 1), chance.choice(forms)).replace("mod", "%")


@pytest.mark.parametrize("seed", range(8))
def test_any_expression_means_what_it_means_to_the_reference(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        source = made(chance, chance.choice("wstl"), 4)
        assert (source, ours(source)) == (source, theirs(source))


@pytest.mark.parametrize("source", ["[1, 'a']", "{'a': 1, 'b': 'c'}", "cel.bind(x, 1, x)"])
def test_kubernetes_refuses_some_of_what_the_reference_takes(source: str) -> None:
    assert ours(source) == ("error", None)


@pytest.mark.parametrize(
    ("source", "fine"),
    [("'%s %d'.format([self.s, 1])", True), ("['%s %s'.format([1, 'a'])] == []", True), ("[1, dyn(1)]", False), ("[1, 'a'] == 1", False)],
)
def test_only_format_takes_a_list_of_several_types(source: str, fine: bool) -> None:
    assert (ours(source)[0] == "value") == fine
