"""Macros: calls that stand for comprehensions and tests.

Owns what they stand for: CEL's own (`has`, `all`, `map`, ...), those of optionals, comprehensions over two
variables, `sortBy`, and `cel.bind` where it is allowed. Works on parsed trees, in place.

Source: github.com/google/cel-go: parser/macro.go, cel/library.go, ext/comprehensions.go, ext/lists.go
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.cel._ast import Expr, Fold, Source

__all__ = ["ACCUMULATOR", "MacroProblem", "expand"]

ACCUMULATOR = "@result"
MAP_INSERT = "cel.@mapInsert"
SORT_BY_KEYS = "@sortByAssociatedKeys"
_SORTED = "@__sortBy_input__"


class MacroProblem(Exception):
    """A macro with wrong arguments; the node that is at fault, and the words."""

    def __init__(self, node: int, message: str) -> None:
        super().__init__(message)
        self.node = node


class _Maker:
    """Makes nodes that stand where a macro stood."""

    def __init__(self, source: Source, at: int) -> None:
        self._source = source
        self._offset = source.offsets.get(at, 0)

    def _new(self, kind: str, name: str = "") -> Expr:
        node = Expr(self._source.fresh(), kind, name)
        self._source.offsets[node.id] = self._offset
        return node

    def const(self, value: object) -> Expr:
        """A literal."""
        node = self._new("const")
        node.value = value
        return node

    def ident(self, name: str) -> Expr:
        """A variable."""
        return self._new("ident", name)

    def call(self, name: str, *args: Expr, target: Expr | None = None) -> Expr:
        """A call."""
        node = self._new("call", name)
        node.args, node.target = list(args), target
        return node

    def select(self, target: Expr | None, name: str) -> Expr:
        """A member."""
        node = self._new("select", name)
        node.target = target
        return node

    def items(self, *args: Expr) -> Expr:
        """A list."""
        node = self._new("list")
        node.args = list(args)
        return node

    def empty_map(self) -> Expr:
        """A map without entries."""
        return self._new("struct")

    def fold(self, over: Expr, names: tuple[str, str], start: Expr, condition: Expr, step: Expr, result: Expr) -> Expr:
        """A comprehension."""
        node = self._new("fold")
        node.fold = Fold(names[0], names[1], over, ACCUMULATOR, start)
        node.fold.condition, node.fold.step, node.fold.result = condition, step, result
        return node

    def copy(self, node: Expr) -> Expr:
        """A tree once more."""
        made = self._new(node.kind, node.name)
        self._source.offsets[made.id] = self._source.offsets.get(node.id, self._offset)
        made.value, made.test, made.optional = node.value, node.test, node.optional
        made.target = self.copy(node.target) if node.target is not None else None
        made.args = [self.copy(arg) for arg in node.args]
        made.entries = [
            (self.copy(key) if isinstance(key, Expr) else key, self.copy(value), optional, id_)
            for key, value, optional, id_ in node.entries
        ]
        if node.fold is not None:
            made.fold = self._copied(node.fold)
        return made

    def _copied(self, fold: Fold) -> Fold:
        made = Fold(fold.variable, fold.variable2, self.copy(fold.over), fold.accumulator, self.copy(fold.start))
        made.condition, made.step = self.copy(fold.condition), self.copy(fold.step)
        made.result = self.copy(fold.result)
        return made

    def accumulated(self) -> Expr:
        """The accumulator."""
        return self.ident(ACCUMULATOR)


def _names(args: list[Expr]) -> tuple[str, str]:
    for arg in args[:2]:
        if arg.kind != "ident":
            raise MacroProblem(arg.id, "argument must be a simple name")
    first, second = args[0].name, args[1].name
    if first == second:
        raise MacroProblem(args[1].id, f"duplicate variable name: {first}")
    for arg in args[:2]:
        if arg.name in (ACCUMULATOR, "__result__"):
            raise MacroProblem(arg.id, "iteration variable overwrites accumulator variable")
    return first, second


def _variable(args: list[Expr], message: str = "argument must be a simple name") -> tuple[str, str]:
    """The one variable of a macro."""
    if args[0].kind != "ident":
        raise MacroProblem(args[0].id, message)
    if args[0].name in (ACCUMULATOR, "__result__"):
        raise MacroProblem(args[0].id, "iteration variable overwrites accumulator variable")
    return args[0].name, ""


def _iterated(args: list[Expr], wanted: int) -> tuple[str, str]:
    """One variable or two, by the number of arguments."""
    return _variable(args) if len(args) < wanted else _names(args)


def _has(make: _Maker, target: Expr | None, args: list[Expr]) -> Expr:
    found = args[0]
    if found.kind != "select" or found.test:
        raise MacroProblem(found.id, "invalid argument to has() macro")
    node = make.select(found.target, found.name)
    node.test = True
    return node


def _all(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    condition = make.call("@not_strictly_false", make.accumulated())
    step = make.call("_&&_", make.accumulated(), args[-1])
    return make.fold(target, _iterated(args, 3), make.const(True), condition, step, make.accumulated())


def _exists(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    condition = make.call("@not_strictly_false", make.call("!_", make.accumulated()))
    step = make.call("_||_", make.accumulated(), args[-1])
    return make.fold(target, _iterated(args, 3), make.const(False), condition, step, make.accumulated())


def _exists_one(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    names = _iterated(args, 3)
    more = make.call("_+_", make.accumulated(), make.const(1))
    step = make.call("_?_:_", args[-1], more, make.accumulated())
    result = make.call("_==_", make.accumulated(), make.const(1))
    return make.fold(target, names, make.const(0), make.const(True), step, result)


def _map(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    names = _variable(args, "argument is not an identifier")
    step = make.call("_+_", make.accumulated(), make.items(args[-1]))
    if len(args) == 3:
        step = make.call("_?_:_", args[1], step, make.accumulated())
    return make.fold(target, names, make.items(), make.const(True), step, make.accumulated())


def _filter(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    names = _variable(args, "argument is not an identifier")
    more = make.call("_+_", make.accumulated(), make.items(args[0]))
    step = make.call("_?_:_", args[1], more, make.accumulated())
    return make.fold(target, names, make.items(), make.const(True), step, make.accumulated())


def _bound(make: _Maker, name: str, value: Expr, result: Expr) -> Expr:
    """`result` with a name for a value."""
    node = make.fold(make.items(), ("#unused", ""), value, make.const(False), make.ident(name), result)
    assert node.fold is not None
    node.fold.accumulator = name
    return node


def _opt_map(flat: bool) -> Callable[[_Maker, Expr, list[Expr]], Expr]:
    def macro(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
        word = "optFlatMap" if flat else "optMap"
        name, _ = _variable(args, f"{word}() variable name must be a simple identifier")
        made = _bound(make, name, make.call("value", target=make.copy(target)), args[1])
        result = made if flat else make.call("optional.of", made)
        return make.call("_?_:_", make.call("hasValue", target=target), result, make.call("optional.none"))

    return macro


def _bind(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    if args[0].kind != "ident":
        raise MacroProblem(args[0].id, "cel.bind() variable names must be simple identifiers")
    return _bound(make, args[0].name, args[1], args[2])


def _filtered(make: _Maker, args: list[Expr], step: Expr) -> Expr:
    return make.call("_?_:_", args[2], step, make.accumulated()) if len(args) == 4 else step


def _transform_list(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    step = _filtered(make, args, make.call("_+_", make.accumulated(), make.items(args[-1])))
    return make.fold(target, _names(args), make.items(), make.const(True), step, make.accumulated())


def _transform_map(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    names = _names(args)
    step = make.call(MAP_INSERT, make.accumulated(), make.ident(names[0]), args[-1])
    step = _filtered(make, args, step)
    return make.fold(target, names, make.empty_map(), make.const(True), step, make.accumulated())


def _transform_map_entry(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    step = _filtered(make, args, make.call(MAP_INSERT, make.accumulated(), args[-1]))
    return make.fold(target, _names(args), make.empty_map(), make.const(True), step, make.accumulated())


def _sort_by(make: _Maker, target: Expr, args: list[Expr]) -> Expr:
    if target.kind not in ("list", "select", "ident", "fold", "call"):
        raise MacroProblem(
            target.id, "sortBy can only be applied to a list, identifier, comprehension, call or select expression"
        )
    keys = _map(make, make.ident(_SORTED), args)
    return _bound(make, _SORTED, target, make.call(SORT_BY_KEYS, keys, target=make.ident(_SORTED)))


_MACROS: dict[tuple[str, int], Callable[[_Maker, Expr, list[Expr]], Expr]] = {
    **{("all", count): _all for count in (2, 3)},
    **{("exists", count): _exists for count in (2, 3)},
    **{(name, count): _exists_one for name in ("exists_one", "existsOne") for count in (2, 3)},
    **{("map", count): _map for count in (2, 3)},
    ("filter", 2): _filter,
    ("optMap", 2): _opt_map(False),
    ("optFlatMap", 2): _opt_map(True),
    **{("transformList", count): _transform_list for count in (3, 4)},
    **{("transformMap", count): _transform_map for count in (3, 4)},
    **{("transformMapEntry", count): _transform_map_entry for count in (3, 4)},
    ("sortBy", 2): _sort_by,
}


def expand(node: Expr, source: Source, bindings: bool = False) -> Expr:
    """The tree with its macros replaced; `bindings`: `cel.bind` is one. Raises `MacroProblem`."""
    if node.target is not None:
        node.target = expand(node.target, source, bindings)
    node.args = [expand(arg, source, bindings) for arg in node.args]
    if node.entries:
        node.entries = [
            (expand(key, source, bindings) if isinstance(key, Expr) else key, expand(value, source, bindings), optional, at)
            for key, value, optional, at in node.entries
        ]
    if node.kind != "call":
        return node
    target = node.target
    if target is None:
        return _has(_Maker(source, node.id), None, node.args) if node.name == "has" and len(node.args) == 1 else node
    macro = _MACROS.get((node.name, len(node.args)))
    if bindings and node.name == "bind" and len(node.args) == 3 and target.kind == "ident" and target.name == "cel":
        macro = _bind
    return macro(_Maker(source, node.id), target, node.args) if macro is not None else node
