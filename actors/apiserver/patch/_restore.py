"""What a strategic merge patch says of a value of the wrong type.

The result of such a patch is turned into a typed object by apimachinery's unstructured converter
(k8s.io/apimachinery/pkg/runtime/converter.go), not by a JSON decoder, so the words differ.
"""

from __future__ import annotations

import re

__all__ = ["restore_words"]

_UNMARSHAL = re.compile(r"json: cannot unmarshal (\w+)( [-\d.eE+]+)? into Go (?:struct field \S+|value) of type (.+)")
_KINDS = {"string": "string", "bool": "bool", "object": "map", "array": "slice"}
_SCALARS = ("string", "bool", "int32", "int64", "int", "uint32", "uint64", "float32", "float64", "uint8")


def restore_words(text: str) -> str:
    """The converter's text for what the decoder says as `text`; other texts are left alone."""
    match = _UNMARSHAL.fullmatch(text)
    if match is None:
        return text
    word, number, target = match.groups()
    source = _KINDS.get(word) or ("float64" if number and not number.strip().lstrip("-").isdigit() else "int64")
    target = target.lstrip("*")
    if target in _SCALARS:
        return f"unrecognized type: {target}"
    if target.startswith("map["):
        return f"cannot restore map from {source}"
    if target.startswith("[]"):
        return f"cannot restore slice from {source}"
    if source in ("map", "slice"):
        # A struct takes an object; what refuses one under a name of its own is a named string.
        return "unrecognized type: string" if source == "map" else "cannot restore struct from: slice"
    return f"cannot restore struct from: {source}"
