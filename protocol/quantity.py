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
    r"(?P<sign>[+-]?)0*(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?(?P<suffix>[eEinumkKMGTP]*[+-]?[0-9]*)\Z"
)
_EXPONENT = re.compile(r"[eE][+-]?[0-9]+\Z")
_LARGEST_EXPONENT = 64  # beyond it are no amounts of anything, only work for whoever computes with them
_MOST_DIGITS = 18  # of a number whose text upstream may keep
_LIMIT = Decimal(2**63 - 1)
_NANO = Decimal(1).scaleb(-9)


_WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class QuantityError(ValueError):
    """Not a quantity. The message is apimachinery's."""

    def __init__(self, words: str = _WRONG_FORMAT) -> None:
        super().__init__(words)


def _meaning(suffix: str) -> tuple[str, int]:
    """The format and the exponent that a suffix stands for. Raises `QuantityError`."""
    if suffix in _BINARY_SUFFIXES:
        return BINARY, _BINARY_SUFFIXES[suffix]
    if suffix in _DECIMAL_SUFFIXES:
        return DECIMAL, _DECIMAL_SUFFIXES[suffix]
    if _EXPONENT.match(suffix) is None or abs(int(suffix[1:])) >= 1 << 31:
        raise QuantityError("unable to parse quantity's suffix")
    return EXPONENT, int(suffix[1:])


@lru_cache(maxsize=8192)
def _parse(text: str) -> tuple[Decimal, str, bool]:
    """The number, its format, and whether upstream takes the text for canonical (in some cases where it is not)."""
    match = _TEXT.match(text)
    if match is None or not text:
        raise QuantityError
    style, exponent = _meaning(match["suffix"])
    whole, part = match["whole"] or "0", match["part"] or ""
    if abs(exponent) > _LARGEST_EXPONENT:
        raise QuantityError("unable to parse numeric part of quantity")
    with localcontext() as context:
        context.prec = 120
        number = Decimal(f"{match['sign']}{whole}.{part}0")
        number = number * (1 << exponent) if style == BINARY else number.scaleb(exponent)
        if number != number.quantize(_NANO):
            # Too fine: away from zero, so that asking for a little never becomes asking for none.
            sign = -1 if number < 0 else 1
            number = abs(number).quantize(_NANO, rounding=ROUND_CEILING) * sign
        number = max(-_LIMIT, min(_LIMIT, number))
    if style == BINARY and -1024 < number < 1024:
        style = DECIMAL if number != number.to_integral_value() else style
    return number, style, _counts_as_canonical(whole, part, style, exponent)


def _counts_as_canonical(whole: str, part: str, style: str, exponent: int) -> bool:
    digits = whole + part
    if style == BINARY:
        room = 15 - len(whole) - exponent * 3 // 10 - 1
        return not part and room >= 0 and int(whole) & 7 != 0
    scale = exponent - len(part)
    if len(digits) > _MOST_DIGITS or scale < -9 or scale % 3:
        return False
    return digits[0] != "0" and not digits.endswith("000")


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
    while mantissa % 1000 == 0 and (exponent < 18 or style == EXPONENT):
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
    text = text if isinstance(text, str) else str(text)
    number, style, as_is = _parse(text)
    return text if as_is else format_quantity(number, style)
