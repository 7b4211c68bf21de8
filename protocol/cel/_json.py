"""Results of expressions as JSON. Owns the copying: what comes out shares nothing with what went in."""

from __future__ import annotations

import base64
from typing import Any

from protocol.cel._operators import to_text
from protocol.cel._values import Duration, Optional, Timestamp, TypeName

__all__ = ["to_json"]


def to_json(value: Any) -> Any:
    """A value as JSON has it; times, durations and bytes are texts. Optional values that are empty are null."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, (Timestamp, Duration)):
        return to_text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Optional):
        return to_json(value.value) if value.held else None
    if isinstance(value, TypeName):
        return str(value)
    return value
