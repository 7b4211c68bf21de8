"""Makes the table of field numbers from the published `generated.proto` files.

    python -m actors.apiserver.protobuf._extract OUT.json FILE.proto...

A line of the table is a message: `name=number:type` words. Types: `s` text, `b` bytes, `i` integer,
`o` boolean, `d` double, else a message; `*` before it: repeated, `%`: a map from text, `!` after it:
the message's fields stand in the parent itself (embedded Go structs).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import orjson

from protocol.schema import load

__all__ = ["extract"]

_SCALARS = {"string": "s", "bytes": "b", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "bool": "o",
            "double": "d"}
_FIELD = re.compile(r"^\s*(optional|repeated|required)\s+([.\w]+)\s+(\w+)\s*=\s*(\d+)", re.M)
_MAP = re.compile(r"^\s*map<string,\s*([.\w]+)>\s+(\w+)\s*=\s*(\d+)", re.M)
_RENAMED = {"schema": "$schema", "ref": "$ref"}


def extract(texts: list[str]) -> dict[str, str]:
    """The table of some files' contents."""
    schema = load(36)
    table: dict[str, str] = {}
    known: dict[str, set[str]] = {}
    for text in texts:
        package = re.search(r"^package\s+([\w.]+);", text, re.M)
        assert package is not None
        body = re.sub(r"//[^\n]*", "", text)
        for match in re.finditer(r"^message (\w+) \{(.*?)^\}", body, re.M | re.S):
            name = f"{package[1]}.{match[1]}"
            known[name] = _schema_fields(schema, name)
            words = [
                f"{_json_name(name, field)}={number}:{'*' if label == 'repeated' else ''}{_type(package[1], kind)}"
                for label, kind, field, number in _FIELD.findall(match[2])
            ]
            words += [f"{field}={number}:%{_type(package[1], kind)}" for kind, field, number in _MAP.findall(match[2])]
            table[name] = " ".join(words)
    return {name: " ".join(_marked(word, known[name], table) for word in line.split()) for name, line in table.items()}


def _marked(word: str, known: set[str], table: dict[str, str]) -> str:
    """Mark a message whose fields the schema shows in the parent: a struct embedded in Go."""
    field, _, rest = word.partition("=")
    inner = rest.partition(":")[2]
    if inner not in table or not known or field in known:
        return word
    return word + "!" if _names(inner, known, table) <= known else word


def _names(message: str, known: set[str], table: dict[str, str]) -> set[str]:
    """The JSON names of a message's fields, those of its own embedded structs included."""
    names: set[str] = set()
    for part in table[message].split():
        field, _, rest = part.partition("=")
        inner = rest.partition(":")[2]
        names |= _names(inner, known, table) if inner in table and field not in known else {field}
    return names


def _type(package: str, kind: str) -> str:
    if kind in _SCALARS:
        return _SCALARS[kind]
    return kind.lstrip(".") if "." in kind else f"{package}.{kind}"


def _schema_fields(schema: object, name: str) -> set[str]:
    words = name.replace("apiextensions_apiserver", "apiextensions-apiserver").split(".")
    try:
        found = schema.type("io.k8s." + ".".join(words[2:]))  # type: ignore[attr-defined]
    except KeyError:
        return set()
    return set(found.fields)


def _json_name(message: str, field: str) -> str:
    if message.endswith(".JSONSchemaProps"):
        if field in _RENAMED:
            return _RENAMED[field]
        if field.startswith("xKubernetes"):
            return re.sub(r"(?<!^)([A-Z])", lambda m: "-" + m[1].lower(), field)
    return field[:1].lower() + field[1:]


if __name__ == "__main__":
    made = extract([Path(name).read_text() for name in sys.argv[2:]])
    Path(sys.argv[1]).write_bytes(orjson.dumps(made, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n")
