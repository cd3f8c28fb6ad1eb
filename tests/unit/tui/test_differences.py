"""How much more one number is than another, in a few signs."""

from __future__ import annotations

import math

import pytest

from gradscope.tui.differences import WIDTH, difference


@pytest.mark.parametrize(
    ("now", "other", "shown"),
    [
        (2.0, 1.5, "+0.5"),
        (1.5, 2.0, "-0.5"),
        (1.0, 1.0, "="),
        (math.nan, math.nan, "="),
        (math.inf, math.inf, "="),
        (math.nan, 1.0, "≠"),
        (1.0, math.inf, "≠"),
        (None, 1.0, "?"),
        (1.0, None, "?"),
        (None, None, ""),
        (1e-30, -1e-30, "+2e-30"),
    ],
)
def test_a_difference_says_what_is_known(now: float | None, other: float | None, shown: str) -> None:
    assert difference(now, other) == shown


def test_a_difference_fits_its_column() -> None:
    numbers = (1.23456e-300, -1.23456e-300, 123456.7, -9.87654e250, 999999.0, -999999.0)
    assert max(len(difference(one, 0.0)) for one in numbers) < WIDTH
