"""Running expressions: a checked tree becomes Python functions, one per node, that count their cost.

Owns the order of evaluation, the errors that logic absorbs, comprehensions, and which overload a call
means. Costs per node are as cel-go counts them: a variable, a field and an index one unit each, a list
literal 10, a map 30, an object 40, literals of literals nothing; calls by `_runtime_costs`. It must never
check types or know what an expression is for.

Source: github.com/google/cel-go/interpreter: interpretable.go, attributes.go, runtimecost.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.cel._ast import Expr, Fold
from protocol.cel._checker import Checked
from protocol.cel._library import Overload
from protocol.cel._operators import OPERATORS, convert, find, inside, select
from protocol.cel._run import MAX_TEXT, Broken, Cancelled, Run, weight
from protocol.cel._runtime_costs import call_cost
from protocol.cel._types import Type
from protocol.cel._values import (
    NONE,
    Duration,
    Failure,
    Message,
    Opaque,
    Optional,
    Timestamp,
    TypeName,
    Uint,
    equal,
    type_name,
)

__all__ = ["Code", "compile_code"]

Code = Callable[[Run], Any]
_LIST, _MAP, _STRUCT = 10, 30, 40
_MISSING: Any = object()


_FAILED: Any = type("_Failed", (), {})()
"""Stands for an operand that failed, where only its price is asked for."""


class _Error:
    """A failure that an accumulator holds: a later item may still decide."""

    __slots__ = ("failure",)

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def compile_code(checked: Checked) -> Code:
    """The function that evaluates an expression in a `Run`."""
    return _Compiler(checked).code(checked.expr)


class _Compiler:
    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.accumulators: list[str] = []

    def code(self, expr: Expr) -> Code:
        """The function of a node."""
        value = self.constant(expr)
        if value is not _MISSING:
            return lambda run: value
        if expr.kind in ("ident", "select"):
            return self.attribute(expr, 1)
        made: Code = getattr(self, f"_{expr.kind}")(expr)
        return made

    # --- literals ---------------------------------------------------------------------------

    def constant(self, expr: Expr) -> Any:
        """The value of a literal, or of a list, map or conversion of literals; `_MISSING` otherwise."""
        if expr.kind == "const":
            return expr.value
        named = self.checked.constants.get(expr.id)
        if named is not None:
            return TypeName(named)
        if expr.kind == "list" and not expr.optional:
            values = [self.constant(arg) for arg in expr.args]
            return _MISSING if any(value is _MISSING for value in values) else values
        if expr.kind == "struct" and not expr.name and not any(entry[2] for entry in expr.entries):
            pairs = [(self.constant(key), self.constant(value)) for key, value, _, _ in expr.entries]
            if any(a is _MISSING or b is _MISSING for a, b in pairs):
                return _MISSING
            made = dict(pairs)
            return made if len(made) == len(pairs) else _MISSING
        if expr.kind == "call" and expr.target is None and expr.name in convert and len(expr.args) == 1:
            value = self.constant(expr.args[0])
            if value is not _MISSING:
                try:
                    return convert[expr.name](value)
                except Failure:
                    return _MISSING
        return _MISSING

    def _list(self, expr: Expr) -> Code:
        codes = [self.code(arg) for arg in expr.args]
        if not expr.optional:

            def plain(run: Run) -> list[Any]:
                run.charge(_LIST)
                return [code(run) for code in codes]

            return plain
        optional = expr.optional

        def some(run: Run) -> list[Any]:
            run.charge(_LIST)
            made = []
            for place, code in enumerate(codes):
                value = code(run)
                if place in optional:
                    value = _as_optional(value)
                    if not value.held:
                        continue
                    value = value.value
                made.append(value)
            return made

        return some

    def _struct(self, expr: Expr) -> Code:
        entries = [
            (self.code(key) if isinstance(key, Expr) else None, key, self.code(value), optional)
            for key, value, optional, _ in expr.entries
        ]
        units = _STRUCT if expr.name else _MAP
        message = expr.name

        def build(run: Run) -> dict[Any, Any]:
            run.charge(units)
            made: dict[Any, Any] = {}
            for key_code, name, code, optional in entries:
                key = name if key_code is None else key_code(run)
                value = code(run)
                if optional:
                    value = _as_optional(value)
                    if not value.held:
                        continue
                    value = value.value
                if key in made and key_code is not None:
                    raise Failure(f"Failed with repeated key: {key}")
                made[key] = value
            if message:
                made = Message(made)
                made.name = message
            return made

        return build

    # --- variables and members --------------------------------------------------------------

    def attribute(self, expr: Expr, base: int) -> Code:
        """A variable, a member of something, or a choice. `base` is what the root costs: nothing where
        a condition chose it."""
        if expr.kind == "ident":
            return self._ident(expr, base)
        if expr.kind == "select":
            assert expr.target is not None
            operand = self._operand(expr.target, base)
            return _presence(operand, expr.name) if expr.test else _member(operand, expr.name)
        name = expr.name
        if name == "_[_]":
            return self._index(expr, base)
        if name in ("_?._", "_[?_]"):
            return self._optional_member(expr, base)
        return self._choice(expr)

    def _operand(self, expr: Expr, base: int) -> Code:
        if _is_attribute(expr) and self.constant(expr) is _MISSING:
            return self.attribute(expr, base)
        code = self.code(expr)
        if not base:
            return code

        def counted(run: Run) -> Any:
            value = code(run)
            run.cost += 1
            return value

        return counted

    def _ident(self, expr: Expr, base: int) -> Code:
        name = expr.name.removeprefix(".")
        if name in self.accumulators:

            def accumulated(run: Run) -> Any:
                run.cost += base
                value = run.variables[name]
                if value.__class__ is _Error:
                    raise value.failure
                return value

            return accumulated

        def variable(run: Run) -> Any:
            run.cost += base
            try:
                return run.variables[name]
            except KeyError:
                raise Failure(f"no such attribute(s): {name}") from None

        return variable

    def _index(self, expr: Expr, base: int) -> Code:
        operand = self._operand(expr.args[0], base)
        key = self.constant(expr.args[1])
        if key is not _MISSING:
            return _member(operand, key)
        place, units = self._key(expr.args[1])

        def item(run: Run) -> Any:
            holder = operand(run)
            found = place(run)
            run.cost += units
            return select(holder, found)

        return item

    def _key(self, expr: Expr) -> tuple[Code, int]:
        """A computed key, and what it costs beyond itself: a variable is a qualifier on its own."""
        if _is_attribute(expr):
            return self.attribute(expr, 1), 0
        return self.code(expr), 1

    def _optional_member(self, expr: Expr, base: int) -> Code:
        operand = self._operand(expr.args[0], base)
        key = self.constant(expr.args[1])
        place, units = (None, 1) if key is not _MISSING else self._key(expr.args[1])

        def maybe(run: Run) -> Optional:
            holder = operand(run)
            found = key if place is None else place(run)
            held, value = find(holder, found)
            if not held:
                return NONE
            run.cost += units
            return Optional(True, value)

        return maybe

    def _choice(self, expr: Expr) -> Code:
        condition = self.code(expr.args[0])
        yes, no = (
            self.attribute(arg, 0) if _is_attribute(arg) and self.constant(arg) is _MISSING else self.code(arg)
            for arg in expr.args[1:]
        )

        def choose(run: Run) -> Any:
            chosen = condition(run)
            if chosen is True:
                return yes(run)
            if chosen is False:
                return no(run)
            raise Failure("no such overload")

        return choose

    # --- calls ------------------------------------------------------------------------------

    def _call(self, expr: Expr) -> Code:
        name = expr.name
        if name in ("_[_]", "_?._", "_[?_]", "_?_:_"):
            return self.attribute(expr, 1)
        if name in ("_&&_", "_||_"):
            return _logic(self.code(expr.args[0]), self.code(expr.args[1]), name == "_||_")
        if name == "@not_strictly_false":
            return _not_strictly_false(self.code(expr.args[0]))
        args = [*([expr.target] if expr.target is not None else []), *expr.args]
        if name in ("or", "orValue") and expr.target is not None and len(args) == 2:
            return _otherwise(self.code(args[0]), self.code(args[1]), name == "orValue")
        overloads = self.checked.overloads.get(expr.id, ())
        if name == "@in":
            return self._inside(args, overloads)
        codes = [self.code(arg) for arg in args]
        types = [self.checked.types[arg.id] for arg in args]
        if name in ("_==_", "_!=_"):
            return _equality(codes[0], codes[1], types, name == "_!=_")
        identity = overloads[0].id if len(overloads) == 1 else ""
        rule = call_cost(name, identity)
        if name in OPERATORS:
            return _operator(OPERATORS[name], codes, rule)
        return _function(name, codes, _dispatcher(name, overloads, types), rule, _makes_much(name, overloads))

    def _inside(self, args: list[Expr], overloads: tuple[Overload, ...]) -> Code:
        item, holder = self.code(args[0]), self.constant(args[1])
        if isinstance(holder, list) and not holder:
            return lambda run: False
        if isinstance(holder, list) and all(isinstance(v, (str, int, float)) for v in holder):
            texts = frozenset(value for value in holder if type(value) is str)

            def among(run: Run) -> bool:
                value = item(run)
                return value in texts if type(value) is str else any(equal(value, other) for other in holder)

            return among
        items = self.code(args[1])
        counted = len(overloads) == 1 and overloads[0].id == "in_list"

        def contained(run: Run) -> bool:
            value, found = _pair(run, item, items, _one_unit)
            size = len(found) if isinstance(found, list) else 1
            run.charge(size if counted else 1)
            run.walk(size)
            return inside(value, found)

        return contained

    # --- comprehensions ---------------------------------------------------------------------

    def _fold(self, expr: Expr) -> Code:
        fold = expr.fold
        assert fold is not None
        over, start = self.code(fold.over), self.code(fold.start)
        self.accumulators.append(fold.accumulator)
        kind = _quantifier(fold)
        if kind:
            step = self.code(fold.step.args[1])
            made = _quantified(fold, over, step, kind == "exists")
        elif _is_collection(fold):
            made = self._collected(fold, over)
        else:
            codes = (self.code(fold.condition), self.code(fold.step), self.code(fold.result))
            made = _folded(fold, over, start, *codes)
        self.accumulators.pop()
        return made

    def _collected(self, fold: Fold, over: Code) -> Code:
        """`map`, `filter` and their like: a list that grows by one item."""
        step, condition = fold.step, None
        if step.name == "_?_:_":
            condition, step = self.code(step.args[0]), step.args[1]
        item = step.args[1].args[0]
        units = 2 + (0 if self.constant(item) is not _MISSING else _LIST)
        return _collection(fold, over, condition, self.code(item), units)


# --- shapes of comprehensions -----------------------------------------------------------------


def _quantifier(fold: Fold) -> str:
    """`all` or `exists`, when a comprehension is one whose result is its accumulator."""
    step = fold.step
    if step.kind != "call" or len(step.args) != 2 or not _is_ident(step.args[0], fold.accumulator):
        return ""
    if not _is_ident(fold.result, fold.accumulator) or fold.condition.name != "@not_strictly_false":
        return ""
    asked = fold.condition.args[0]
    if step.name == "_&&_" and fold.start.value is True and _is_ident(asked, fold.accumulator):
        return "all"
    if step.name == "_||_" and fold.start.value is False and asked.name == "!_":
        return "exists"
    return ""


def _is_collection(fold: Fold) -> bool:
    step = fold.step
    if step.kind == "call" and step.name == "_?_:_" and _is_ident(step.args[2], fold.accumulator):
        step = step.args[1]
    return (
        fold.start.kind == "list"
        and not fold.start.args
        and fold.condition.value is True
        and _is_ident(fold.result, fold.accumulator)
        and step.kind == "call"
        and step.name == "_+_"
        and _is_ident(step.args[0], fold.accumulator)
        and step.args[1].kind == "list"
        and len(step.args[1].args) == 1
        and not step.args[1].optional
    )


def _is_ident(expr: Expr, name: str) -> bool:
    return expr.kind == "ident" and expr.name == name


_ATTRIBUTE_CALLS = frozenset(("_[_]", "_?._", "_[?_]", "_?_:_"))


def _is_attribute(expr: Expr) -> bool:
    return expr.kind in ("ident", "select") or (expr.kind == "call" and expr.name in _ATTRIBUTE_CALLS)


_GO_TYPES = {
    bool: "types.Bool", int: "types.Int", Uint: "types.Uint", float: "types.Double", str: "types.String",
    bytes: "types.Bytes", type(None): "types.Null", Timestamp: "types.Timestamp", Duration: "types.Duration",
    Optional: "*types.Optional",
}  # fmt: skip


def _items(found: Any, two: bool) -> Any:
    """What a comprehension goes over: pairs when it has two variables."""
    if isinstance(found, dict):
        return list(found.items()) if two else list(found)
    if isinstance(found, list):
        return list(enumerate(found)) if two else found
    raise Failure(f"got '{_GO_TYPES.get(type(found), type_name(found))}', expected iterable type")


class _Bound:
    """The variables of a comprehension, which hide others of their names while it runs."""

    __slots__ = ("_before", "_names", "_variables")

    def __init__(self, run: Run, *names: str) -> None:
        self._variables = run.variables
        self._names = names
        self._before = [run.variables.get(name, _MISSING) for name in names]

    def restore(self) -> None:
        """Give the names back."""
        for name, value in zip(self._names, self._before, strict=True):
            if value is _MISSING:
                self._variables.pop(name, None)
            else:
                self._variables[name] = value


def _quantified(fold: Fold, over: Code, test: Code, exists: bool) -> Code:
    first, second = fold.variable, fold.variable2
    before = 4 if exists else 3
    """The condition, and the accumulator in the step."""

    def run_all(run: Run) -> bool:
        items = _items(over(run), bool(second))
        variables, bound = run.variables, _Bound(run, first, second)
        failure: Failure | None = None
        decided = False
        try:
            for item in items:
                if decided:
                    run.cost += before - 1  # the condition that ends the loop
                    break
                run.charge(before)
                if second:
                    variables[first], variables[second] = item
                else:
                    variables[first] = item
                try:
                    value = test(run)
                    if value is exists:
                        decided = True
                    elif value is not (not exists):
                        failure = failure or Failure("no such overload")
                except Failure as problem:
                    failure = failure or problem
        finally:
            bound.restore()
        run.charge(1)
        if decided:
            return exists
        if failure is not None:
            raise failure
        return not exists

    return run_all


def _collection(fold: Fold, over: Code, condition: Code | None, item_code: Code, units: int) -> Code:
    first, second = fold.variable, fold.variable2

    def collect(run: Run) -> list[Any]:
        items = _items(over(run), bool(second))
        variables, bound = run.variables, _Bound(run, first, second)
        made: list[Any] = []
        failure: Failure | None = None
        try:
            for item in items:
                if second:
                    variables[first], variables[second] = item
                else:
                    variables[first] = item
                try:
                    if condition is not None:
                        chosen = condition(run)
                        if chosen is False:
                            run.charge(0)
                            continue
                        if chosen is not True:
                            raise Failure("no such overload")
                    run.charge(units)
                    made.append(item_code(run))
                except Failure as problem:
                    failure = failure or problem
        finally:
            bound.restore()
        run.charge(1)
        if failure is not None:
            raise failure
        return made

    return collect


def _folded(fold: Fold, over: Code, start: Code, condition: Code, step: Code, result: Code) -> Code:
    first, second, name = fold.variable, fold.variable2, fold.accumulator
    inserts = fold.step.name == "cel.@mapInsert" or any(arg.name == "cel.@mapInsert" for arg in fold.step.args)

    def loop(run: Run) -> Any:
        items = _items(over(run), bool(second))
        variables, bound = run.variables, _Bound(run, name, first, second)
        variables[name] = start(run)
        try:
            for item in items:
                if condition(run) is not True:
                    break
                if second:
                    variables[first], variables[second] = item
                else:
                    variables[first] = item
                try:
                    variables[name] = step(run)
                except Failure as failure:
                    variables[name] = _Error(failure)
                run.charge(0)
                if inserts:
                    run.walk(len(variables[name]) if isinstance(variables[name], dict) else 1)
            return result(run)
        finally:
            bound.restore()

    return loop


# --- single nodes -----------------------------------------------------------------------------


def _member(operand: Code, key: Any) -> Code:
    def member(run: Run) -> Any:
        holder = operand(run)
        run.cost += 1
        if holder.__class__ is dict:
            value = holder.get(key, _MISSING)
            if value is not _MISSING:
                return value
        return select(holder, key)

    return member


def _presence(operand: Code, name: str) -> Code:
    def present(run: Run) -> bool:
        return find(operand(run), name)[0]

    return present


def _as_optional(value: Any) -> Optional:
    if isinstance(value, Optional):
        return value
    raise Failure(f"cannot initialize optional list element from non-optional value {value}")


def _logic(left: Code, right: Code, decides: bool) -> Code:
    def logic(run: Run) -> bool:
        failure: Failure | None = None
        try:
            value = left(run)
            if value is decides:
                return decides
            if value is not (not decides):
                failure = Failure("no such overload")
        except Failure as problem:
            failure = problem
        value = right(run) if failure is None else _value_or_none(right, run)
        if value is decides:
            return decides
        if failure is not None:
            raise failure
        if value is not (not decides):
            raise Failure("no such overload")
        return not decides

    return logic


def _value_or_none(code: Code, run: Run) -> Any:
    try:
        return code(run)
    except Failure:
        return None


def _not_strictly_false(code: Code) -> Code:
    def lenient(run: Run) -> bool:
        run.cost += 1
        try:
            return code(run) is not False
        except Failure:
            return True

    return lenient


def _otherwise(left: Code, right: Code, value: bool) -> Code:
    def choose(run: Run) -> Any:
        found = left(run)
        if not isinstance(found, Optional):
            raise Failure("no such overload")
        if found.held:
            return found.value if value else found
        return right(run)

    return choose


_COMPARED, _WRITTEN = 8, 20
"""How much dearer than a step over an item it is to compare or to write one."""
_DEEP = ("format", "distinct", "flatten")
_PLAIN = frozenset(("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "null"))


def _equality(left: Code, right: Code, types: list[Type], negated: bool) -> Code:
    plain = all(found.kind in _PLAIN for found in types)
    rule = call_cost("_==_", "")
    assert rule is not None

    def compare(run: Run) -> bool:
        a, b = _pair(run, left, right, rule)
        run.charge(rule([a, b]))
        if not plain and isinstance(a, (dict, list)) and a is not b:
            run.walk(weight(a) * _COMPARED)
        return equal(a, b) is not negated

    return compare


def _one_unit(values: list[Any]) -> int:
    return 1


def _pair(run: Run, left: Code, right: Code, rule: Callable[[list[Any]], int]) -> tuple[Any, Any]:
    """Two operands. Both are evaluated and the operation is paid for, even when one fails."""
    try:
        a = left(run)
    except Failure as failure:
        try:
            b = right(run)
        except Failure:
            b = _FAILED
        run.charge(_priced(rule, [_FAILED, b]))
        raise failure from None
    try:
        return a, right(run)
    except Failure:
        run.charge(_priced(rule, [a, _FAILED]))
        raise


def _operator(act: Callable[..., Any], codes: list[Code], rule: Callable[[list[Any]], int] | None) -> Code:
    if len(codes) == 1:
        only = codes[0]

        def unary(run: Run) -> Any:
            run.charge(1)
            return act(only(run))

        return unary
    left, right = codes
    price = rule or _one_unit

    def binary(run: Run) -> Any:
        a, b = _pair(run, left, right, price)
        run.charge(price([a, b]))
        if isinstance(a, (list, str)):
            run.walk(len(a))
        return act(a, b)

    return binary


_MAKERS = ("replace", "format", "flatten", "distinct", "sort", "@sortByAssociatedKeys")


def _makes_much(name: str, overloads: tuple[Overload, ...]) -> bool:
    return name in _MAKERS or any(part.kind in ("list", "map") for one in overloads for part in one.parameters)


def _function(name: str, codes: list[Code], act: Callable[..., Any], rule: Any, heavy: bool) -> Code:
    if name in ("distinct", "sort"):
        codes = [_list_or_nothing(codes[0])]
    elif name == "@sortByAssociatedKeys":
        codes = [codes[0], _list_or_nothing(codes[1])]

    def call(run: Run) -> Any:
        failure: Failure | None = None
        values = []
        for code in codes:
            try:
                values.append(code(run))
            except Failure as problem:
                failure = failure or problem
                values.append(_FAILED)
        run.charge(1 if rule is None else _priced(rule, values))
        if failure is not None:
            raise failure
        if heavy:
            _count(run, name, values)
        return act(*values)

    return call


def _list_or_nothing(code: Code) -> Code:
    """A list whose price cel-go tells by its items: it does not survive a list that is an error."""

    def items(run: Run) -> Any:
        try:
            return code(run)
        except Failure:
            words = "internal error: interface conversion: *types.Err is not traits.Lister: missing method Add"
            raise Broken(words) from None

    return items


def _priced(rule: Callable[[list[Any]], int], values: list[Any]) -> int:
    """A call's cost; values of wrong types are refused by the call itself."""
    try:
        return rule(values)
    except (TypeError, ValueError, AttributeError, IndexError):
        return 1


def _count(run: Run, name: str, values: list[Any]) -> None:
    """Count what a call walks over; refuse what would make a text of no sane length."""
    for value in values:
        if isinstance(value, (list, dict)):
            run.walk(weight(value) * _WRITTEN if name in _DEEP else len(value))
    if name == "replace" and all(isinstance(value, str) for value in values[:3]):
        text, old, new = values[:3]
        if len(text) + text.count(old) * max(len(new) - len(old), 0) > MAX_TEXT:
            raise Cancelled


def _dispatcher(name: str, overloads: tuple[Overload, ...], types: list[Type]) -> Callable[..., Any]:
    """What a call does: at once where static types say it all, else by the values' types."""
    if len(overloads) == 1:
        one = overloads[0]
        if all(_surely(found, wanted) for found, wanted in zip(types, one.parameters, strict=True)):
            return one.act

    def dispatch(*values: Any) -> Any:
        for overload in overloads:
            if all(_takes(wanted, value) for wanted, value in zip(overload.parameters, values, strict=True)):
                return overload.act(*values)
        raise Failure(f"no such overload: {name}({', '.join(type_name(value) for value in values)})")

    return dispatch


def _surely(found: Type, wanted: Type) -> bool:
    return wanted.kind in ("param", "dyn") or (found.kind == wanted.kind and found.kind != "list") or (
        found.kind == wanted.kind == "list" and _surely(found.parameters[0], wanted.parameters[0])
    )


def _takes(wanted: Type, value: Any) -> bool:
    kind = wanted.kind
    if kind in ("param", "dyn"):
        return True
    if kind == "list":
        item = wanted.parameters[0]
        return isinstance(value, list) and (
            item.kind in ("param", "dyn") or not value or item.kind == "list" or _takes(item, value[0])
        )
    if kind == "map":
        return isinstance(value, dict)
    if kind == "optional":
        return isinstance(value, Optional)
    if isinstance(value, Opaque):
        return value.kind == wanted.name
    return type_name(value) == wanted.name
