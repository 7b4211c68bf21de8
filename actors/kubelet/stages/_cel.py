"""Expressions in CEL, as KWOK's objects have them.

Owns the few words that KWOK's CEL has beside Kubernetes': `Quantity(text)` is `quantity(text)`. An expression that
does not compile is refused when it is read; one that fails on an object has no value there.
"""

from __future__ import annotations

import re
from typing import Any

from protocol.cel import CelError, Quantity, dynamic, to_json

__all__ = ["CelQuery", "amount_of"]

_QUANTITY = re.compile(r"\bQuantity\(")


class CelQuery:
    """A compiled expression over some variables. Raises `CelError`."""

    def __init__(self, text: str, variables: tuple[str, ...] = ("self",)) -> None:
        self.text = text
        self._program = dynamic(variables).compile(_QUANTITY.sub("quantity(", text.strip()))

    def run(self, variables: dict[str, Any]) -> Any:
        """The value; None where there is none."""
        try:
            return self._program.run(variables)
        except CelError:
            return None

    def values(self, obj: Any) -> list[Any]:
        """What it finds in an object, as a query in jq would answer it."""
        found = to_json(self.run({"self": obj}))
        return [] if found is None else [found]


def amount_of(value: Any) -> float:
    """A result as a number."""
    if isinstance(value, Quantity):
        return float(value.number)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
