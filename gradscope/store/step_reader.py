"""The steps of a trace file: rows of `steps`, and between them those of the blocks in `repeats`.

A block's steps are like the row of `steps` before them. Reading trusts nothing: it raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from ..model.json_values import decode_float
from ..model.records import StepRow
from ..model.repeats import step_like
from . import packed
from .blocks import LARGEST, Columns, unpack_block
from .packed import Layout
from .rows import Row, whole

Ask = Callable[..., list[Row]]
R = TypeVar("R")
Measured = tuple[int, float | None, float | None]
_CHUNK = 512  # rows read at a time
_BEGIN = -(2**63)
_BLOCK = "SELECT first, count, template, layout, numbers FROM repeats"
_CURVE = "SELECT number, loss, layout, norms FROM steps WHERE number > ? ORDER BY number LIMIT ?"


class Block(NamedTuple):
    """Steps that follow each other, each like the row before the first."""

    first: int
    like: StepRow
    columns: Columns

    def row(self, number: int) -> StepRow | None:
        """The step of that number; None where it is another's."""
        place = number - self.first
        inside = 0 <= place < len(self.columns.starts)
        return step_like(self.like, number, self.columns.of(place)) if inside else None

    def rows(self) -> list[StepRow]:
        """All of them."""
        places = range(len(self.columns.starts))
        return [step_like(self.like, self.first + place, self.columns.of(place)) for place in places]


class StepReader:
    """Reads steps by questions to the file."""

    def __init__(self, ask: Ask, layout: Callable[[int], Layout]) -> None:
        self._ask, self._layout = ask, layout
        self._block: Block | None = None  # that was read last

    def forget(self) -> None:
        """The file may have become another."""
        self._block = None

    def numbers(self) -> list[int]:
        """The numbers of all steps."""
        blocks = [
            range(whole(first), whole(first) + min(whole(count), LARGEST))
            for first, count in self._ask("SELECT first, count FROM repeats")
        ]
        return sorted({*[whole(row[0]) for row in self._ask("SELECT number FROM steps")], *chain.from_iterable(blocks)})

    def row(self, number: int) -> StepRow | None:
        """The step of that number; None where there is none."""
        found = self._ask(f"{packed.SELECT_STEPS} WHERE number = ?", number)
        if found:
            return packed.step_of(found[0], self._layout)
        if self._block is None or self._block.row(number) is None:
            blocks = self._ask(f"{_BLOCK} WHERE first <= ? ORDER BY first DESC LIMIT 1", number)
            self._block = self._read(blocks[0]) if blocks else None
        return self._block.row(number) if self._block is not None else None

    def rows(self) -> Iterator[list[StepRow]]:
        """All steps, in order, some at a time."""
        return _in_order(self._single_rows(), self.block_rows(), lambda row: row.number)

    def series(self, parameter: int) -> Iterator[list[Measured]]:
        """(step, norm, gradient norm) of a parameter, where they were measured, in order, some at a time."""
        return _in_order(
            self._single_series(parameter), (_series(block, parameter) for block in self._blocks()), lambda one: one[0]
        )

    def curve(self, after: int) -> Iterator[list[Measured]]:
        """(step, loss, norm of all gradients) of the steps after that one, in order, some at a time."""
        blocks = ([one for one in _curve(block) if one[0] > after] for block in self._blocks(after))
        return _in_order(self._single_curve(after), blocks, lambda one: one[0])

    def block_rows(self) -> Iterator[list[StepRow]]:
        """The steps of blocks, a block at a time."""
        return (block.rows() for block in self._blocks())

    # -- rows of `steps` -------------------------------------------------------------------------------

    def _chunks(self, query: str, after: int) -> Iterator[list[Row]]:
        found = self._ask(query, after, _CHUNK)
        while found:
            yield found
            found = self._ask(query, found[-1][0], _CHUNK) if len(found) == _CHUNK else []

    def _single_rows(self) -> Iterator[list[StepRow]]:
        for found in self._chunks(f"{packed.SELECT_STEPS} WHERE number > ? ORDER BY number LIMIT ?", _BEGIN):
            yield [packed.step_of(row, self._layout) for row in found]

    def _single_series(self, parameter: int) -> Iterator[list[Measured]]:
        places: dict[int, tuple[int | None, int | None, int]] = {}
        for rows in self._chunks(
            "SELECT number, layout, norms FROM steps WHERE number > ? ORDER BY number LIMIT ?", _BEGIN
        ):
            found: list[Measured] = []
            for number, layout, norms in rows:
                if layout not in places:
                    places[layout] = self._layout(layout).places_of(parameter)
                norm, grad, count = places[layout]
                if norm is not None or grad is not None:
                    values = packed.unpack("f", norms, count)
                    numbers = [None if place is None else values[place] for place in (norm, grad)]
                    found.append((number, numbers[0], numbers[1]))
            yield found

    def _single_curve(self, after: int) -> Iterator[list[Measured]]:
        for rows in self._chunks(_CURVE, after):
            yield [
                (
                    whole(number),
                    None if loss is None else decode_float(loss),
                    self._layout(layout).gradient_norm(norms),
                )
                for number, loss, layout, norms in rows
            ]

    # -- blocks ----------------------------------------------------------------------------------------

    def _blocks(self, after: int = _BEGIN) -> Iterator[Block]:
        """Those with steps after that one."""
        found = self._ask(f"{_BLOCK} WHERE first + count > ? + 1 ORDER BY first LIMIT 1", after)
        while found:
            yield self._read(found[0])
            found = self._ask(f"{_BLOCK} WHERE first > ? ORDER BY first LIMIT 1", found[0][0])

    def _read(self, row: Row) -> Block:
        first, count, template, layout, numbers = row
        before = self._ask(f"{packed.SELECT_STEPS} WHERE number < ? ORDER BY number DESC LIMIT 1", first)
        if not before or before[0][3:5] != (template, layout):
            raise ValueError(f"the steps from {first} on are like none that is there")
        like = packed.step_of(before[0], self._layout)
        return Block(whole(first), like, unpack_block(like, whole(count), numbers))


def _series(block: Block, parameter: int) -> list[Measured]:
    place = next((at for at, norm in enumerate(block.like.norms) if norm[0] == parameter), None)
    if place is None:
        return []
    norms, gradients = block.columns.norms[2 * place : 2 * place + 2]
    return [(number, norm, gradient) for number, (norm, gradient) in enumerate(zip(norms, gradients), block.first)]


def _curve(block: Block) -> list[Measured]:
    columns = block.columns
    losses: Sequence[Any] = columns.losses if block.like.loss is not None else [None] * len(columns.losses)
    return [
        (number, loss, norm) for number, (loss, norm) in enumerate(zip(losses, columns.gradient_norms()), block.first)
    ]


def _in_order(singles: Iterator[list[R]], blocks: Iterator[list[R]], number: Callable[[R], int]) -> Iterator[list[R]]:
    """What both have, by rising number, some at a time; of what both have, while the file is written, one."""
    waiting: list[R] = []
    last = _BEGIN - 1
    for one in merge(chain.from_iterable(singles), chain.from_iterable(blocks), key=number):
        if number(one) > last:
            last = number(one)
            waiting.append(one)
        if len(waiting) == _CHUNK:
            yield waiting
            waiting = []
    yield waiting
