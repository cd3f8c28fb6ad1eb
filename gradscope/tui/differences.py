"""How a difference between two numbers reads: now minus the other one. Pure."""

from __future__ import annotations

import math

from ..text import number

SAME, UNLIKE, UNKNOWN_DIFFERENCE = "=", "≠", "?"
WIDTH = 11  # cells that the longest takes, with a blank before it


def difference(now: float | None, other: float | None) -> str:
    """`+0.25`, `-3e-05`, or `=`; `?` where one of the two is not known, `≠` where they have no difference."""
    if now is None or other is None:
        return "" if now is other else UNKNOWN_DIFFERENCE
    if now == other or (math.isnan(now) and math.isnan(other)):
        return SAME
    by = now - other
    return f"{'+' if by > 0 else ''}{number(by, 3)}" if math.isfinite(by) else UNLIKE
