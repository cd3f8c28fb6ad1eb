"""Numbers as characters."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gradscope.tui.plots import BAD, bars, bounds, buckets, curve, log_bar, spark

NUMBERS = st.lists(st.none() | st.floats(width=32), max_size=60)


def test_a_spark_rises_and_falls_with_its_values() -> None:
    assert spark([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == "▁▂▃▄▅▆▇█"
    assert spark([0.0, 7.0], ascii=True) == "_#"
    assert spark([1.0, None, math.nan, 2.0]) == f"▁ {BAD}█"
    assert spark([]) == ""


def test_a_spark_of_equal_values_is_level() -> None:
    assert len(set(spark([3.0, 3.0, 3.0]))) == 1


def test_orders_of_magnitude_are_told_apart_on_a_log_scale() -> None:
    assert spark([1e-4, 1e-2, 1.0], log=True) == "▁▅█"
    assert spark([1e-4, 1e-2, 1.0]) == "▁▁█"
    assert bounds([0.0, 1e-3, 5.0], log=True) == (1e-3, 5.0)


@given(NUMBERS, st.booleans(), st.booleans())
def test_a_spark_has_one_sign_a_value(values: list[float | None], ascii: bool, log: bool) -> None:
    drawn = spark(values, ascii=ascii, log=log)
    assert len(drawn) == len(values)
    assert drawn.isascii() or not ascii
    for value, sign in zip(values, drawn):
        assert (sign == " ") == (value is None)
        assert (sign == BAD) == (value is not None and not math.isfinite(value))


@given(NUMBERS, st.integers(1, 80))
def test_buckets_keep_the_order_and_the_bounds(values: list[float | None], width: int) -> None:
    found = buckets(values, width)
    assert len(found) == min(len(values), width)
    known = [value for value in values if value is not None]
    if known and all(map(math.isfinite, known)):
        slack = 1e-6 * max(map(abs, known))
        assert all(min(known) - slack <= value <= max(known) + slack for value in found if value is not None)


def test_a_bucket_with_a_nan_shows_it() -> None:
    assert BAD in spark(buckets([1.0] * 500 + [math.nan] + [1.0] * 500, 10))


@given(NUMBERS, st.integers(12, 90), st.integers(2, 12), st.booleans())
def test_a_curve_has_its_height_and_fits_its_width(
    values: list[float | None], width: int, height: int, ascii: bool
) -> None:
    lines = curve(values, width, height, ascii=ascii)
    assert len(lines) == height
    assert all(len(line) <= max(width, 18) for line in lines)
    assert not ascii or all(line.isascii() for line in lines)


def test_a_curve_tells_its_scale_and_falls() -> None:
    lines = curve([8.0, 4.0, 2.0, 1.0], 30, 4, ascii=True)
    assert lines[0].split()[0] == "8"
    assert lines[-1].split()[0] == "1"
    assert lines[0].index("*") < lines[-1].index("*")


def test_few_points_are_joined_by_lines() -> None:
    lines = curve([0.0, 1.0], 42, 10, ascii=True)
    marks = sorted((line.index("*"), -row) for row, line in enumerate(lines))
    assert len(marks) == 10
    assert [row for _, row in marks] == sorted(row for _, row in marks)
    assert sum(line.count("*") for line in lines) >= 30


def test_bars_stand_on_one_zero_line() -> None:
    lines = bars([("a", -2.0, "-2"), ("b", 0.0, "0"), ("cc", 2.0, "2"), ("d", None, "None")], 40, ascii=True)
    zero = {line.index("|") for line in lines}
    assert len(zero) == 1
    place = zero.pop()
    assert lines[0][place - 1] == "#"
    assert lines[2][place + 1] == "#"
    assert "#" not in lines[1]
    assert lines[3].endswith("None")


def test_a_bar_on_a_log_scale_tells_orders_of_magnitude_apart() -> None:
    lengths = [len(log_bar(10.0**power, 1e-8, 1.0, 40, ascii=True)) for power in range(-8, 1)]
    assert lengths == [1, 5, 10, 15, 20, 25, 30, 35, 40]
    assert log_bar(1e-20, 1e-8, 1.0, 40, ascii=True) == "#"
    assert log_bar(5.0, 1e-8, 1.0, 40) == "█" * 40
    assert log_bar(0.0, 1e-8, 1.0, 40) == ""
    assert log_bar(math.inf, 1e-8, 1.0, 4) == BAD * 4
