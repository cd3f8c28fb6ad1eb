"""A slab: copies of small tensors, whose statistics are computed together.

For a tensor of a few thousand numbers, numpy's calls cost more than the numbers do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ctypes import memmove
from typing import Any

import numpy as np

from ...model.packed_samples import STATS_BYTES, Form
from .reading import Reading

_EACH = struct.Struct(f"{STATS_BYTES}s").iter_unpack
_EXACT = 1e-280, 1e300  # sums of squares between which neither squares nor their sum overflow or vanish


class Slab:
    """Numbers of one type ("f4" or "f8"), tensor after tensor, and the readings that wait for their statistics."""

    ROOM = 1 << 16  # numbers

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._numbers: Any = None
        self._address = self._size = 0  # where they lie, and the bytes of one
        self._readings: list[Reading] = []
        self._ends: list[int] = [0]  # where each tensor's numbers end, after a first 0
        self._told: list[tuple[Reading, int, int]] = []  # readings that tell their values, and where these lie

    def take(self, reading: Reading, form: Form, address: int, count: int) -> None:
        """Copy `count` numbers, at most `ROOM`, that lie in memory; `settle` computes what `reading` lacks.

        A tensor's memory is copied as such: as a numpy array it could not be resized any more.
        """
        begin = self._ends[-1]
        end = begin + count
        if end > self.ROOM or self._numbers is None:
            self._make_room()
            begin, end = 0, count
        memmove(self._address + begin * self._size, address, count * self._size)
        if form[2] is not None:
            self._told.append((reading, begin, end))
        self._ends.append(end)
        self._readings.append(reading)

    def _make_room(self) -> None:
        if self._numbers is None:
            self._numbers = np.empty(self.ROOM, self._kind)
            self._address, self._size = self._numbers.ctypes.data, self._numbers.itemsize
            self._wide = np.empty(self.ROOM, "<f8")
        self.settle()

    def settle(self) -> None:
        """Compute the statistics of all that was taken."""
        if not self._readings:
            return
        readings, ends, told = self._readings, self._ends, self._told
        self._readings, self._ends, self._told = [], [0], []
        flat, wide = self._numbers[: ends[-1]], self._wide[: ends[-1]]
        with np.errstate(all="ignore"):
            np.copyto(wide, flat)
            for reading, begin, end in told:
                reading.values = wide[begin:end].tobytes()
            stats = _stats(flat, wide, ends)
        for reading, (found,) in zip(readings, _EACH(stats)):
            reading.stats = found


def _stats(flat: Any, wide: Any, ends: Sequence[int]) -> bytes:
    """The fields of `Stats`, packed, of each stretch of `flat`. `wide`: the same as f8, which is used up."""
    bounds = np.array(ends)
    starts = bounds[:-1]
    columns = np.empty((STATS_BYTES // 8, len(starts)), "<f8")
    counts = columns.view("<i8")
    counts[0] = bounds[1:] - starts
    np.add.reduceat(wide, starts, out=columns[1])
    np.divide(columns[1], counts[0], out=columns[2])
    np.multiply(wide, wide, out=wide)
    squares = np.add.reduceat(wide, starts)
    np.sqrt(squares, out=columns[3])
    low, high = np.minimum.reduceat(flat, starts), np.maximum.reduceat(flat, starts)
    columns[4], columns[5] = low, high
    zeros = (flat == 0).nonzero()[0].searchsorted(bounds)
    counts[6] = zeros[1:] - zeros[:-1]
    counts[7:] = 0
    if not (squares.min() > _EXACT[0] and squares.max() < _EXACT[1]):
        odd = ~((squares > _EXACT[0]) & (squares < _EXACT[1])) & ~((low == 0) & (high == 0))
        for place in odd.nonzero()[0].tolist():
            numbers = flat[ends[place] : ends[place + 1]].astype("f8")
            counts[7:, place] = np.count_nonzero(np.isnan(numbers)), np.count_nonzero(np.isinf(numbers))
            columns[3, place] = _norm(numbers)
    packed: bytes = np.ascontiguousarray(columns.T).tobytes()
    return packed


def _norm(numbers: Any) -> float:
    """The 2-norm where squares would overflow or vanish."""
    scale = float(np.abs(numbers).max())
    if not 0 < scale < np.inf:
        return scale  # NaN, infinite, or all zero
    scaled = numbers / scale
    return scale * float(np.sqrt(np.dot(scaled, scaled)))
