"""When phases begin and end, and what a cut leaves to either part."""

from __future__ import annotations

import pytest

from gradscope.capture.step.timing import Timing
from gradscope.model.records import Phase

FORWARD, LOSS, BACKWARD, OTHER = Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OTHER


def timed(*phases: tuple[Phase, int, float], until: float = 0.0) -> Timing:
    timing = Timing(0.0)
    timing.until = until
    for phase, index, now in phases:
        timing.enters(phase, index, now)
    return timing


def test_a_phase_that_nothing_ends_ended_with_the_last_that_was_told_of_it() -> None:
    timing = timed((FORWARD, 0, 1.0))
    timing.until = 2.0
    timing.enters(Phase.OPTIMIZER_STEP, 5, 9.0)
    assert timing.marks == [(FORWARD, 0), (OTHER, 5), (Phase.OPTIMIZER_STEP, 5)]
    assert timing.times == [1.0, 2.0, 9.0]


def test_a_loss_follows_a_forward_at_once() -> None:
    assert timed((FORWARD, 0, 1.0), (LOSS, 3, 4.0)).times == [1.0, 4.0]


@pytest.mark.parametrize("at", range(1, 9))
def test_the_parts_of_a_cut_are_the_whole(at: int) -> None:
    whole = timed((FORWARD, 0, 1.0), (LOSS, 3, 4.0), (BACKWARD, 5, 6.0))
    whole.end = 8.0
    head, tail = whole.cut(at)
    assert head.end == tail.start == tail.times[0]
    assert (head.start, tail.end, tail.phase) == (0.0, 8.0, BACKWARD)
    moments = [0, 3, 5]
    assert [index for _, index in head.marks] == [index for index in moments if index < at]
    assert [index for _, index in tail.marks] == [0, *(index - at for index in moments if index > at)]
    assert head.times == sorted(head.times)
    assert tail.times == sorted(tail.times)


def test_where_a_phase_begins_at_the_cut_the_second_part_begins_with_it() -> None:
    head, tail = timed((FORWARD, 0, 1.0), (BACKWARD, 5, 6.0)).cut(5)
    assert (head.marks, head.end) == ([(FORWARD, 0)], 6.0)
    assert (tail.marks, tail.times) == ([(BACKWARD, 0)], [6.0])


def test_a_step_that_goes_on_is_over_now() -> None:
    timing = Timing(1.0)
    assert timing.over > 1.0
    timing.end = 2.0
    assert timing.over == 2.0
