"""Go's rendering of internal structs in error texts, and differences of two of them.

Owns the walk from a v1 object to the JSON of its internal struct, driven by `_internal_types`.
Only error paths come here, so nothing is prepared before the first call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["diff", "internal_form"]

Object = dict[str, Any]
_FIRST_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]+$|[A-Z]")
_EMPTY: dict[str, Any] = {"s": "", "i": 0, "b": False, "q": "0"}
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
_META_ORDER = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def _json_name(go_name: str) -> str:
    match = _FIRST_WORD.match(go_name)
    return match[0].lower() + go_name[match.end() :] if match else go_name


@cache
def _structs() -> dict[str, str]:
    from actors.apiserver.strategies._internal_types import STRUCTS

    return dict(line.split(" ", 1) for line in STRUCTS.splitlines())


@cache
def _fields(struct: str) -> tuple[tuple[str, str, str], ...]:
    """Go name, JSON name and form of each field."""
    group = struct.partition(".")[0]
    out = []
    for entry in _structs()[struct].split(" "):
        names, _, form = entry.partition(":")
        go_name, _, json_name = names.partition("=")
        form = re.sub(r"^([*\[{]*)\.", rf"\g<1>{group}.", form)
        out.append((go_name, json_name or _json_name(go_name), form))
    return tuple(out)


def internal_form(struct: str, value: Any) -> Any:
    """The JSON tree of an internal struct, e.g. `internal_form("core.PodSpec", pod["spec"])`."""
    adapt = _ADAPTERS.get(struct)
    if adapt is not None and value is not None:
        value = adapt(value)
    source = value or {}
    out: Object = {}
    for go_name, json_name, form in _fields(struct):
        if form == "M":
            meta = source.get("metadata") or {}
            out.update((key, meta[key]) for key in _META_ORDER if key in meta)
        elif form == "o" and go_name == "=":
            out.update({key: source[key] for key in ("key", "operator", "values") if key in source})
        else:
            out[go_name] = _value(form, source.get(json_name))
    return out


def _value(form: str, value: Any) -> Any:
    if form in _EMPTY:
        return _EMPTY[form] if value is None else value
    if form == "o":
        return value or {}
    if form == "p":
        return value
    head, struct = form[0], form[1:]
    if head == "*":
        return None if value is None else internal_form(struct, value)
    if head == "[":
        return None if value is None else [internal_form(struct, item) for item in value]
    if head == "{":
        return None if value is None else {k: internal_form(struct, v) for k, v in sorted(value.items())}
    return internal_form(form, value)


def _pod_spec(spec: Object) -> Object:
    """Internally the host's namespaces are part of the security context, which always exists."""
    context = dict(spec.get("securityContext") or {})
    context.update((name, spec[name]) for name in _HOST_FIELDS if name in spec)
    return {**spec, "securityContext": context}


_ADAPTERS: dict[str, Callable[[Object], Object]] = {"core.PodSpec": _pod_spec}


def diff(struct: str, old: Any, new: Any) -> str:
    """A unified diff of two structs' indented JSON, with three lines of context."""
    import difflib

    texts = [
        json.dumps(internal_form(struct, value), indent=1, ensure_ascii=False).splitlines(True)
        for value in (old, new)
    ]
    for lines in texts:
        lines[-1] += "\n"
    body = difflib.unified_diff(texts[0], texts[1], n=3)
    return "".join(line for number, line in enumerate(body) if number > 1)
