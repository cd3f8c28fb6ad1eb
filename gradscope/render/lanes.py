"""Lanes: a DAG as rows of text, one node a row, its edges running down the left (as `git log --graph` does).

A lane is the way of one source to its targets, or of several sources to one target, never of both:
so whatever a lane touches hangs together as drawn. Rows are drawn one by one, from intervals, so that
drawing costs the same at any size.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

# By which of (up, down, left, right) a cell connects.
_CROSSINGS = {
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (True, True, True, True): "┼",
    (False, True, True, True): "┬",
    (True, False, True, True): "┴",
    (False, True, False, True): "╭",
    (False, True, True, False): "╮",
    (True, False, False, True): "╰",
    (True, False, True, False): "╯",
}
_PLAIN, _DASHED = "│", "┆"
_BAR, _DASHED_BAR = "─", "╌"
_APART = 4  # sources of one node that have lanes of their own; of more, those that feed it alone share one


def order(nodes: Sequence[int], targets: Mapping[int, Sequence[int]]) -> list[int]:
    """A topological order that keeps the given one where it can.

    A node without sources comes just before its first reader, one without targets just after its last feeder.
    """
    place = {node: rank for rank, node in enumerate(nodes)}
    sources = _sources(nodes, targets)
    waiting = {node: len(sources[node]) for node in nodes}
    heap = [place[node] for node in nodes if not waiting[node]]
    heapq.heapify(heap)
    found: list[int] = []
    while heap:
        node = nodes[heapq.heappop(heap)]
        found.append(node)
        ends = []
        for target in targets.get(node, ()):
            waiting[target] -= 1
            if not waiting[target] and not targets.get(target):
                ends.append(target)
            elif not waiting[target]:
                heapq.heappush(heap, place[target])
        found += sorted(ends, key=place.__getitem__)
    late: list[int] = []
    placed: set[int] = set()
    for node in found:
        if not sources[node] and targets.get(node):
            continue  # placed with its first reader
        for one in (*dict.fromkeys(source for source in sources[node] if not sources[source]), node):
            if one not in placed:
                placed.add(one)
                late.append(one)
    return late


def _sources(nodes: Sequence[int], targets: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    sources: dict[int, list[int]] = {node: [] for node in nodes}
    for node in nodes:
        for target in targets.get(node, ()):
            sources[target].append(node)
    return sources


@dataclass(frozen=True, slots=True)
class Bar:
    """What ties a row's node to other lanes. `touches` are the (up, down) of each lane it connects to, by column."""

    first: int
    last: int
    touches: Mapping[int, tuple[bool, bool]]
    dashed: bool


@dataclass(slots=True)
class _Column:
    """The lanes that run in one column, from top to bottom; none overlaps the next."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    dashed: list[bool] = field(default_factory=list)

    def above(self, row: int) -> bool | None:
        """Whether the lane that comes down to the row is dashed; None when none does."""
        last = bisect_left(self.starts, row) - 1
        return self.dashed[last] if last >= 0 and self.ends[last] >= row else None

    def below(self, row: int) -> bool | None:
        """Whether the lane that goes on below the row is dashed; None when none does."""
        last = bisect_right(self.starts, row) - 1
        return self.dashed[last] if last >= 0 and self.ends[last] > row else None


class Lanes:
    """A drawn DAG: `order` has the node of each row, `columns` the column it stands in.

    `edges` are (source, target, dashed); `nodes` are in the wanted order, which must be topological.
    """

    def __init__(self, nodes: Sequence[int], edges: Iterable[tuple[int, int, bool]]) -> None:
        self.order = nodes
        self.row = {node: row for row, node in enumerate(nodes)}
        self.columns: list[int] = []
        self.widths: list[int] = []
        self.bars: dict[int, Bar] = {}
        self._columns: list[_Column] = []
        _Builder(self, edges).build()

    @cached_property
    def width(self) -> int:
        """Columns of the widest row; a column is two characters wide."""
        return max(self.widths, default=0)

    def draw(self, row: int, sign: str, first: int = 0, count: int | None = None) -> str:
        """Row `row` with `sign` for its node, without blanks at its end; `count` columns from `first` on."""
        end = self.widths[row] if count is None else min(first + count, self.widths[row])
        bar = self.bars.get(row)
        drawn = []
        for column in range(first, end):
            if column == self.columns[row]:
                cell = sign
            else:
                cell = self._cell(row, column, bar)
            inside = bar is not None and bar.first <= column < bar.last
            drawn.append(cell + ((_DASHED_BAR if bar and bar.dashed else _BAR) if inside else " "))
        return "".join(drawn).rstrip()

    def below(self, row: int, first: int = 0, count: int | None = None) -> str:
        """The lanes that go on below row `row`."""
        end = len(self._columns) if count is None else min(first + count, len(self._columns))
        drawn = []
        for column in range(first, end):
            dashed = self._columns[column].below(row)
            drawn.append((" " if dashed is None else _DASHED if dashed else _PLAIN) + " ")
        return "".join(drawn).rstrip()

    def _cell(self, row: int, column: int, bar: Bar | None) -> str:
        touch = bar.touches.get(column) if bar else None
        if bar is not None and touch is not None:
            return _CROSSINGS[touch[0], touch[1], column > bar.first, column < bar.last]
        dashed = self._columns[column].above(row)
        if dashed is not None:
            return _DASHED if dashed else _PLAIN
        if bar is not None and bar.first < column < bar.last:
            return _DASHED_BAR if bar.dashed else _BAR
        return " "


@dataclass(slots=True)
class _Lane:
    column: int
    start: int
    end: int
    dashed: bool


class _Builder:
    """Gives each edge a lane, row by row."""

    def __init__(self, lanes: Lanes, edges: Iterable[tuple[int, int, bool]]) -> None:
        self.lanes = lanes
        self.ways: dict[int, dict[int, bool]] = {}
        for source, target, dashed in edges:
            ways = self.ways.setdefault(source, {})
            ways[target] = dashed and ways.get(target, True)
        self.arriving: dict[int, list[_Lane]] = defaultdict(list)
        self.shared: dict[tuple[int, bool], list[_Lane]] = defaultdict(list)  # lanes to one target alone
        self.fed: dict[int, int] = defaultdict(int)  # by how many nodes each is
        for ways in self.ways.values():
            for target in ways:
                self.fed[target] += 1
        self.free: list[int] = []
        self.top = 0  # one past the rightmost column in use

    def build(self) -> None:
        for row, node in enumerate(self.lanes.order):
            self._row(row, node)
        self._reach(self.lanes.width)

    def _reach(self, columns: int) -> None:
        while len(self.lanes._columns) < columns:
            self.lanes._columns.append(_Column())

    def _row(self, row: int, node: int) -> None:
        arriving = self.arriving.pop(node, [])
        for dashed in (False, True):
            self.shared.pop((node, dashed), None)
        ending = [lane for lane in arriving if lane.end == row]
        ways = sorted(self.ways.get(node, {}).items(), key=lambda way: self.lanes.row[way[0]])
        joins = {
            way: min(found, key=lambda lane: lane.column)
            for way in ways
            if self.fed[way[0]] > _APART and (found := self.shared.get(way))
        }
        tied_to = len(arriving) + len(joins) + len({cut for _, cut in ways}) // 2
        column = self._column_of(row, arriving, [lane.column for lane in joins.values()], tied_to)
        if arriving and len(ways) == 1 and joins and joins[ways[0]].column > column:
            joins = {}  # straight on, rather than over to the right
        touches = {lane.column: (True, lane.end > row) for lane in arriving}
        touches.update((lane.column, (True, True)) for lane in joins.values())
        tied = [lane.dashed for lane in (*arriving, *joins.values()) if lane.column != column]
        started = self._start(row, column, [way for way in ways if way not in joins])
        touches.update((lane.column, (False, True)) for lane in started)
        tied += [lane.dashed for lane in started if lane.column != column]
        touches.pop(column, None)
        if touches:
            touched = (column, *touches)
            self.lanes.bars[row] = Bar(min(touched), max(touched), touches, all(tied))
        self.lanes.columns.append(column)
        self.lanes.widths.append(self.top)
        going_on = {lane.column for lane in started}
        for lane in ending:
            if lane.column not in going_on:
                self._release(lane.column)
        if column not in going_on and all(lane.column != column for lane in ending):
            self._release(column)

    def _column_of(self, row: int, arriving: Sequence[_Lane], joined: Sequence[int], tied_to: int) -> int:
        """The leftmost lane that ends at the node, else a free column beside what it hangs on.

        A sign right below another reads as fed by it, unless both have bars: then they are siblings that
        hang on something. No other two signs stand so.
        """
        above = self.lanes.columns[row - 1] if row else -1
        after_bar = row - 1 in self.lanes.bars
        for lane in sorted(arriving, key=lambda lane: lane.column):
            fed_from_above = lane.column == above and lane.start == row - 1
            if lane.end == row and not (fed_from_above and after_bar and tied_to > 1):
                return lane.column
        beside = [lane.column for lane in arriving] or joined
        column = self._take(max(beside) + 1 if beside else 0)
        if column == above and not (after_bar and tied_to):
            other = self._take(column + 1)
            self._release(column)
            return other
        return column

    def _start(self, row: int, column: int, ways: Sequence[tuple[int, bool]]) -> list[_Lane]:
        """One lane for all solid ways, one for all dashed ones; the first in the node's own column."""
        started: list[_Lane] = []
        for dashed in (False, True):
            targets = [target for target, cut in ways if cut is dashed]
            if not targets:
                continue
            place = self._take(column + 1) if started else column
            lane = _Lane(place, row, self.lanes.row[targets[-1]], dashed)
            self._record(lane)
            started.append(lane)
            for target in targets:
                self.arriving[target].append(lane)
            if len(targets) == 1:
                self.shared[targets[0], dashed].append(lane)
        return started

    def _record(self, lane: _Lane) -> None:
        self._reach(lane.column + 1)
        column = self.lanes._columns[lane.column]
        column.starts.append(lane.start)
        column.ends.append(lane.end)
        column.dashed.append(lane.dashed)

    def _take(self, least: int) -> int:
        """The first free column from `least` on."""
        place = bisect_left(self.free, least)
        if place < len(self.free):
            return self.free.pop(place)
        for column in range(self.top, least):
            insort(self.free, column)
        self.top = max(self.top, least) + 1
        return self.top - 1

    def _release(self, column: int) -> None:
        insort(self.free, column)
        while self.free and self.free[-1] == self.top - 1:
            self.free.pop()
            self.top -= 1
