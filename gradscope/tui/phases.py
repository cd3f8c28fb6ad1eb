"""`PhaseBar`: the phases of one step laid along a line of cells, and which moment lies under which cell. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..model.records import Phase
from ..model.trace import Step


@dataclass(frozen=True, slots=True)
class Stretch:
    """Moments `first` to `end` - 1 of one phase, on cells `cell` to `cell` + `width` - 1."""

    phase: Phase
    first: int
    end: int
    cell: int
    width: int


class PhaseBar:
    """A step's moments on `width` cells; cell 0 is the step's start, before its first moment."""

    def __init__(self, spans: Sequence[tuple[Phase, int]], moments: int, width: int) -> None:
        self.moments = moments
        self.width = width
        self.stretches = _laid_out(_merged(spans, moments), max(width - 1, 1)) if moments else []
        self._firsts = [stretch.first for stretch in self.stretches]
        self._cells = [stretch.cell for stretch in self.stretches]

    @classmethod
    def of(cls, step: Step, width: int) -> PhaseBar:
        """The bar of a step that was read."""
        spans = [(span.phase, span.moment) for span in step.row.phases]
        return cls(spans or phases_of(step), len(step.moments), width)

    def cell_of(self, moment: int) -> int:
        """The cell that a moment lies on."""
        if moment < 0 or not self.stretches:
            return 0
        stretch = self.stretches[max(bisect_right(self._firsts, moment) - 1, 0)]
        inside = (moment - stretch.first) * stretch.width // (stretch.end - stretch.first)
        return stretch.cell + min(inside, stretch.width - 1)

    def moment_at(self, cell: int) -> int:
        """The first moment that lies on a cell, or on the nearest one that has any; -1 for the start."""
        if cell <= 0 or not self.stretches:
            return -1
        stretch = self.stretches[max(bisect_right(self._cells, cell) - 1, 0)]
        inside = min(cell - stretch.cell, stretch.width - 1)
        count = stretch.end - stretch.first
        return min(stretch.first + -(-inside * count // stretch.width), stretch.end - 1)

    def stretch_at(self, cell: int) -> Stretch | None:
        place = bisect_right(self._cells, cell) - 1
        return self.stretches[place] if place >= 0 else None


def phases_of(step: Step) -> list[tuple[Phase, int]]:
    """(phase, its first moment) for each stretch of one phase. Linear in the step's moments."""
    found: list[tuple[Phase, int]] = []
    for index, moment in enumerate(step.moments):
        if not found or found[-1][0] is not moment.phase:
            found.append((moment.phase, index))
    return found


def _merged(spans: Sequence[tuple[Phase, int]], moments: int) -> list[tuple[Phase, int, int]]:
    """(phase, first, end), neighbours of one phase as one, none empty, the first from moment 0 on."""
    merged: list[tuple[Phase, int, int]] = []
    for index, (phase, first) in enumerate(spans):
        end = min(spans[index + 1][1] if index + 1 < len(spans) else moments, moments)
        first = merged[-1][2] if merged else 0
        if end <= first:
            continue
        if merged and merged[-1][0] is phase:
            merged[-1] = (phase, merged[-1][1], end)
        else:
            merged.append((phase, first, end))
    return merged or [(Phase.OTHER, 0, moments)]


def _laid_out(spans: Sequence[tuple[Phase, int, int]], width: int) -> list[Stretch]:
    """Room for names where there is any, the rest by how many moments a stretch has; else by moments alone."""
    least = next((found for found in _wishes(spans) if sum(found) <= width), [0] * len(spans))
    spare, total = width - sum(least), spans[-1][2]
    stretches: list[Stretch] = []
    cell = given = 0
    for (phase, first, end), own in zip(spans, least):
        given += own
        after = given + end * spare // total
        if after > cell:
            stretches.append(Stretch(phase, first, end, cell + 1, after - cell))
            cell = after
        elif stretches:  # too many stretches for the cells: this one lies under the last
            stretches[-1] = replace(stretches[-1], end=end)
        else:
            stretches.append(Stretch(phase, first, end, 1, 1))
            cell = 1
    return stretches


def _wishes(spans: Sequence[tuple[Phase, int, int]]) -> Iterator[list[int]]:
    """The least cells of each stretch, from what is wanted to what will do."""
    yield [len(phase.value) + 2 for phase, _, _ in spans]
    yield [3] * len(spans)
    yield [1] * len(spans)
