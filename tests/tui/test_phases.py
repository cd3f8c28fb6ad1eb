"""Moments on a line of cells, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gradscope.model.records import Phase
from gradscope.tui.phases import PhaseBar, phases_of
from tests.builders import mlp_trace

SPANS = st.lists(st.tuples(st.sampled_from(Phase), st.integers(1, 60)), min_size=1, max_size=40)


def bar_of(stretches: list[tuple[Phase, int]], width: int) -> PhaseBar:
    spans, first = [], 0
    for phase, count in stretches:
        spans.append((phase, first))
        first += count
    return PhaseBar(spans, first, width)


@given(SPANS, st.integers(2, 200))
def test_stretches_fill_the_cells_without_gaps(stretches: list[tuple[Phase, int]], width: int) -> None:
    bar = bar_of(stretches, width)
    assert bar.stretches[0].first == 0
    assert bar.stretches[0].cell == 1
    assert bar.stretches[-1].end == bar.moments
    for one, following in zip(bar.stretches, bar.stretches[1:]):
        assert one.end == following.first
        assert one.cell + one.width == following.cell
    last = bar.stretches[-1]
    assert last.cell + last.width <= max(width, 2)


@given(SPANS, st.integers(2, 200))
def test_later_moments_never_lie_left_of_earlier_ones(stretches: list[tuple[Phase, int]], width: int) -> None:
    bar = bar_of(stretches, width)
    cells = [bar.cell_of(moment) for moment in range(-1, bar.moments)]
    assert cells == sorted(cells)
    assert cells[0] == 0


@given(SPANS, st.integers(2, 200))
def test_a_cell_leads_to_a_moment_that_lies_on_it_if_any_does(stretches: list[tuple[Phase, int]], width: int) -> None:
    bar = bar_of(stretches, width)
    on_cell = {bar.cell_of(moment) for moment in range(-1, bar.moments)}
    for cell in range(width):
        moment = bar.moment_at(cell)
        assert -1 <= moment < bar.moments
        if cell in on_cell:
            assert bar.cell_of(moment) == cell


def test_names_have_room_where_there_is_any() -> None:
    bar = bar_of([(Phase.ZERO_GRAD, 1), (Phase.FORWARD, 500), (Phase.BACKWARD, 500)], 80)
    assert bar.stretches[0].width >= len("│zero grad")


def test_a_step_without_moments_has_no_stretches() -> None:
    bar = PhaseBar([], 0, 40)
    assert (bar.stretches, bar.cell_of(-1), bar.moment_at(7)) == ([], 0, -1)


def test_phases_are_read_from_the_moments_where_no_times_were_recorded() -> None:
    step = mlp_trace().step(1)
    assert phases_of(step) == [(span.phase, span.moment) for span in step.row.phases]
