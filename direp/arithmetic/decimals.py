"""Bounds in a few digits: rounded so that what is printed still holds."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context


def at_most(value: float, digits: int = 3) -> str:
    """A number in a few digits, not below the value."""
    return _rounded(value, digits, ROUND_CEILING)


def at_least(value: float, digits: int = 3) -> str:
    """A number in a few digits, not above the value."""
    return _rounded(value, digits, ROUND_FLOOR)


def _rounded(value: float, digits: int, way: str) -> str:
    if not math.isfinite(value):
        return f"{value:g}"
    # The decimal itself is exact; as a float it may lie beyond the value by less than its last bit.
    return f"{float(Context(prec=digits, rounding=way).create_decimal_from_float(float(value))):.{digits}g}"
