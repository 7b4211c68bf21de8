"""Quantities: `100m`, `1.5Gi`, `2e3` as exact numbers, and back to their canonical text.

Follows apimachinery's `pkg/api/resource`: a quantity is a decimal number with a suffix of one of
three formats; its canonical form keeps the format, has no fraction, and the largest suffix that
allows this; more precision than a nano is rounded up. Owns no resource names.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import lru_cache

__all__ = [
    "QuantityError",
    "canonical",
    "format_quantity",
    "milli_value",
    "parse_quantity",
    "quantity_format",
    "value",
]

BINARY = "BinarySI"
DECIMAL = "DecimalSI"
EXPONENT = "DecimalExponent"

_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIXES = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_TEXT = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[numkMGTPE]?|[KMGTPE]i|[eE][+-]?\d+)\Z"
)
_LIMIT = Decimal(2**63 - 1)
_NANO = Decimal(1).scaleb(-9)


class QuantityError(ValueError):
    """Not a quantity. The message is apimachinery's `ErrFormatWrong`."""

    def __init__(self) -> None:
        super().__init__(
            "quantities must match the regular expression"
            " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )


@lru_cache(maxsize=8192)
def _parse(text: str) -> tuple[Decimal, str]:
    match = _TEXT.match(text)
    if match is None:
        raise QuantityError
    suffix = match["suffix"]
    with localcontext() as context:
        context.prec = 80
        number = Decimal(match["number"])
        if suffix in _BINARY_SUFFIXES:
            number, style = number * (1 << _BINARY_SUFFIXES[suffix]), BINARY
        elif suffix in _DECIMAL_SUFFIXES:
            number, style = number.scaleb(_DECIMAL_SUFFIXES[suffix]), DECIMAL
        else:
            exponent = int(suffix[1:])
            if abs(exponent) > 64:
                raise QuantityError
            number, style = number.scaleb(exponent), EXPONENT
        if number != number.quantize(_NANO):
            # Too fine: away from zero, so that asking for a little never becomes asking for none.
            sign = -1 if number < 0 else 1
            number = abs(number).quantize(_NANO, rounding=ROUND_CEILING) * sign
        number = max(-_LIMIT, min(_LIMIT, number))
    if style == BINARY and -1024 < number < 1024:
        style = DECIMAL if number != number.to_integral_value() else style
    return number, style


def parse_quantity(text: str | int | float | Decimal) -> Decimal:
    """The number that a quantity stands for, exact. Raises `QuantityError`."""
    return _parse(text if isinstance(text, str) else str(text))[0]


def quantity_format(text: str | int | float | Decimal) -> str:
    """"BinarySI", "DecimalSI" or "DecimalExponent": how the text was written."""
    return _parse(text if isinstance(text, str) else str(text))[1]


def value(text: str | int | float | Decimal) -> int:
    """The number rounded up to an integer, as `Quantity.Value()`."""
    return int(parse_quantity(text).to_integral_value(rounding=ROUND_CEILING))


def milli_value(text: str | int | float | Decimal) -> int:
    """Thousandths, rounded up, as `Quantity.MilliValue()`."""
    return int((parse_quantity(text) * 1000).to_integral_value(rounding=ROUND_CEILING))


def format_quantity(number: Decimal | int, style: str = DECIMAL) -> str:
    """The canonical text of a number in a format."""
    number = Decimal(number)
    if number == 0:
        return "0"
    if style == BINARY:
        if -1024 < number < 1024 or number != number.to_integral_value():
            # apimachinery writes small or broken binary quantities in decimal.
            return _format_decimal(number, DECIMAL)
        whole, suffix = int(number), ""
        for name in _BINARY_SUFFIXES:
            if whole % 1024:
                break
            whole, suffix = whole // 1024, name
        return f"{whole}{suffix}"
    return _format_decimal(number, style)


def _format_decimal(number: Decimal, style: str) -> str:
    exponent = -9
    mantissa = int(number.scaleb(9))
    while mantissa % 1000 == 0 and exponent < 18:
        mantissa //= 1000
        exponent += 3
    if style == EXPONENT:
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    suffix = next(name for name, power in _DECIMAL_SUFFIXES.items() if power == exponent)
    return f"{mantissa}{suffix}"


def canonical(text: str | int | float) -> str:
    """A quantity as the API server stores it: `1000m` becomes `1`, `0.5` becomes `500m`.

    Raises `QuantityError`.
    """
    number, style = _parse(text if isinstance(text, str) else str(text))
    return format_quantity(number, style)
