"""What expressions cost while they run, and that none runs for long."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.cel import CelError, Environment, dynamic
from protocol.cel import _run as runs
from protocol.cel._types import BYTES, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of

NUMBERS, TEXTS = list_of(INT), map_of(STRING, STRING)
LONG = "a" * 500


@pytest.mark.parametrize(
    ("source", "variables", "units"),
    [
        # (type and value of each variable)
        ("'Hello World!'", {}, 0),
        ("input", {"input": (NUMBERS, [1, 2])}, 1),
        ("input['key']", {"input": (TEXTS, {"key": "v"})}, 2),
        ("input[0]", {"input": (NUMBERS, [1])}, 2),
        ("input['ke' + 'y']", {"input": (TEXTS, {"key": "v"})}, 3),
        ("input[3-3]", {"input": (NUMBERS, [1])}, 3),
        ("has(input.a)", {"input": (DYN, {"a": 1})}, 1),
        ("has(input.a.b)", {"input": (DYN, {"a": {}})}, 2),
        ("input.getFullYear()", {"input": (TIMESTAMP, 0)}, 2),
        ("[1, 2, 3]", {}, 0),
        ("[1, 2, input]", {"input": (INT, 3)}, 11),
        ("{'a': input}", {"input": (INT, 3)}, 31),
        ("input.all(x, true)", {"input": (NUMBERS, [])}, 2),
        ("[1, 2, 3].all(x, true)", {}, 10),
        ("input.matches('[0-9]')", {"input": (STRING, LONG)}, 103),
        ("'123'.matches('[0-9]')", {}, 2),
        ("false || false", {}, 0),
        ("a || b", {"a": (DYN, False), "b": (DYN, False)}, 2),
        ("a || b", {"a": (DYN, True), "b": (DYN, False)}, 1),
        ("1 < 2", {}, 1),
        ("1 == 2", {}, 1),
        ("2 in [1, 2, 3]", {}, 0),
        ("2 in input", {"input": (NUMBERS, [1, 2, 3])}, 4),
        ("true ? 1 : 2", {}, 0),
        ("false ? false : 1 > 3", {}, 1),
        ("'12345678901234567890' == '123456789012345678901234567890'", {}, 2),
        ("string(input)", {"input": (BYTES, LONG.encode())}, 51),
        ("bytes(input)", {"input": (STRING, LONG)}, 51),
        ("string(1)", {}, 0),
        ("input.contains(part)", {"input": (STRING, LONG), "part": (STRING, LONG)}, 2502),
        ("input.startsWith(part)", {"input": (STRING, "idc"), "part": (STRING, LONG)}, 3),
        ("size(input)", {"input": (STRING, "500")}, 2),
        ("(x > 2 ? one : two).all(y, true)", {"x": (INT, 1), "one": (NUMBERS, [1]), "two": (NUMBERS, [1])}, 6),
        ("input.all(k, input[k].n > 3)", {"input": (map_of(STRING, map_of(STRING, INT)), {"v": {"n": 1}})}, 9),
        ("(a + b).all(x, true)", {"a": (NUMBERS, []), "b": (NUMBERS, [])}, 4),
        ("'abcdefg'.contains(a + b)", {"a": (STRING, "val1"), "b": (STRING, "val2222222")}, 6),
        ("(1 > 2 ? 5 : 3) > 1", {}, 2),
        ("[1,2,3,4,5].filter(x, x % 2 == 0)", {}, 42),
        ("[1,2,3,4,5].map(x, x)", {}, 66),
        ("[1,2,3,4,5].map(x, x).exists(x, x == 5) == true", {}, 98),
        ("[1,2,3].all(i, i in [1,2,3].map(j, j + j))", {}, 56),
        ("input.distinct()", {"input": (NUMBERS, [1, 2, 3])}, 30),
        ("lists.range(100)", {}, 111),
        ("sets.contains(input, input)", {"input": (NUMBERS, [1, 2, 3])}, 12),
        ("input.lowerAscii()", {"input": (STRING, LONG)}, 51),
        ("input.join(',')", {"input": (list_of(STRING), ["aaaaa", "bbbbb"])}, 4),
        ("quantity('100Mi') == quantity('200Mi')", {}, 3),
        ("format.dns1123Label().validate('my-label-name').hasValue()", {}, 18),
    ],
)
def test_a_run_costs_what_upstream_counts(source: str, variables: dict[str, tuple[Type, Any]], units: int) -> None:
    program = Environment({name: kind for name, (kind, _) in variables.items()}).compile(source)
    assert program.costed({name: value for name, (_, value) in variables.items()})[1] == units


def test_the_limit_is_the_last_unit_that_may_be_spent() -> None:
    program = Environment({"a": STRING, "b": STRING}).compile("'abcdefg'.contains(a + b)")
    values = {"a": "val1", "b": "val2222222"}
    assert program.costed(values, 6) == (False, 6)
    with pytest.raises(CelError, match="operation cancelled: actual cost limit exceeded") as caught:
        program.costed(values, 5)
    assert caught.value.cancelled


MANY = list(range(20_000))
DEEP: dict[str, Any] = {"k": [{"a": [1] * 50} for _ in range(500)]}


@pytest.mark.parametrize(
    "source",
    [
        "self.many.all(x, self.many.all(y, self.many.all(z, x + y + z >= 0)))",
        "self.many.map(x, self.many.map(y, self.many.map(z, z))).size() > 0",
        "self.many.exists(x, x == -1 || self.many.filter(y, y == x).size() == 2)",
        "self.many.all(x, x in self.many)",
        "self.many.all(x, self.deep == self.other)",
        "self.many.map(x, '%s'.format([self.deep])).size() == 0",
        "self.many.distinct().size() == 0",
        "sets.equivalent(self.many, self.many)",
        "lists.range(1000000000000).size() == 0",
        "self.many.transformMap(i, v, v).size() == 0",
        "self.many.map(x, self.text + self.text).join(self.text).size() == 0",
        "self.many.map(x, self.text.replace('a', self.text).size()).size() == 0",
        "self.text.replace('a', self.text).replace('a', self.text).size() == 0",
        "self.many.map(x, self.text.matches('(a*)*(a*)*b')).size() == 0",
        "[self.many].map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x)"
        ".map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x)[0].size() == 0",
        "self.many.all(x, true) || 1 == 1 ? self.many.all(x, self.many.all(y, true)) : false",
        "1 / 0 == 1 || self.many.all(x, self.many.all(y, true)) || true",
    ],
)
def test_no_expression_goes_on_for_ever(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is stopped by the counts of its own run, however long it would have been."""
    made: list[runs.Run] = []
    create = runs.Run.__init__

    def noted(self: runs.Run, variables: dict[str, Any], limit: int) -> None:
        create(self, variables, limit)
        made.append(self)

    monkeypatch.setattr(runs.Run, "__init__", noted)
    values = {"many": MANY, "deep": DEEP, "other": {"k": [{"a": [1] * 50} for _ in range(500)]}, "text": "a" * 20_000}
    with pytest.raises(CelError, match="operation cancelled: actual cost limit exceeded") as caught:
        dynamic(("self",)).compile(source).costed({"self": values})
    (run,) = made
    assert caught.value.cancelled
    # What was counted beyond the limit is the one step that passed it.
    assert run.cost <= runs.PER_CALL_LIMIT or run.work <= runs.MAX_WORK
    assert run.work <= 2 * runs.MAX_WORK


def test_a_run_leaves_the_variables_as_they_were() -> None:
    values = {"self": [3, 1, 2], "x": 9}
    program = dynamic(("self", "x")).compile("self.map(x, x * 2).sort() == [2, 4, 6] && x == 9")
    assert program.run(values) is True
    assert values == {"self": [3, 1, 2], "x": 9}
