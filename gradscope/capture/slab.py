"""A slab: copies of small tensors, whose statistics are computed together.

For a tensor of a few thousand numbers, numpy's calls cost more than the numbers do.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.packed_samples import STATS_BYTES

if TYPE_CHECKING:
    from .stats import Reading

_EXACT = 1e-280, 1e300  # sums of squares between which neither squares nor their sum overflow or vanish


class Slab:
    """Numbers of one type ("f4" or "f8"), tensor after tensor, and the readings that wait for their statistics."""

    ROOM = 1 << 16  # numbers

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._numbers: Any = None
        self._readings: list[Reading] = []
        self._ends: list[int] = [0]  # where each tensor's numbers end, after a first 0

    def take(self, reading: Reading, flat: Any, count: int) -> None:
        """Copy the `count` numbers of `flat`; `settle` computes what `reading` lacks."""
        begin = self._ends[-1]
        if begin + count > self.ROOM or self._numbers is None:
            self._make_room()
            begin = 0
        end = begin + count
        self._numbers[begin:end] = flat
        self._ends.append(end)
        self._readings.append(reading)

    def _make_room(self) -> None:
        if self._numbers is None:
            self._numbers = np.empty(self.ROOM, self._kind)
            self._wide = np.empty(self.ROOM, "<f8")
        self.settle()

    def settle(self) -> None:
        """Compute the statistics of all that was taken."""
        if not self._readings:
            return
        readings, ends = self._readings, self._ends
        self._readings, self._ends = [], [0]
        flat, wide = self._numbers[: ends[-1]], self._wide[: ends[-1]]
        with np.errstate(all="ignore"):
            np.copyto(wide, flat)
            for reading, (begin, end) in zip(readings, pairwise(ends)):
                if reading.form[2] is not None:
                    reading.values = wide[begin:end].tobytes()
            stats = _stats(flat, wide, ends)
        for place, reading in enumerate(readings):
            reading.stats = stats[place * STATS_BYTES : (place + 1) * STATS_BYTES]


def _stats(flat: Any, wide: Any, ends: list[int]) -> bytes:
    """The fields of `Stats`, packed, of each stretch of `flat`. `wide`: the same as f8, which is used up."""
    starts, sizes = np.array(ends[:-1]), np.diff(ends)
    rows = np.empty((len(starts), STATS_BYTES // 8), "<f8")
    counts = rows.view("<i8")
    total = np.add.reduceat(wide, starts)
    low, high = np.minimum.reduceat(flat, starts), np.maximum.reduceat(flat, starts)
    np.multiply(wide, wide, out=wide)
    squares = np.add.reduceat(wide, starts)
    zero = flat == 0
    count = np.count_nonzero
    counts[:, 0] = sizes
    rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4], rows[:, 5] = total, total / sizes, np.sqrt(squares), low, high
    counts[:, 6] = [count(zero[begin:end]) for begin, end in pairwise(ends)]
    counts[:, 7:] = 0
    plain = (squares > _EXACT[0]) & (squares < _EXACT[1]) | (low == 0) & (high == 0)
    if not plain.all():
        for place in np.flatnonzero(~plain).tolist():
            numbers = flat[ends[place] : ends[place + 1]].astype("f8")
            counts[place, 7], counts[place, 8] = count(np.isnan(numbers)), count(np.isinf(numbers))
            rows[place, 3] = _norm(numbers)
    return rows.tobytes()


def _norm(numbers: Any) -> float:
    """The 2-norm where squares would overflow or vanish."""
    scale = float(np.abs(numbers).max())
    if not 0 < scale < np.inf:
        return scale  # NaN, infinite, or all zero
    scaled = numbers / scale
    return scale * float(np.sqrt(np.dot(scaled, scaled)))
