"""Floats as JSON values, and a value from anywhere in the words of an error."""

from __future__ import annotations

import math

_ODD_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encode_float(value: float) -> float | str:
    """A float as a JSON value."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def decode_float(data: object) -> float:
    """The float that `encode_float` made `data` from; whole numbers are taken too. Raises ValueError."""
    if type(data) is float:
        return data
    if isinstance(data, str) and data in _ODD_FLOATS:
        return _ODD_FLOATS[data]
    if type(data) is int:
        try:
            return float(data)
        except OverflowError:
            raise ValueError("a number too large for a float") from None
    raise ValueError(f"expected a number, found {shown(data)}")


def shown(data: object) -> str:
    """A value as an error names it."""
    text = repr(data) if isinstance(data, (str, int, float, bool, type(None))) else type(data).__name__
    return text if len(text) <= 40 else text[:39] + "…"
