"""Does an applied configuration fit its schema? structured-merge-diff's validation, with its texts."""

from __future__ import annotations

from typing import Any

from actors.apiserver.managedfields._sets import path_text
from actors.apiserver.managedfields._walk import TypedProblem, below, element_key
from actors.apiserver.patch._gotext import go_quote, go_value
from protocol.schema import ANY, Type

__all__ = ["check"]

Problems = list[tuple[str, str]]


def check(type_: Type, value: Any) -> str:
    """All problems of a configuration as one text; empty when there are none."""
    problems: Problems = []
    _check(type_, value, "", problems)
    texts = [f"{path}: {message}" if path else message for path, message in problems]
    if len(texts) < 2:
        return "".join(texts)
    return "\n".join(["errors:", *(f"  {text}" for text in texts)])


def _check(type_: Type, value: Any, path: str, problems: Problems) -> None:
    if value is None:
        return
    kind = type_.kind
    if kind == "any":
        if isinstance(value, dict):
            _check_map(type_, value, path, problems)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                _check(ANY, item, f"{path}[{i}]", problems)
    elif kind in ("object", "map"):
        if isinstance(value, dict):
            _check_map(type_, value, path, problems)
        else:
            problems.append((path, f"expected map, got &{{{go_value(value)}}}"))
    elif kind == "list":
        if isinstance(value, list):
            _check_list(type_, value, path, problems)
        else:
            problems.append((path, f"expected list, got &{{{go_value(value)}}}"))
    else:
        message = _scalar_problem(kind, value)
        if message:
            problems.append((path, message))


def _check_map(type_: Type, value: dict[str, Any], path: str, problems: Problems) -> None:
    open_ended = type_.kind in ("map", "any") or type_.elem is not None or type_.preserve
    for key in sorted(value):
        if not open_ended and key not in type_.fields:
            problems.append((f"{path}.{key}", "field not declared in schema"))
            return
        _check(below(type_, key), value[key], f"{path}.{key}", problems)


def _check_list(type_: Type, value: list[Any], path: str, problems: Problems) -> None:
    elem = type_.elem or ANY
    seen: set[str] = set()
    for i, item in enumerate(value):
        if type_.list_type == "atomic":
            _check(elem, item, f"{path}[{i}]", problems)
            continue
        try:
            key = element_key(type_, item)
        except TypedProblem as problem:
            problems.append((path, f"element {i}: {problem}"))
            return
        text = path_text((key,))
        if key in seen:
            problems.append((path, f"duplicate entries for key {text}"))
        seen.add(key)
        _check(elem, item, path + text, problems)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "[]interface {}"
    return "map[string]interface {}"


def _go_syntax(value: Any) -> str:
    """`%#v`."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(_go_syntax(item) for item in value) + "}"
    if isinstance(value, dict):
        fields = ", ".join(f"{go_quote(key)}:{_go_syntax(value[key])}" for key in sorted(value))
        return "map[string]interface {}{" + fields + "}"
    return go_value(value)


def _scalar_problem(kind: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in ("integer", "number"):
        return "" if number else f"expected numeric (int or float), got {_go_type(value)}"
    if kind in ("string", "time", "micro-time", "bytes"):
        if isinstance(value, str):
            return ""
        return f"expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}"
    if kind == "boolean":
        return "" if isinstance(value, bool) else f"expected boolean, got &{{{go_value(value)}}}"
    if isinstance(value, (dict, list)):
        return f"expected any scalar, got &{{{go_value(value)}}}"
    return ""
