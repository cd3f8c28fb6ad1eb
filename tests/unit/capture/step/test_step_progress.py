"""The stations and signs of a step: what a cut leaves to either part, and what is the next step's."""

from __future__ import annotations

import pytest

from gradscope.capture.step.raw import Station
from gradscope.capture.step.step_progress import StepProgress


def passed(*stations: tuple[str, int]) -> StepProgress:
    """After so many moments each, a second apart."""
    progress = StepProgress()
    for number, (kind, place) in enumerate(stations):
        progress.passes(Station(kind, number, 0, ()), float(number), place, None)
    return progress


@pytest.mark.parametrize("at", range(7))
def test_each_station_is_in_the_part_whose_moments_it_stands_among(at: int) -> None:
    whole = passed(("call", 0), ("backward", 3), ("update", 5))
    head, tail = whole.cut(at)
    assert head.stations + tail.stations == whole.stations
    assert head.passed_at + tail.passed_at == whole.passed_at
    assert head.places + [place + at for place in tail.places] == whole.places
    assert all(place < at for place in head.places)


def test_what_was_seen_is_seen_by_the_part_that_goes_on() -> None:
    whole = passed()
    whole.seen_backward, whole.seen_update, whole.zeroed = 2, 1, True
    whole.cuts, whole.roots = [2, 4, 6], {7: 1, 8: 5}
    head, tail = whole.cut(4)
    assert (head.cuts, head.roots, head.seen_backward, head.zeroed) == ([], {7: 1}, 0, False)
    assert (tail.cuts, tail.roots, tail.seen_backward, tail.seen_update, tail.zeroed) == ([2], {8: 1}, 2, 1, True)


@pytest.mark.parametrize(
    ("kind", "place", "left"), [("call", 5, 1), ("backward", 5, 1), ("update", 5, 2), ("call", 4, 2)]
)
def test_the_call_that_showed_the_end_is_of_the_next_step(kind: str, place: int, left: int) -> None:
    progress, following = passed(("call", 0), (kind, place)), StepProgress()
    progress.hand_on(following, 5)
    assert len(progress.stations) == len(progress.places) == len(progress.passed_at) == left
    assert following.places == [0] * (2 - left)
    assert following.passed_at == [1.0] * (2 - left)
