"""Field paths that definitions name, such as `.spec.size` or `['a.b'].c`, and where they lead in a schema.

Source: `ValidFieldPath` in k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["PathProblem", "find_path"]

Schema = dict[str, Any]
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class PathProblem(ValueError):
    """A path that leads nowhere; the text says why."""


def find_path(path: str, schema: Schema, *, indexes: bool = True) -> tuple[str, Schema]:
    """The path as errors print it, and the schema there. `indexes`: whether `['name']` may be used.

    Raises: PathProblem.
    """
    tokens = iter(_TOKEN.findall(path))
    shown, here = "", schema

    def take() -> str:
        found = next(tokens, None)
        if found is None:
            raise PathProblem("unexpected end of JSON path")
        return str(found)

    for token in tokens:
        if token == "[":
            if not indexes:
                raise PathProblem("array notation is not allowed")
            quoted = take()
            if len(quoted) < 2 or quoted[0] != "'" or quoted[-1] != "'":
                raise PathProblem(f"expected single quoted string but got {quoted}")
            shown, here = _step(shown, here, re.sub(r"\\.", _unescape, quoted[1:-1]))
            closing = take()
            if closing != "]":
                raise PathProblem(f"expected ] but got {closing}")
        elif token == ".":
            shown, here = _step(shown, here, take())
        else:
            raise PathProblem(f"expected [ or . but got: {token}")
    return shown, here


def _unescape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0][1:], found[0])


def _step(shown: str, here: Schema, name: str) -> tuple[str, Schema]:
    properties, extra = here.get("properties") or {}, here.get("additionalProperties")
    if properties:
        if name not in properties:
            raise PathProblem("does not refer to a valid field")
        return (f"{shown}.{name}" if shown else name), properties[name]
    if extra is None:
        raise PathProblem("does not refer to a valid field")
    return f"{shown}[{name}]", extra if isinstance(extra, dict) else {}
