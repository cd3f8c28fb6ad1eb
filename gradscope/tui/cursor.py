"""Time travel: places in a trace, and where each key leads from one. Pure; nothing here reads a file.

A place is (step, moment). Some moments are only known once their step is read: `LAST` is a step's last one,
`SAME` the one the cursor is at now if the two steps did the same, else the step's start, `OPENING` the one to begin at.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, cast

from ..model.moments import Backward, Failure, Move, Mutation, Template
from ..model.trace import Step
from .bad_numbers import bad_moments

START = -1
LAST = -2
SAME = -3
OPENING = -4


class Place(NamedTuple):
    """One position of the cursor."""

    step: int
    moment: int


class Landmark(str, Enum):
    """What the cursor can jump to. The value is the word a user sees."""

    MUTATION = "in-place change"
    MOVE = "device move"
    BAD = "NaN or Inf"
    FINDING = "finding"


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The moments of one step that the cursor can jump to, each list rising; `opening` is where to begin."""

    phases: tuple[int, ...]
    mutations: tuple[int, ...]
    moves: tuple[int, ...]
    bad: tuple[int, ...]
    opening: int

    def of(self, kind: Landmark) -> tuple[int, ...]:
        return {Landmark.MUTATION: self.mutations, Landmark.MOVE: self.moves, Landmark.BAD: self.bad}.get(kind, ())


def landmarks(step: Step) -> Landmarks:
    """The landmarks of a step that was read."""
    mutations, moves = writes_and_moves(step.template)
    return Landmarks(phase_starts(step.template), mutations, moves, bad_moments(step), opening(step))


def opening(step: Step) -> int:
    """Where a reader begins: where the script failed, else where the first backward starts, else at the step's end."""
    failures = (at for at in step.positions(Failure) if not cast(Failure, step.moments[at]).caught)
    backwards = iter(step.positions(Backward))
    return next(failures, next(backwards, len(step.moments) - 1))


def phase_starts(template: Template) -> tuple[int, ...]:
    """The first moment of each stretch of one phase."""
    moments = template.moments
    return tuple(
        index for index, moment in enumerate(moments) if index == 0 or moments[index - 1].phase is not moment.phase
    )


def writes_and_moves(template: Template) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The moments at which a tensor was written in place, and those at which one was copied elsewhere."""
    mutations = tuple(index for index, moment in enumerate(template.moments) if isinstance(moment, Mutation))
    return mutations, tuple(index for index, moment in enumerate(template.moments) if isinstance(moment, Move))


def by_moments(place: Place, by: int, count: int, steps: Sequence[int]) -> Place:
    """`by` moments (+1 or -1) further. Past a step's ends lie its neighbours; past the last step, nothing."""
    moment = place.moment + by
    if START <= moment < count:
        return Place(place.step, moment)
    neighbour = by_steps(place, by, steps)
    if neighbour.step == place.step:
        return place
    return Place(neighbour.step, START if by > 0 else LAST)


def by_steps(place: Place, by: int, steps: Sequence[int]) -> Place:
    """The neighbouring recorded step, at the same moment if it did the same; the place itself if there is none."""
    at = bisect_left(steps, place.step) if by < 0 else bisect_right(steps, place.step) - 1
    to = at + by
    return Place(steps[to], SAME) if 0 <= to < len(steps) else place


def by_phases(place: Place, by: int, starts: Sequence[int], steps: Sequence[int]) -> Place:
    """The first moment of the next phase, or of this one and then the previous; neighbours follow at the ends."""
    moment = nearest(starts, place.moment, by)
    if moment is not None:
        return Place(place.step, moment)
    if by < 0 and place.moment > START:
        return Place(place.step, START)
    neighbour = by_steps(place, by, steps)
    if neighbour.step == place.step:
        return place
    return Place(neighbour.step, START if by > 0 else LAST)


def nearest(moments: Sequence[int], moment: int, by: int) -> int | None:
    """The first of rising `moments` after `moment` (`by` > 0) or the last before it; None when there is none."""
    at = bisect_right(moments, moment) if by > 0 else bisect_left(moments, moment) - 1
    return moments[at] if 0 <= at < len(moments) else None


def next_place(places: Iterable[Place], here: Place, by: int) -> Place | None:
    """The nearest of `places` after (`by` > 0) or before `here`; None when there is none."""
    if by > 0:
        return min((place for place in places if place > here), default=None)
    return max((place for place in places if place < here), default=None)


def resolve(place: Place, count: int, here: int, same: bool, opening: int = START) -> Place:
    """`place` once its step is read: it has `count` moments. `same`: it did what the step left at `here` did."""
    if place.moment == OPENING:
        return Place(place.step, opening)
    if place.moment == LAST:
        return Place(place.step, count - 1)
    if place.moment == SAME:
        return Place(place.step, here if same else START)
    return Place(place.step, max(START, min(place.moment, count - 1)))


def parse_place(text: str, here: Place) -> Place:
    """`12` (a step), `12:40` (its moment 40), `:40` (a moment of this step). Raises ValueError saying what is meant.

    Typed moments count from 1, as on screen; 0 is the step's start.
    """
    meant = "type a step (12), a step and a moment of it (12:40), or a moment of this step (:40)"
    step, _, moment = text.strip().partition(":")
    if not step and not moment:
        raise ValueError(meant)
    try:
        number = {"": here.step, "setup": -1}.get(step)
        return Place(int(step) if number is None else number, int(moment) - 1 if moment else START)
    except ValueError:
        raise ValueError(f"{text!r} is no place in a trace: {meant}") from None
