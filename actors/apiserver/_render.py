"""Representations: tables, metadata only, YAML, and the bytes of watch events.

Owns how an answer looks on the wire. It must never decide what the answer is.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from actors.apiserver._negotiate import JSON, PROTOBUF, YAML, Form
from actors.apiserver._resources import Served
from protocol import status

__all__ = ["event_bytes", "partial", "render", "table", "table_shape", "to_yaml"]

Object = dict[str, Any]
_META = "meta.k8s.io/v1"
_INCLUDES = ("", "Metadata", "Object", "None")


def partial(obj: Object, meta: str = _META) -> Object:
    """The object as PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": meta, "metadata": obj["metadata"]}


def to_yaml(obj: Any) -> bytes:
    """An object as YAML, as upstream prints it."""
    from actors.apiserver.fieldvalidation import to_yaml as dump

    text: Any = dump(obj)
    return text if isinstance(text, bytes) else text.encode()


def check_include(include: str) -> None:
    """Refuse an unknown includeObject. Raises 400."""
    if include not in _INCLUDES:
        raise status.bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": must be '
            "'Metadata', 'Object', 'None', or empty"
        )


def columns(served: Served) -> list[Object]:
    """The column definitions of a kind's table."""
    return [
        {"name": c.name, "type": c.type, "format": c.format, "description": c.description, "priority": c.priority}
        for c in served.strategy.columns()
    ]


def row(
    served: Served, obj: Object, now: float, include: str, stored: Object | None = None, meta: str = _META
) -> Object:
    """One row of a table. `stored`: the object as it is stored, where versions differ; cells and
    metadata are made of that, as upstream makes them of its internal form."""
    if stored is not None and served.custom is None:
        made: Object = {"cells": served.storage_strategy.row(stored, now)}
    else:
        stored = obj
        made = {"cells": served.strategy.row(obj, now)}
    if obj.get("kind") == "Pod":
        ended = _POD_ENDS.get((obj.get("status") or {}).get("phase", ""))
        if ended is not None:
            made["conditions"] = [ended]
    if include != "None":
        shown = {"metadata": served.storage_strategy.internal_metadata(stored)}
        made["object"] = obj if include == "Object" else partial(shown, meta)
    else:
        made["object"] = None
    return made


_POD_ENDS = {
    "Succeeded": {
        "type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully.",
    },
    "Failed": {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},
}


def table(served: Served, rows: list[Object], metadata: Object, meta: str = _META) -> Object:
    """Some rows as a Table."""
    if not metadata.get("continue", "x"):
        del metadata["continue"]
    return {
        "kind": "Table",
        "apiVersion": meta,
        "metadata": metadata,
        "columnDefinitions": columns(served),
        "rows": rows,
    }


def table_shape(
    served: Served, clock: Callable[[], float], include: str, meta: str = _META
) -> Callable[[Object], Object]:
    """A function from an event's object to a Table of one row; only the first has columns."""
    first = True

    def shape(obj: Object) -> Object:
        nonlocal first
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        blank = "name" not in obj["metadata"]
        made = {
            "kind": "Table",
            "apiVersion": meta,
            "metadata": metadata if not blank else obj["metadata"],
            "columnDefinitions": columns(served) if first else None,
            "rows": [] if blank else [row(served, obj, clock(), include, None, meta)],
        }
        first = False
        return made

    return shape


def partial_shape(meta: str) -> Callable[[Object], Object]:
    """A function from an event's object to PartialObjectMetadata."""
    return lambda obj: partial(obj, meta)


def event_bytes(media: str) -> Callable[[str, Object], bytes]:
    """How a watch event is written in a media type."""
    if media == PROTOBUF:
        return _binary_event
    if media == YAML:
        return lambda kind, obj: b"---\n" + to_yaml({"type": kind, "object": obj})
    return lambda kind, obj: orjson.dumps({"type": kind, "object": obj}) + b"\n"


def to_protobuf(obj: Object) -> bytes:
    """An object in its binary envelope. Raises 406 for kinds that have no such form."""
    from protocol.protobuf import ProtobufError, encode

    try:
        return encode(obj)
    except ProtobufError:
        raise status.not_acceptable((JSON, YAML)) from None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _binary_event(kind: str, obj: Object) -> bytes:
    """A WatchEvent (type in field 1, the enveloped object in field 2) behind its length."""
    data = to_protobuf(obj)
    raw = b"\x0a" + _varint(len(data)) + data
    word = kind.encode()
    event = b"\x0a" + _varint(len(word)) + word + b"\x12" + _varint(len(raw)) + raw
    return len(event).to_bytes(4, "big") + event


def render(answer: Any, form: Form, options: dict[str, str], now: float) -> bytes:
    """The bytes of an answer in the negotiated form."""
    served = answer.served or (answer.list.served if answer.list is not None else None)
    plain = answer.object is not None and answer.object.get("kind") == "Status"
    if form.shape and served is not None and not plain:
        made = _shaped(answer, served, form, options, now)
        return to_yaml(made) if form.media == YAML else orjson.dumps(made)
    if form.media == YAML:
        return to_yaml(answer.value())
    if form.media == PROTOBUF:
        return to_protobuf(answer.value())
    data: bytes = answer.json()
    if options.get("pretty", "").lower() in ("1", "true"):
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2) + b"\n"
    return data


def _shaped(answer: Any, served: Served, form: Form, options: dict[str, str], now: float) -> Object:
    value, meta = answer.value(), form.meta
    computed = answer.list is None and value.get("kind") == served.kind.list_kind
    if form.shape == "Table":
        include = options.get("includeObject", "")
        check_include(include)
        if answer.list is not None:
            stored = [e.object if served.to_storage else None for e in answer.list.entries]
            pairs = served.strategy.table_order(list(zip(value["items"], stored, strict=True)))
            return table(served, [row(served, obj, now, include, old, meta) for obj, old in pairs], value["metadata"], meta)
        if computed:
            return table(served, [row(served, obj, now, include, None, meta) for obj in value["items"]], value["metadata"], meta)
        metadata = {"resourceVersion": value["metadata"].get("resourceVersion", "")}
        old = answer.entry.object if answer.entry is not None and served.to_storage else None
        return table(served, [row(served, value, now, include, old, meta)], metadata, meta)
    is_list = answer.list is not None or computed
    if is_list != (form.shape == "PartialObjectMetadataList"):
        found = f"the requested object is {'a' if is_list else 'not a'} list ({_go_type(served, is_list)})"
        raise status.failure(406, "NotAcceptable", f"you requested {form.shape}, but {found}", None)
    if is_list:
        items = [partial(item, meta) for item in value["items"]]
        return {"kind": "PartialObjectMetadataList", "apiVersion": meta, "metadata": value["metadata"], "items": items}
    return partial(value, meta)


def _go_type(served: Served, is_list: bool) -> str:
    """The internal Go type that upstream names."""
    if served.custom is not None:
        return "*unstructured.UnstructuredList" if is_list else "*unstructured.Unstructured"
    group = served.kind.group.partition(".")[0]
    package = {"": "core", "events": "core", "internal": "apiserverinternal"}.get(group, group)
    return f"*{package}.{served.kind.list_kind if is_list else served.kind.kind}"
