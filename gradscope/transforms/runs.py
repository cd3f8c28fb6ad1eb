"""Folding runs: a block of nodes that a loop repeats (`y = y + w`, a cell over time) is drawn once, ×N.

Nothing names such blocks, so they are recognised by where they stand: in an order of the graph in which equal
blocks follow each other, a node and its twin one period later look alike and read either the same node (a shared
leaf) or twins of each other's inputs.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import eq

from ..model.graph import EdgeKind, Graph, GraphEdge, GraphNode, NodeKind
from .blocks import carried_on, numbered, of_runs, one_of
from .contract import contract
from .repeats import facts

_LONGEST = 64  # nodes in a block
_Inputs = tuple[tuple[str, int, int], ...]  # each input's kind of edge, position at the node, and place


def fold_runs(graph: Graph, blocks: int = 4, nodes: int = 16, *, straight: bool = False) -> Graph:
    """Each run of at least `blocks` equal blocks, of `nodes` nodes together, becomes its first block, ×N.

    Where a node stands for a call, the last block may be the beginning of one.

    Straight chains are left to `fold_chains`, unless `straight`.
    """
    while True:
        order = _order(graph)
        folded = graph
        for run in _runs(graph, order, blocks, nodes, straight):
            folded = _fold(folded, run)
        if folded is graph:
            return graph
        graph = folded


def _order(graph: Graph) -> list[int]:
    """A topological order that keeps the table's where it can; what nothing makes stands before its first reader.

    A sink that only one node feeds stands right after that one.
    """
    place = {node.id: rank for rank, node in enumerate(graph.nodes)}
    waiting = {node.id: len(graph.incoming.get(node.id, ())) for node in graph.nodes}
    ready = [place[node] for node, count in waiting.items() if not count]
    heapq.heapify(ready)
    found: list[int] = []
    while ready:
        node = graph.nodes[heapq.heappop(ready)].id
        found.append(node)
        for target in graph.successors(node):
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, place[target])
    before, after = _near(graph, found)
    order: dict[int, None] = {}
    for node in found:
        if not before[node] and after[node]:
            continue  # it comes with its first reader
        if not after[node] and len(before[node]) == 1 and before[node][0] in order:
            continue  # it came with what feeds it
        order.update(dict.fromkeys(source for source in before[node] if not before[source]))
        order[node] = None
        order.update(dict.fromkeys(sink for sink in after[node] if not after[sink] and before[sink] == [node]))
    return list(order)


def _near(graph: Graph, nodes: Iterable[int]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Each node's sources and targets along data and gradients, in the order of the edges' positions."""
    before, after = {}, {}
    for node in nodes:
        before[node] = [edge.source for edge in graph.incoming.get(node, ()) if edge.kind is not EdgeKind.MADE]
        after[node] = [edge.target for edge in graph.outgoing.get(node, ()) if edge.kind is not EdgeKind.MADE]
    return before, after


def _runs(graph: Graph, order: Sequence[int], blocks: int, nodes: int, straight: bool) -> list[list[Sequence[int]]]:
    """Runs of equal blocks that do not overlap, those of short periods first: for each, its blocks."""
    looks, sources = _looks(graph, order), _sources(graph, order)
    free = [(0, len(order))]  # where no run was found yet
    found = []
    for period in range(1, min(_LONGEST, len(order) // blocks) + 1):
        least = max(period * blocks, nodes)
        left = []
        for first, end in free:
            rest = first
            enough = period if graph.combined else least - period  # the first block may come to it
            for start, stop in _stretches(first, end, period, enough, looks, sources):
                start = max(start, rest)  # what the run before took is gone
                if graph.combined:
                    start, stop = _with_its_ends(start, stop, (rest, end), period, looks, sources)
                length = stop - start if graph.combined else (stop - start) // period * period
                if length < least:
                    continue
                run = order[start : start + length]
                if straight or not _straight(graph, run):
                    found.append([run[place : place + period] for place in range(0, length, period)])
                left.append((rest, start))
                rest = start + length  # a chain too: it stays one whatever the period
            left.append((rest, end))
        free = [(first, end) for first, end in left if end - first >= nodes]
    return found


def _stretches(
    first: int, end: int, period: int, least: int, looks: Sequence[int], sources: Sequence[_Inputs]
) -> Iterator[tuple[int, int]]:
    """Where between `first` and `end` at least so many nodes in a row have a twin one period later.

    Places from, and to past the last twin.
    """
    for begin, stop in _alike(first, end, period, least, looks):
        start = begin
        for place in range(begin, stop + 1):
            if place < stop and _twins(place, period, sources):
                continue
            if place - start >= least:
                yield start, place + period
            start = place + 1


def _alike(first: int, end: int, period: int, least: int, looks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where at least so many nodes in a row look as the one a period later: a first sieve, in few steps."""
    same = bytes(map(eq, looks[first : end - period], looks[first + period : end])) + b"\0"
    start = same.find(1)
    while start >= 0:
        stop = same.find(0, start)
        if stop - start >= least:
            yield first + start, first + stop
        start = same.find(1, stop)


def _with_its_ends(
    start: int, stop: int, within: tuple[int, int], period: int, looks: Sequence[int], sources: Sequence[_Inputs]
) -> tuple[int, int]:
    """The run with its first block, which reads what the others carry on from elsewhere.

    Unlike the others that block may read anything where they read what the block before made, or nothing at all.
    """
    first = start
    while first > within[0] and looks[first - 1] == looks[first - 1 + period]:
        first -= 1
    for place in range(first, min(first + period, start)):
        read = {one for _, _, one in sources[place]}
        if any(other - period >= first and other - period not in read for _, _, other in sources[place + period]):
            return start, stop
    return first, stop


def _looks(graph: Graph, order: Iterable[int]) -> list[int]:
    """A number for each node in order, equal for nodes that look alike and lie in the same module, its number apart."""
    numbers: dict[object, int] = {}
    nodes = [graph.by_id[node] for node in order]
    alike = {module: _kin(graph, module) for module in {node.module for node in nodes}}
    if graph.combined:
        nodes = [_as_in_the_middle(node) for node in nodes]
    return [numbers.setdefault((facts(node), alike[node.module]), len(numbers)) for node in nodes]


def _as_in_the_middle(node: GraphNode) -> GraphNode:
    """Without what only the last block has, or has not: where a backward starts, results that something reads."""
    further = [part for part in node.parts if part.kind is NodeKind.TENSOR and part.moment == node.moment is not None]
    parts = tuple(replace(part, marks=part.marks - {"root"}) for part in node.parts if part not in further)
    return replace(node, marks=node.marks - {"root"}, parts=parts)


def _kin(graph: Graph, module: str | None) -> object:
    """What a module has in common with its like: where calls are told apart, all but which of them it is."""
    if not graph.by_calls:
        return module
    around = graph.around(module)
    return tuple([known[0] if (known := numbered(graph, one)) else graph.called(one).module for one in around])


def _sources(graph: Graph, order: Sequence[int]) -> list[_Inputs]:
    """For each node in order: the kind, the position at the node, and the place in order of each input."""
    place = {node: rank for rank, node in enumerate(order)}
    return [
        tuple(
            (edge.kind.value, edge.index, place[edge.source])
            for edge in graph.incoming.get(node, ())
            if edge.kind is not EdgeKind.MADE
        )
        for node in order
    ]


def _twins(place: int, period: int, sources: Sequence[_Inputs]) -> bool:
    """Whether the node at `place` and the one a period later, which looks like it, are twins."""
    ones, others = sources[place], sources[place + period]
    if len(ones) != len(others):
        return False
    for (kind, index, one), (other_kind, other_index, other) in zip(ones, others, strict=True):
        if kind != other_kind or other - one not in (0, period):
            return False
        # A gradient's position is its sender's: one sender has another position for each of its targets.
        if index != other_index and (kind != EdgeKind.GRAD.value or one != other):
            return False
    return True


def _straight(graph: Graph, run: Sequence[int]) -> bool:
    """Whether each node leads to the next and to nothing else, so that the run is a chain."""
    before, after = _near(graph, run)
    return all(after[one] == [other] and before[other] == [one] for one, other in pairwise(run))


def _fold(graph: Graph, blocks: Sequence[Sequence[int]]) -> Graph:
    """Lays the blocks on top of the first; leaves them where something else lies between them."""
    block_of = {node: number for number, block in enumerate(blocks) for node in block}
    if not block_of.keys() <= graph.by_id.keys():
        return graph
    if (graph.ancestors(*block_of) & graph.descendants(*block_of)) != block_of.keys():
        return graph
    homes = {}
    runs = [[block[place] for block in blocks if place < len(block)] for place in range(len(blocks[0]))]
    for twins in runs:
        homes.update(dict.fromkeys(twins, one_of([graph.by_id[twin] for twin in twins])))
    once = replace(
        graph,
        edges=tuple(_kept(graph, block_of)),
        loops=(*graph.loops, *carried_on(graph, block_of)),
        calls=of_runs(graph, runs),
    )
    return contract(once, homes, keep_index=True)


def _kept(graph: Graph, block_of: Mapping[int, int]) -> Iterator[GraphEdge]:
    """The edges but those that carry on from block to block. What leaves a block for one node outside counts once."""
    for edge in graph.edges:
        source, target = block_of.get(edge.source), block_of.get(edge.target)
        if source is None or target is None:
            yield replace(edge, index=0, label="") if source is not None else edge
        elif source == target or (graph.combined and edge.source not in graph.incoming):
            yield replace(edge, label="")
