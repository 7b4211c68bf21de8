"""Pod templates as identities: whether two are the same, and the hash that names one.

Pure functions. The hash need only be stable and short: it is the FNV-32a of the template's sorted
JSON, written in the alphabet that Kubernetes uses for generated names (no vowels, hence no words).
"""

from __future__ import annotations

from typing import Any

import orjson

from protocol.objects import Object

__all__ = ["POD_TEMPLATE_HASH", "fnv32a", "safe_encode", "same_template", "template_hash"]

POD_TEMPLATE_HASH = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash. http://www.isthe.com/chongo/tech/comp/fnv/"""
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """Each character as one that may stand in a name and spells nothing rude."""
    return "".join(_ALPHABET[ord(char) % len(_ALPHABET)] for char in text)


def template_hash(template: Object, collision_count: int | None) -> str:
    """The hash of a pod template; another one for each count of collisions."""
    data = orjson.dumps(_cleaned(template), option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))


def _cleaned(value: Any) -> Any:
    """Without nulls and empty containers: Go does not tell them from absent fields."""
    if isinstance(value, dict):
        cleaned = {k: _cleaned(v) for k, v in value.items()}
        return {k: v for k, v in cleaned.items() if v is not None and v != {} and v != []}
    if isinstance(value, list):
        return [_cleaned(v) for v in value]
    return value


def same_template(one: Object, other: Object) -> bool:
    """Whether two pod templates are equal but for the label `pod-template-hash`."""
    one, other = _without_hash(one), _without_hash(other)
    return one == other or bool(_cleaned(one) == _cleaned(other))


def _without_hash(template: Object) -> Object:
    meta = template.get("metadata") or {}
    labels = meta.get("labels") or {}
    if POD_TEMPLATE_HASH not in labels:
        return template
    kept = {k: v for k, v in labels.items() if k != POD_TEMPLATE_HASH}
    return {**template, "metadata": {**meta, "labels": kept}}
