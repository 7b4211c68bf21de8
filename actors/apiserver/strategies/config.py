"""ConfigMap and Secret.

Owns their keys, sizes, types of secrets and what `immutable` means.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    forbidden,
    invalid,
    required,
    too_long,
)
from actors.apiserver.strategies._meta import immutable
from protocol.names import config_map_key

__all__ = ["ConfigMapStrategy", "SecretStrategy"]

_MAX_BYTES = 1024 * 1024
_IMMUTABLE = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"


def _size(value: str) -> int:
    """Bytes of a text."""
    return len(value) if value.isascii() else len(value.encode())


def _decoded_size(value: str) -> int:
    """Bytes that a base64 text stands for."""
    return len(value) * 3 // 4 - value[-2:].count("=") if value else 0


def _keys(data: dict[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key in data:
        if problems := config_map_key(key):
            errors += [invalid(f"{path}[{key}]", key, message) for message in problems]
    return errors


def _check_immutable(new: Object, old: Object, fields: tuple[str, ...]) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden("immutable", _IMMUTABLE)]
    for field in fields:
        if (new.get(field) or {}) != (old.get(field) or {}):
            errors.append(forbidden(field, _IMMUTABLE))
    return errors


class ConfigMapStrategy(Strategy):
    """ConfigMap."""

    allow_create_on_update = False
    standard_finalizers_only = True

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        total = 0
        for key, value in data.items():
            if problems := config_map_key(key):
                errors += [invalid(f"data[{key}]", key, message) for message in problems]
            if key in binary:
                detail = "duplicate of key present in binaryData"
                errors.append(invalid(f"data[{key}]", key, detail))
            total += _size(value or "")
        if binary:
            errors += _keys(binary, "binaryData")
            total += sum(_decoded_size(value or "") for value in binary.values())
        if total > _MAX_BYTES:
            errors.append(too_long("", _MAX_BYTES))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        errors += _check_immutable(new, old, ("data", "binaryData"))
        return errors + self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, _DATA, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
        return [obj["metadata"].get("name", ""), count, self.age(obj, now)]


class SecretStrategy(Strategy):
    """Secret."""

    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        texts = obj.pop("stringData", None)
        if texts:
            data = obj.setdefault("data", {})
            for key, value in texts.items():
                data[key] = base64.b64encode((value or "").encode()).decode()

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        if old is not None and not new.get("type"):
            new["type"] = old.get("type", "Opaque")

    def check(self, obj: Object) -> list[FieldError]:
        data = obj.get("data") or {}
        errors = self.check_meta(obj) + _keys(data, "data")
        if sum(_decoded_size(value or "") for value in data.values()) > _MAX_BYTES:
            errors.append(too_long("data", _MAX_BYTES))
        kind = obj.get("type", "")
        if kind != "Opaque":
            errors += _check_type(kind, data, obj["metadata"].get("annotations") or {})
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        errors += immutable(new.get("type", ""), old.get("type", ""), "type")
        errors += _check_immutable(new, old, ("data",))
        return errors + self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, _TYPE, _DATA, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        count = len(obj.get("data") or ())
        return [obj["metadata"].get("name", ""), obj.get("type", ""), count, self.age(obj, now)]

    def fields(self, obj: Object) -> dict[str, str]:
        return {**super().fields(obj), "type": obj.get("type", "")}


def _check_type(kind: str, data: dict[str, str], annotations: Object) -> list[FieldError]:
    """What a secret of a well-known type must hold."""
    if kind == "kubernetes.io/service-account-token":
        key = "kubernetes.io/service-account.name"
        return [] if annotations.get(key) else [required(f"metadata.annotations[{key}]")]
    if kind == "kubernetes.io/dockercfg":
        return _check_json(data, ".dockercfg")
    if kind == "kubernetes.io/dockerconfigjson":
        return _check_json(data, ".dockerconfigjson")
    if kind == "kubernetes.io/basic-auth":
        if "username" in data or "password" in data:
            return []
        return [required("data[username]"), required("data[password]")]
    if kind == "kubernetes.io/ssh-auth":
        return [] if data.get("ssh-privatekey") else [required("data[ssh-privatekey]")]
    if kind == "kubernetes.io/tls":
        return [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    return []


def _check_json(data: dict[str, str], key: str) -> list[FieldError]:
    at = f"data[{key}]"
    if key not in data:
        return [required(at)]
    text = base64.b64decode(data[key] or "")
    try:
        value = json.loads(text)
    except ValueError as error:
        return [invalid(at, _REDACTED, _go_problem(text, error))]
    if value is not None and not isinstance(value, dict):
        found = {bool: "bool", str: "string", list: "array"}.get(type(value), "number")
        detail = f"json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        return [invalid(at, _REDACTED, detail)]
    return []


def _go_problem(text: bytes, error: ValueError) -> str:
    """Go's words for JSON that does not parse."""
    position = getattr(error, "pos", 0)
    if position >= len(text.rstrip()):
        return "unexpected end of JSON input"
    char = chr(text[position])
    if not text[:position].strip():
        return f"invalid character '{char}' looking for beginning of value"
    words = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Extra data": "after top-level value",
        "Expecting ',' delimiter": "after object key:value pair",
    }.get(getattr(error, "msg", ""), "looking for beginning of value")
    return f"invalid character '{char}' {words}"


_DATA = Column("Data", "string", "", "Number of entries.")
_TYPE = Column("Type", "string", "", "What the secret is for.")
