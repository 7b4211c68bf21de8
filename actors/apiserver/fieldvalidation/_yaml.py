"""YAML 1.1 as `sigs.k8s.io/yaml` reads it, and YAML output.

Owns text to JSON-like values. Differs from PyYAML's own rules where Go's library does: `y` and `n`
are booleans, times stay text, keys become text. It must never know types.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from actors.apiserver.fieldvalidation._errors import DecodeFailure
from protocol.objects import FrozenDict, FrozenList

__all__ = ["parse_yaml", "to_yaml"]

_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
for _true in ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"):
    _WORDS[_true] = True
for _false in ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"):
    _WORDS[_false] = False

_INT = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0b[01]+|0o?[0-7]*|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_TIME = re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?\Z")
_STR = "tag:yaml.org,2002:str"
MAX_NODES = 1_000_000
MAX_DEPTH = 200
"""Levels of nesting; what is built from them is walked by recursion."""


def to_yaml(obj: Any) -> bytes:
    """YAML text with keys in order, as Go's encoder writes it."""
    import yaml

    text = yaml.dump(obj, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, sort_keys=True, width=1 << 20)
    return bytes(text, "utf-8")


@cache
def _dumper() -> Any:
    """A dumper that quotes as Go's encoder does: doubly what would read as another type."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        """PyYAML's safe dumper with other quotes, and without anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            """Equal parts are written twice, as JSON has them."""
            return True

    def text(dumper: Any, value: str) -> Any:
        style = None
        if "\n" in value:
            style = "|"
        elif value in _WORDS or not isinstance(plain(value), str) or _TIME.match(value):
            style = '"'
        return dumper.represent_scalar(_STR, value, style=style)

    Dumper.add_representer(str, text)
    Dumper.add_representer(FrozenDict, base.represent_dict)
    Dumper.add_representer(FrozenList, base.represent_list)
    return Dumper


def plain(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INT.match(digits):
        return _integer(digits)
    if _FLOAT.match(digits):
        return float(digits)
    return text


def _integer(digits: str) -> Any:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-")
    if body[:2] in ("0x", "0b", "0o"):
        number = int(body, 0)
    elif len(body) > 1 and body[0] == "0":
        number = int(body, 8)
    else:
        number = int(body)
    value = sign * number
    return value if -(2**63) <= value < 2**64 else float(value)


class _Builder:
    """Turns a node graph into values; duplicates are collected with their lines."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.duplicates: list[str] = []
        self.left = MAX_NODES

    def build(self, node: Any) -> Any:
        import yaml

        self.left -= 1
        if self.left < 0:
            raise DecodeFailure("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item) for item in node.value]
        return self.mapping(node)

    def scalar(self, node: Any) -> Any:
        import yaml

        text = str(node.value)
        if node.style:
            return text
        if node.tag == _STR and self.loader.resolve(yaml.ScalarNode, text, (True, False)) != _STR:
            return text
        return plain(text)

    def mapping(self, node: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                value = self.build(value_node)
                merged.extend(value if isinstance(value, list) else [value])
                continue
            key = self.key(key_node)
            value = self.build(value_node)
            if key in out:
                line = key_node.start_mark.line + 1
                self.duplicates.append(f'  line {line}: key "{key}" already set in map')
            out[key] = value
        for extra in merged:
            for key, value in extra.items():
                out.setdefault(key, value)
        return out

    def key(self, node: Any) -> str:
        value = self.build(node)
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is None:
            return "null"
        if isinstance(value, (dict, list)):
            raise DecodeFailure("yaml: invalid map key: " + repr(value))
        return str(value)


def parse_yaml(raw: bytes) -> tuple[Any, str]:
    """The first document's value, and what strict reading says of repeated keys (or nothing).

    Raises `DecodeFailure` with go-yaml's words.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = raw.decode("utf-8", "replace")
    if _may_be_deep(text):
        _check_depth(base(text))
    loader = base(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        builder = _Builder(loader)
        value = builder.build(node) if node is not None else None
    except yaml.YAMLError as error:
        raise DecodeFailure(_problem(error)) from None
    except RecursionError:
        raise DecodeFailure("yaml: exceeded max depth of 10000") from None
    finally:
        loader.dispose()
    if builder.duplicates:
        return value, "yaml: unmarshal errors:\n" + "\n".join(builder.duplicates)
    return value, ""


def _may_be_deep(text: str) -> bool:
    """A cheap bound: every level needs a bracket, a dash, a question mark or more indentation."""
    marks = text.count("[") + text.count("{") + text.count("-") + text.count("?")
    return marks > MAX_DEPTH or " " * MAX_DEPTH in text


def _check_depth(loader: Any) -> None:
    """Refuse what is nested too deeply. The library's composer recurses in C, where running out of
    stack ends the process; events are read without recursion. Raises `DecodeFailure`."""
    import yaml

    depth = 0
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise DecodeFailure("yaml: exceeded max depth of 10000")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentEndEvent):
                return
    except yaml.YAMLError:
        return  # said in its place
    finally:
        loader.dispose()


def _problem(error: Any) -> str:
    """go-yaml names a line only past the first one, and counts parser errors from zero."""
    import yaml

    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    line = 0
    if mark is not None and mark.line:
        line = mark.line + (1 if isinstance(error, yaml.scanner.ScannerError) else 0)
    elif context is not None and context.line:
        line = context.line
    return f"yaml: line {line}: {problem}" if line else f"yaml: {problem}"
