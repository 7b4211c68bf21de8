"""CEL as Kubernetes has it: libraries, errors in cel-go's words, static types."""

from __future__ import annotations

import re
from typing import Any

import pytest

from protocol.cel import CelError, Checker, dynamic
from protocol.cel.devices import MAX_SELECTOR_COST, device_environment, device_value, selector_cost

NAMES = ("self", "oldSelf")


def run(source: str, self: Any = None) -> Any:
    return dynamic(NAMES).compile(source).run({"self": self, "oldSelf": None})


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("[1, 2, 2].isSorted()", True),
        ("[3, 1, 2].sum()", 6),
        ("[3, 1, 2].min()", 1),
        ("[1, 2, 1].lastIndexOf(1)", 2),
        ("[[[1], [2]], [[3]]].flatten()", [[1], [2], [3]]),
        ("[[1], [2, 3]].flatten()", [1, 2, 3]),
        ("[3, 1, 2].sortBy(x, -x)", [3, 2, 1]),
        ("['a', 'b'].transformMap(i, v, v + string(i))", {0: "a0", 1: "b1"}),
        ("{'a': 1, 'b': 2}.transformList(k, v, v > 1, k)", ["b"]),
        ("[1, 2].all(i, v, v == i + 1)", True),
        ("[1, 2].existsOne(v, v == 2)", True),
        ("[1, 2].first().orValue(0) + [1, 2].last().orValue(0)", 3),
        ("[1, 1, 2].distinct()", [1, 2]),
        ("lists.range(3).reverse()", [2, 1, 0]),
        ("'abc 123'.find('[0-9]+')", "123"),
        ("'a1b2'.findAll('[0-9]')", ["1", "2"]),
        ("'%s has %d, %.2f of %x'.format([dyn('x'), 3, 1.5, 255])", "x has 3, 1.50 of ff"),
        ("quantity('1Gi').compareTo(quantity('1024Mi'))", 0),
        ("quantity('500m').add(quantity('1')).isGreaterThan(quantity('1'))", True),
        ("isQuantity('lots')", False),
        ("url('https://a.b:8080/c?d=e').getPort()", "8080"),
        ("url('https://a.b/c?d=e').getQuery()['d']", ["e"]),
        ("isURL('nonsense')", False),
        ("ip('10.0.0.1').family()", 4),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", True),
        ("cidr('10.0.0.0/8').containsCIDR('11.0.0.0/9')", False),
        ("ip.isCanonical('::1')", True),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", True),
        ("semver('1.2.3').minor()", 2),
        ("sets.contains([1, 2, 3], [3, 1])", True),
        ("sets.intersects([1], [2])", False),
        ("format.dns1123Label().validate('ok-name').hasValue()", False),
        ("format.dns1123Label().validate('Bad_').hasValue()", True),
        ("format.named('uuid').value().validate('x').value()", ["does not match the UUID format"]),
        ("jsonpatch.escapeKey('a/b~c')", "a~1b~0c"),
        ("optional.of(1).orValue(2)", 1),
        ("optional.of(1).optMap(x, x + 1).value()", 2),
        ("optional.of(1).optFlatMap(x, optional.none()).hasValue()", False),
        ("{'a': 1}[?'b'].orValue(7)", 7),
        ("[1, ?optional.none(), 2]", [1, 2]),
        ("string(timestamp('2026-01-01T00:00:00Z') + duration('90m'))", "2026-01-01T01:30:00Z"),
        ("timestamp('2026-03-01T00:30:00Z').getHours('-02:00')", 22),
        ("string(timestamp('2026-01-01T00:00:00+02:00') + duration('1h'))", "2026-01-01T01:00:00+02:00"),
        ("string(duration('1h1.5s'))", "3601.5s"),
        ("type(1u) == uint && type([1]) == list && type(null) == null_type", True),
        ("dyn(1) == 1.0 && dyn(1u) == 1 && dyn(true) != 1", True),
        ("-7 / 2 == -3 && -7 % 2 == -1", True),
        ("'tacocat'.substring(4) + 'a,b'.split(',').join('-') + 'aXb'.lowerAscii()", "cata-baxb"),
    ],
)
def test_the_libraries_compute(source: str, value: Any) -> None:
    assert run(source) == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("self.missing", "no such key: missing"),
        ("1 / 0 == 1", "division by zero"),
        ("[1][3] == 1", "index out of bounds: 3"),
        ("quantity('lots').isInteger()", "quantities must match the regular expression"),
        ("[].min() == 1", "min called on empty list"),
        ("self.missing.distinct() == []", "internal error: interface conversion: *types.Err is not traits.Lister"),
        ("9223372036854775807 + 1 == 0", "integer overflow"),
        ("dyn('a') + 1 == 0", "no such overload"),
        ("dyn(1).startsWith('a')", "no such overload: startsWith(int, string)"),
        ("'abc'.matches(dyn('['))", "error parsing regexp: missing closing ]: `[`"),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("int('x') == 1", "type conversion error from 'string' to 'int'"),
        ("dyn('x').all(c, true)", "got 'types.String', expected iterable type"),
        ("self.b ? true : false", "no such key: b"),
        ("['a'].transformMap(i, v, v).size() == 1 && ['a', 'a'].transformMapEntry(i, v, {v: i}).size() == 1",
         "insert failed: key a already exists"),
    ],
)
def test_what_fails_says_so_as_cel_go_does(source: str, words: str) -> None:
    with pytest.raises(CelError, match=re.escape(words)):
        run(source, {})


@pytest.mark.parametrize("source", ["false && 1 / 0 == 1", "1 / 0 == 1 && false", "[0, 2].all(x, 4 / x == 9)"])
def test_what_decides_absorbs_errors(source: str) -> None:
    assert run(source) is False


@pytest.mark.parametrize("source", ["true || 1 / 0 == 1", "1 / 0 == 1 || true", "[0, 2].exists(x, 4 / x == 2)"])
def test_one_truth_is_enough(source: str) -> None:
    assert run(source) is True


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nope == 1", "1:1: undeclared reference to 'nope' (in container '')\n | nope == 1\n | ^"),
        ("1 + 'a' == 1", "1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a' == 1\n | ..^"),
        ("self.x.foo()", "1:11: undeclared reference to 'foo' (in container '')\n | self.x.foo()\n | ..........^"),
        ("'a'.size(1)", "1:9: found no matching overload for 'size' applied to 'string.(int)'\n | 'a'.size(1)\n | ........^"),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        ("true && 1", "1:9: expected type 'bool' but found 'int'\n | true && 1\n | ........^"),
        ("'a'.all(x, true)",
         "1:1: expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)\n | 'a'.all(x, true)\n | ^"),
        ("quantity('1') == 1",
         "1:15: found no matching overload for '_==_' applied to '(kubernetes.Quantity, int)'\n | quantity('1') == 1\n | ..............^"),
        ("duration('1y') > duration('1h')", "1:10: invalid duration argument\n | duration('1y') > duration('1h')\n | .........^"),
        ("'a'.matches('[')", "1:13: invalid matches argument\n | 'a'.matches('[')\n | ............^"),
        ("[1].all(2, true)", "1:9: argument must be a simple name\n | [1].all(2, true)\n | ........^"),
        ("{'a': 1}.all(k, k, true)", "1:17: duplicate variable name: k\n | {'a': 1}.all(k, k, true)\n | ................^"),
    ],
)  # fmt: skip
def test_an_expression_that_does_not_compile_shows_where(source: str, words: str) -> None:
    with pytest.raises(CelError) as caught:
        dynamic(NAMES).compile(source)
    assert str(caught.value) == f"ERROR: <input>:{words}"


def test_every_error_is_told_in_the_order_of_places() -> None:
    with pytest.raises(CelError) as caught:
        dynamic(NAMES).compile("a == 1 &&\n\tb == 2")
    assert str(caught.value) == (
        "ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a == 1 &&\n | ^\n"
        "ERROR: <input>:2:2: undeclared reference to 'b' (in container '')\n |  b == 2\n | .^"
    )


def test_a_tree_too_deep_for_the_machine_is_refused_not_fatal() -> None:
    deep = "(" * 3000 + "1" + ")" * 3000
    with pytest.raises(CelError):
        dynamic(NAMES).compile(deep)
    with pytest.raises(CelError, match="code point size exceeds limit"):
        dynamic(NAMES).compile("1" * 100_001)
    assert dynamic(NAMES).compile(" + ".join(["1"] * 240)).run({}) == 240


def test_selectors_of_devices_may_bind_names() -> None:
    with pytest.raises(CelError, match="undeclared reference to 'cel'"):
        dynamic(NAMES).compile("cel.bind(x, 2, x * x)")
    assert device_environment().compile("cel.bind(x, 2, x * x)").run({}) == 4


SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "when": {"type": "string", "format": "date-time"},
        "my-field": {"type": "boolean"},
        "empty": {"type": "object"},
    },
}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("self.n > 1", "bool"),
        ("self.tags.all(t, t.size() > 1)", "bool"),
        ("self.labels['a'] == 'b'", "bool"),
        ("self.when < timestamp('2026-01-01T00:00:00Z')", "bool"),
        ("self.my__dash__field", "bool"),
        ("self.n", "int"),
    ],
)
def test_the_schema_gives_static_types(source: str, kind: str) -> None:
    assert Checker(SCHEMA).compile(source).kind == kind


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("self.nope == 1", "undefined field 'nope'"),
        ("self.empty.nope == 1", "undefined field 'nope'"),
        ("self.free.anything == 1", "undefined field 'anything'"),
        ("self.n == 'x'", "found no matching overload for '_==_'"),
    ],
)
def test_the_schema_refuses_what_it_does_not_have(source: str, words: str) -> None:
    with pytest.raises(CelError, match=words):
        Checker(SCHEMA).compile(source)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("device.driver == 'd.example.com'", True),
        ("device.attributes['d.example.com'].model == 'a100'", True),
        ("device.attributes['other.example.com'].?model.orValue('none') == 'none'", True),
        ("device.attributes['d.example.com'].version.isGreaterThan(semver('1.9.9'))", True),
        ("device.capacity['d.example.com'].memory.compareTo(quantity('40Gi')) == 0", True),
        ("cel.bind(a, device.attributes['d.example.com'], a.ready && a.index == 3)", True),
    ],
)
def test_a_device_shows_its_attributes_by_domain(source: str, value: Any) -> None:
    device = {
        "attributes": {
            "model": {"string": "a100"}, "d.example.com/version": {"version": "1.10.0"}, "ready": {"bool": True},
            "index": {"int": 3},
        },
        "capacity": {"memory": {"value": "40Gi"}},
    }
    program = device_environment().compile(source)
    assert program.run({"device": device_value(device, "d.example.com")}) is value
    assert selector_cost(program) <= MAX_SELECTOR_COST


def test_a_selector_that_goes_over_all_attributes_of_all_attributes_is_too_dear() -> None:
    deep = "true"
    for _ in range(5):
        deep = f"device.attributes.all(x, {deep})"
    assert selector_cost(device_environment().compile(deep)) > MAX_SELECTOR_COST
