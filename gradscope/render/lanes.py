"""Lanes: a DAG as rows of text, one node a row, its edges running down the left (as `git log --graph` does)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# By which of (up, down, left, right) a cell connects.
_CROSSINGS = {
    (True, True, False, False): "│",
    (False, False, True, True): "─",
    (True, True, True, True): "┼",
    (True, True, False, True): "├",
    (True, True, True, False): "┤",
    (False, True, True, True): "┬",
    (True, False, True, True): "┴",
    (False, True, False, True): "╭",
    (False, True, True, False): "╮",
    (True, False, False, True): "╰",
    (True, False, True, False): "╯",
}
_DASHED = "┆"


@dataclass(frozen=True, slots=True)
class Row:
    """`node` is None on rows that only join or fork lanes. `after` is how the lanes go on below the row."""

    drawn: str
    after: str
    node: int | None = None


@dataclass(slots=True)
class _Lane:
    target: int
    dashed: bool

    def sign(self) -> str:
        return _DASHED if self.dashed else "│"


def order(nodes: Sequence[int], targets: Mapping[int, Sequence[int]]) -> list[int]:
    """A topological order that keeps the given one where it can and starts each source just before it is read."""
    place = {node: rank for rank, node in enumerate(nodes)}
    sources: dict[int, list[int]] = {node: [] for node in nodes}
    for node in nodes:
        for target in targets.get(node, ()):
            sources[target].append(node)
    waiting = {node: len(sources[node]) for node in nodes}
    heap = [place[node] for node in nodes if not waiting[node]]
    heapq.heapify(heap)
    found: list[int] = []
    while heap:
        node = nodes[heapq.heappop(heap)]
        found.append(node)
        for target in targets.get(node, ()):
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(heap, place[target])
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


def rows(nodes: Sequence[int], edges: Iterable[tuple[int, int, bool]], signs: Mapping[int, str]) -> Iterator[Row]:
    """The rows of a DAG. `edges` are (source, target, dashed); `signs` stand for nodes, one column wide."""
    targets: dict[int, dict[int, bool]] = {}
    for source, target, dashed in edges:
        previous = targets.setdefault(source, {}).get(target, True)
        targets[source][target] = dashed and previous
    lanes: list[_Lane | None] = []
    for node in order(nodes, {source: list(found) for source, found in targets.items()}):
        arriving = [column for column, lane in enumerate(lanes) if lane and lane.target == node]
        if arriving:
            column = arriving[0]
            if len(arriving) > 1:
                drawn = _join(lanes, column, ends=arriving[1:], starts=[], goes_on=True)
                for other in arriving[1:]:
                    lanes[other] = None
                yield Row(drawn, _plain(lanes))
        else:
            column = _free(lanes)
        drawn = "".join(
            f"{signs[node] if place == column else lane.sign() if lane else ' '} "
            for place, lane in enumerate(_padded(lanes, column))
        )
        lanes = _padded(lanes, column)
        joins, starts = _leave(lanes, column, targets.get(node, {}))
        fork = _join(lanes, column, ends=[], starts=starts, goes_on=lanes[column] is not None, joins=joins)
        before_fork = [None if place in starts else lane for place, lane in enumerate(lanes)]
        if joins or starts:
            below = _plain([*before_fork[:column], _Lane(node, False), *before_fork[column + 1 :]])
            yield Row(drawn, below, node)
            yield Row(fork, _plain(lanes))
        else:
            yield Row(drawn, _plain(lanes), node)
        while lanes and lanes[-1] is None:
            lanes.pop()


def _leave(lanes: list[_Lane | None], column: int, targets: Mapping[int, bool]) -> tuple[list[int], list[int]]:
    """Gives each target of the node at `column` a lane. Returns the lanes joined and those started."""
    lanes[column] = None
    joins: list[int] = []
    starts: list[int] = []
    fresh = []
    for target, dashed in targets.items():
        there = next((place for place, lane in enumerate(lanes) if lane and lane.target == target), None)
        if there is None:
            fresh.append(_Lane(target, dashed))
        else:
            joins.append(there)
    for lane in fresh:
        if lanes[column] is None:
            lanes[column] = lane
            continue
        place = _free(lanes)
        if place == len(lanes):
            lanes.append(None)
        lanes[place] = lane
        starts.append(place)
    return joins, starts


def _join(
    lanes: Sequence[_Lane | None],
    column: int,
    *,
    ends: Sequence[int],
    starts: Sequence[int],
    goes_on: bool,
    joins: Sequence[int] = (),
) -> str:
    """A row that ties `column` to lanes that end there, start there, or run on."""
    touched = [column, *ends, *starts, *joins]
    first, last = min(touched), max(touched)
    cells = []
    for place, lane in enumerate(lanes):
        inside = first <= place <= last
        up = place == column or (lane is not None and place not in starts)
        down = (goes_on if place == column else lane is not None) and place not in ends
        left, right = inside and place > first, inside and place < last
        if lane is not None and not inside:
            cells.append(lane.sign() + " ")
            continue
        cells.append(_CROSSINGS.get((up, down, left, right), " ") + ("─" if right else " "))
    return "".join(cells)


def _padded(lanes: Sequence[_Lane | None], column: int) -> list[_Lane | None]:
    return [*lanes, *[None] * (column + 1 - len(lanes))]


def _free(lanes: Sequence[_Lane | None]) -> int:
    return next((place for place, lane in enumerate(lanes) if lane is None), len(lanes))


def _plain(lanes: Sequence[_Lane | None]) -> str:
    return "".join(f"{lane.sign() if lane else ' '} " for lane in lanes)
