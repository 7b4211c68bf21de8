"""CEL as Kubernetes has it: libraries, errors in cel-go's words, static types."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver.cel import CelError, Scope, check_types, compile_program

NAMES = ("self", "oldSelf")


def run(source: str, self: Any = None) -> Any:
    return compile_program(source, NAMES).run({"self": self, "oldSelf": None})


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("[1, 2, 2].isSorted()", True),
        ("[3, 1, 2].sum()", 6),
        ("[3, 1, 2].min()", 1),
        ("[1, 2, 1].lastIndexOf(1)", 2),
        ("[1, [2, [3]]].flatten()", [1, 2, [3]]),
        ("[1, 1, 2].distinct()", [1, 2]),
        ("lists.range(3).reverse()", [2, 1, 0]),
        ("'abc 123'.find('[0-9]+')", "123"),
        ("'a1b2'.findAll('[0-9]')", ["1", "2"]),
        ("'%s has %d'.format(['x', 3])", "x has 3"),
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
        ("cel.bind(x, 2, x * x)", 4),
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
    ],
)
def test_what_fails_says_so_as_cel_go_does(source: str, words: str) -> None:
    with pytest.raises(CelError, match=words.replace("(", r"\(")):
        run(source, {})


def test_an_expression_that_does_not_compile_shows_where() -> None:
    with pytest.raises(CelError, match=r"undeclared reference to 'nope'") as caught:
        compile_program("nope == 1", NAMES)
    assert "| nope == 1\n | ^" in str(caught.value)


def test_a_scope_serves_many_programs() -> None:
    scope = Scope({"self": {"a": 1}, "oldSelf": None})
    assert [compile_program(s, NAMES).run(scope) for s in ("self.a", "self.a + 1", "oldSelf == null")] == [1, 2, True]


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
        ("self.free.anything == 1", "bool"),
    ],
)
def test_the_schema_gives_static_types(source: str, kind: str) -> None:
    assert check_types(SCHEMA).result_type(source) == kind


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("self.nope == 1", "undefined field 'nope'"),
        ("self.empty.nope == 1", "undefined field 'nope'"),
        ("self.n == 'x'", "found no matching overload for '_==_'"),
    ],
)
def test_the_schema_refuses_what_it_does_not_have(source: str, words: str) -> None:
    with pytest.raises(CelError, match=words):
        check_types(SCHEMA).result_type(source)
