"""Blocks of a graph that are equal and drawn once: what they are called, and how many of them a module stands for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..model.graph import Called, EdgeKind, Graph, GraphEdge, GraphNode
from .contract import all_members


def numbered(graph: Graph, module: str) -> tuple[str, int] | None:
    """What several modules or calls have in common, and which of them this is: `h`, 3 of `h.3`, `cell:`, 2 of `cell:2`.

    None for one that has no number.
    """
    called = graph.called(module)
    if called.number:
        return f"{called.module}:", called.number
    stem, _, last = called.module.rpartition(".")
    return (stem, int(last)) if last.isdecimal() else None


class Blocks:
    """How many equal blocks each module of a graph stands for (1: only itself)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.counts: dict[str, int] = {}
        for node in graph.nodes:
            for module in graph.around(node.module):
                self.counts[module] = math.gcd(self.counts.get(module, 0), node.count)

    def enclosing(self, module: str | None) -> int:
        """How many everything in a module stands for: what the innermost one that may be a run does."""
        around = self._graph.around(module)
        return next((self.counts.get(one, 1) for one in reversed(around) if self._may_be_run(one)), 1)

    def own(self, module: str) -> int:
        """How many equal siblings a module stands for, not counting those of modules around it."""
        if not self._may_be_run(module):
            return 1
        return self.counts.get(module, 1) // self.enclosing(self._graph.called(module).parent)

    def name(self, module: str) -> str:
        """What a module, or the run of equals that it stands for, is called inside the one around it: `0–11`."""
        run, known = self.own(module), numbered(self._graph, module)
        name = self._graph.called(module).run or self._graph.name_of(module)
        return f"{name}–{known[1] + run - 1}" if run > 1 and known and not self._graph.by_calls else name

    def label(self, module: str) -> str:
        """The same with the path around it: `h.0–11`."""
        called = self._graph.called(module)
        outer = self._graph.called(called.parent).module if called.parent else ""
        return f"{outer}.{self.name(module)}" if outer else self.name(module)

    def _may_be_run(self, module: str) -> bool:
        return (
            bool(self._graph.called(module).run) if self._graph.by_calls else numbered(self._graph, module) is not None
        )


def one_of(twins: Sequence[GraphNode]) -> GraphNode:
    """The node that stands for its twins in equal blocks: the first, without what is true of that one alone."""
    first, blocks = twins[0], len(twins)
    return replace(
        _any_of(first, blocks),
        members=all_members(twins),
        marks=frozenset(mark for twin in twins for mark in twin.marks),
        notes=first.notes if len({node.notes for node in twins}) == 1 else (),
        parts=tuple(_any_of(part, blocks) for part in first.parts),
    )


def _any_of(node: GraphNode, blocks: int) -> GraphNode:
    count = node.count * blocks
    return replace(node, count=count, value=None, grad=None, stats=None, grad_stats=None, order=None)


def of_runs(graph: Graph, runs: Iterable[Sequence[int]]) -> Mapping[str, Called]:
    """The graph's calls once equal blocks are drawn as the first, which then says for which ones it stands."""
    if not graph.by_calls:
        return graph.calls
    found = dict(graph.calls)
    for twins in runs:
        for modules in zip(*(graph.around(graph.by_id[twin].module) for twin in twins)):
            if len(set(modules)) == len(twins) and not found[modules[0]].run:
                found[modules[0]] = replace(found[modules[0]], run=_run(graph, modules))
    return found


def _run(graph: Graph, modules: Sequence[str]) -> str:
    """`layers.0–11`; `0, 2 … 22` where others lie between them; "" of modules that do not differ by their number."""
    known = [number for module in modules if (number := numbered(graph, module)) is not None]
    numbers = [number for _, number in known]
    if len(set(known)) < len(modules) or len({stem for stem, _ in known}) > 1:
        return ""
    name = graph.name_of(modules[0])
    if numbers == list(range(numbers[0], numbers[0] + len(modules))):
        return f"{name}–{numbers[-1]}"
    return f"{name}, {numbers[1]} … {numbers[-1]}" if len(numbers) > 2 else f"{name}, {numbers[-1]}"


def is_carried(graph: Graph, edge: GraphEdge) -> bool:
    """Whether an edge from block to block is for what one made of the one before."""
    return edge.kind in (EdgeKind.DATA, EdgeKind.CUT) and edge.source in graph.incoming


def carried_on(graph: Graph, block_of: Mapping[int, int]) -> Iterator[GraphEdge]:
    """The edges from one block to the next: what equal blocks hand on to each other. What nothing makes is no such."""
    for edge in graph.edges:
        source, target = block_of.get(edge.source), block_of.get(edge.target)
        if source is not None and target == source + 1 and is_carried(graph, edge):
            yield edge
