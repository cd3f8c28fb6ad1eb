"""Blocks: many steps in a row that differ from the step before them in numbers only, packed into one row of `repeats`.

Reading trusts nothing: it raises ValueError.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from ..model.records import StepRow
from .packed import pack, unpack

LARGEST = 4096  # steps of a block
SINGLES = "f"  # how the times of phases, norms and distances are packed; all other numbers as "d"


class Columns(NamedTuple):
    """The numbers of a block, each kind for all of its steps: as `Repeats` has them, without the steps' own."""

    starts: Sequence[float]
    durations: Sequence[float]
    losses: Sequence[float]
    times: list[Sequence[float]]
    rates: list[Sequence[float]]
    norms: list[Sequence[float]]
    distances: list[Sequence[float]]

    def of(self, place: int) -> list[float]:
        """The numbers of one step, as `step_like` takes them."""
        columns = (self.starts, self.durations, self.losses, *self.times, *self.rates, *self.norms, *self.distances)
        return [column[place] for column in columns]

    def gradient_norms(self) -> Iterator[float | None]:
        """The norm of all gradients together, of each step."""
        gradients = self.norms[1::2]
        return map(math.hypot, *gradients) if gradients else iter([None] * len(self.starts))


def runs(numbers: array[float], width: int) -> Iterator[tuple[int, array[float]]]:
    """(first step, its numbers and those of the steps that follow it without a gap), block after block."""
    begin, count = 0, len(numbers) // width
    for at in range(1, count + 1):
        if at == count or at - begin == LARGEST or numbers[at * width] != numbers[(at - 1) * width] + 1:
            yield int(numbers[begin * width]), numbers[begin * width : at * width]
            begin = at


def pack_block(like: StepRow, numbers: array[float]) -> tuple[int, bytes]:
    """(how many steps, their numbers) of the steps like that row with these numbers, laid out as `Repeats` has them."""
    times, rates, *measured = _counts(like)
    width = 4 + times + rates + sum(measured)
    columns = [numbers[place::width] for place in range(1, width)]
    exact = (*columns[:3], *columns[3 + times : 3 + times + rates])
    doubles = b"".join([pack("d", column) for column in exact])
    singles = b"".join([pack(SINGLES, column) for column in (*columns[3 : 3 + times], *columns[3 + times + rates :])])
    return len(numbers) // width, zlib.compress(_apart(doubles, 8) + _apart(singles, 4), 1)


def unpack_block(like: StepRow, count: int, packed: object) -> Columns:
    """What `pack_block` packed. Raises ValueError for anything else."""
    times, rates, norms, distances = _counts(like)
    if not (0 < count <= LARGEST and isinstance(packed, bytes)):
        raise ValueError("repeats.numbers are no block of steps")
    wide, narrow = 8 * (3 + rates) * count, 4 * (times + norms + distances) * count
    try:
        data = zlib.decompressobj().decompress(packed, wide + narrow + 1)
    except zlib.error as error:
        raise ValueError(f"repeats.numbers: {error}") from None
    if len(data) != wide + narrow:
        raise ValueError("repeats.numbers are not as many as its steps have")
    doubles = unpack("d", _together(data[:wide], 8), (3 + rates) * count)
    singles = unpack(SINGLES, _together(data[wide:], 4), (times + norms + distances) * count)
    columns = iter([each[at : at + count] for each in (doubles, singles) for at in range(0, len(each), count)])
    starts, durations, losses = islice(columns, 3)
    counts = (("rates", rates), ("times", times), ("norms", norms), ("distances", distances))
    lists = {name: list(islice(columns, many)) for name, many in counts}
    return Columns(starts, durations, losses, **lists)


def _counts(like: StepRow) -> tuple[int, int, int, int]:
    """How many times of phases, learning rates, norms and distances a step like that row has."""
    return 2 * len(like.phases), len(like.learning_rates), 2 * len(like.norms), len(like.distances)


def _apart(data: bytes, size: int) -> bytes:
    """The first byte of each number, then the second of each: those of one kind are alike, which packs well."""
    return b"".join([data[place::size] for place in range(size)])


def _together(data: bytes, size: int) -> bytes:
    """What `_apart` was given."""
    whole, count = bytearray(len(data)), len(data) // size
    for place in range(size):
        whole[place::size] = data[place * count : (place + 1) * count]
    return bytes(whole)
