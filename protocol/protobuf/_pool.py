"""Message classes made from `fields.tsv` with Google's protobuf runtime.

It owns the reading of the table and the descriptors; it knows nothing of JSON.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources
from typing import Any, NamedTuple

__all__ = ["FieldSpec", "MessageSpec", "message_class", "message_name", "spec"]

PREFIX = "k8s.io."


class FieldSpec(NamedTuple):
    """`kind`: a scalar's letter or a message's name; `shape`: "", "*", "%" or "^"."""

    number: int
    name: str
    kind: str
    shape: str


class MessageSpec(NamedTuple):
    """One message; `is_list`: its JSON form is the value of its only field."""

    name: str
    fields: tuple[FieldSpec, ...]
    is_list: bool


@lru_cache(maxsize=1)
def _lines() -> dict[str, tuple[bool, str]]:
    text = resources.files("protocol.protobuf").joinpath("fields.tsv").read_text()
    table: dict[str, tuple[bool, str]] = {}
    for line in text.splitlines():
        name, _, fields = line.partition("\t")
        table[name.removeprefix("=")] = (name.startswith("="), fields)
    return table


@cache
def spec(name: str) -> MessageSpec | None:
    """The message of this name (without `k8s.io.`), or None."""
    line = _lines().get(name)
    if line is None:
        return None
    fields = []
    for entry in line[1].split("\t"):
        if not entry:
            continue
        number, field, kind = entry.split(" ")
        shape = kind[0] if kind[0] in "*%^" else ""
        fields.append(FieldSpec(int(number), field, kind.removeprefix(shape) if shape else kind, shape))
    return MessageSpec(name, tuple(fields), line[0])


META = "apimachinery.pkg.apis.meta.v1"
PACKAGES = {
    "apiextensions.k8s.io": "apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "kube_aggregator.pkg.apis.apiregistration",
    "internal.apiserver.k8s.io": "api.apiserverinternal",
    "meta.k8s.io": "apimachinery.pkg.apis.meta",
}


@cache
def message_name(group: str, version: str, kind: str) -> str | None:
    """The message that encodes a kind, or None for one without protobuf form. The kinds that all
    groups share (DeleteOptions, Status, ...) are meta's."""
    package = PACKAGES.get(group) or f"api.{group.partition('.')[0] or 'core'}"
    for name in (f"{package}.{version}.{kind}", f"{META}.{kind}"):
        if name in _lines():
            return name
    return None


SCALARS = {"s": 9, "b": 12, "i": 5, "l": 3, "t": 8, "d": 1, "u": 13, "v": 4}  # FieldDescriptorProto's types
OPTIONAL, REPEATED = 1, 3
MESSAGE = 11


@lru_cache(maxsize=1)
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package="k8s.io", syntax="proto2")
    for name in _lines():
        found = spec(name)
        assert found is not None
        message = file.message_type.add(name=_flat(name))
        for field in found.fields:
            entry = message.field.add(name=f"f{field.number}", number=field.number, label=OPTIONAL)
            if field.shape in ("*", "%"):
                entry.label = REPEATED
            if field.shape == "%":
                pair = message.nested_type.add(name=f"F{field.number}Entry")
                pair.options.map_entry = True
                pair.field.add(name="key", number=1, label=OPTIONAL, type=SCALARS["s"])
                _type(pair.field.add(name="value", number=2, label=OPTIONAL), field.kind)
                entry.type = MESSAGE
                entry.type_name = f".k8s.io.{_flat(name)}.F{field.number}Entry"
            else:
                _type(entry, field.kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _type(entry: Any, kind: str) -> None:
    if kind in SCALARS:
        entry.type = SCALARS[kind]
    else:
        entry.type = MESSAGE
        entry.type_name = f".k8s.io.{_flat(kind)}"


@cache
def message_class(name: str) -> Any:
    """The protobuf runtime's class for a message of the table; its fields are named `f<number>`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"k8s.io.{_flat(name)}"))
