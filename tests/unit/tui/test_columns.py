"""The columns of the parameters' table: the order they give, and what there is room for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.model.records import Parameter
from gradscope.tui.columns import COLUMNS, fitting, ranked
from gradscope.tui.figures import NONE, Figures, Gradient


def parameters(*shapes: tuple[int, ...]) -> list[Parameter]:
    return [
        Parameter(number, f"p{number}", "net", "parameter", shape, "float32", "cpu", True, 0)
        for number, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize(("descending", "order"), [(False, [2, 4, 0, 3, 1]), (True, [2, 3, 0, 4, 1])])
def test_nan_is_first_and_what_is_not_known_last_either_way(descending: bool, order: list[int]) -> None:
    norms = [2.0, None, math.nan, 3.0, 1.0]

    def figures_of(one: Parameter) -> Figures:
        return Figures(norms[one.id], None, Gradient(NONE), None, True, None, ())

    found = ranked(parameters(*[(1,)] * 5), "|p|", figures_of, descending=descending)
    assert [one.id for one in found] == order


def test_a_shape_ranks_by_its_size_and_names_stay_as_they_come() -> None:
    def figures_of(one: Parameter) -> Figures:
        raise AssertionError(f"the figures of {one.name} are not needed")

    known = parameters((3, 3), (8,), (2, 2, 5))
    assert [one.id for one in ranked(known, "shape", figures_of, descending=True)] == [2, 0, 1]
    assert [one.id for one in ranked(known, "name", figures_of, descending=False)] == [0, 1, 2]
    assert [one.id for one in ranked(known, "name", figures_of, descending=True)] == [2, 1, 0]


@given(st.integers(20, 300), st.integers(0, 80), st.integers(0, len(COLUMNS) - 1))
def test_what_is_shown_fits_in(width: int, longest: int, first: int) -> None:
    wanted = list(COLUMNS.values())[first:]
    name, columns, curve = fitting(width, longest, wanted)
    assert name + sum(column.width + 1 for column in columns) + (curve + 1 if curve else 0) <= width
    assert columns == wanted[: len(columns)]
    assert name >= min(longest, 12)
