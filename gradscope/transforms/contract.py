"""Contraction: replacing groups of nodes by one node each, without ever making a cycle."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..model.graph import EdgeKind, Graph, GraphEdge, GraphNode, NodeKind
from .findings import SEVERITY_MARKS

# What a folded node points out when one of its members does.
FOLDED_MARKS = frozenset({"cut", "mutated", "stale", "moved", "nan", "inf", "root", "not_reached"}) | SEVERITY_MARKS


def contract(graph: Graph, homes: Mapping[int, GraphNode], *, keep_index: bool = False) -> Graph:
    """The graph in which `homes[id]` stands for node `id`; edges inside a home go, equal ones merge.

    Edges that differ in `index` only merge too, unless `keep_index`: a folded module has no argument positions.
    """
    standing = {home.id: home for home in homes.values()}
    ids = dict.fromkeys(homes[node.id].id if node.id in homes else node.id for node in graph.nodes)
    edges: dict[tuple[int, int, EdgeKind, int], GraphEdge] = {}
    for edge in graph.edges:
        source = homes[edge.source].id if edge.source in homes else edge.source
        target = homes[edge.target].id if edge.target in homes else edge.target
        moved = edge.source in homes or edge.target in homes
        if not (moved and source == target):
            key = (source, target, edge.kind, -1 if moved and not keep_index else edge.index)
            edges.setdefault(key, replace(edge, source=source, target=target))
    nodes = tuple(standing[node] if node in standing else graph.by_id[node] for node in ids)
    loops: dict[tuple[int, int], GraphEdge] = {}
    for edge in graph.loops:
        ends = (homes[end].id if end in homes else end for end in (edge.source, edge.target))
        source, target = ends
        loops.setdefault((source, target), replace(edge, source=source, target=target))
    return replace(graph, nodes=nodes, edges=tuple(edges.values()), loops=tuple(loops.values()))


def standing_for(run: Sequence[GraphNode], *, label: str) -> GraphNode:
    """A folded node for `run`: the first member's id, source and moment, and what any member is marked with."""
    first = run[0]
    return GraphNode(
        id=first.id,
        kind=NodeKind.MODULE,
        label=label,
        source=first.source,
        moment=first.moment,
        device=only(member.device for member in run if member.device),
        folds_grad=any(member.requires_grad for member in run),
        marks=frozenset(mark for member in run for mark in member.marks) & FOLDED_MARKS,
        members=all_members(run),
    )


def all_members(nodes: Iterable[GraphNode]) -> tuple[int, ...]:
    """The ids of the original nodes that `nodes` are or stand for."""
    return tuple(sorted({member for node in nodes for member in (node.members or (node.id,))}))


def only(facts: Iterable[str | None]) -> str | None:
    """The one fact that all agree on, or None."""
    distinct = set(facts)
    return distinct.pop() if len(distinct) == 1 else None


def contiguous_runs(graph: Graph, groups: Mapping[int, Hashable]) -> list[list[int]]:
    """Each group's nodes in as few runs as possible, the runs being intervals of one topological order.

    Since no run interrupts another, contracting each to a node gives a DAG. Groups whose inputs are all
    there go first and come out whole; only a group that data leaves and re-enters is split.
    """
    return _Scheduler(graph, groups).runs()


class _Scheduler:
    """Kahn's algorithm that stays in one group as long as it can."""

    def __init__(self, graph: Graph, groups: Mapping[int, Hashable]) -> None:
        self.graph = graph
        self.groups = groups
        self.order = graph.topological()
        self.place = {node: rank for rank, node in enumerate(self.order)}
        self.waiting = {node: len(graph.incoming.get(node, ())) for node in self.order}
        self.outside: Counter[Hashable] = Counter()  # edges into a group from nodes that have not run yet
        for edge in graph.edges:
            group = groups.get(edge.target)
            if group is not None and groups.get(edge.source) != group:
                self.outside[group] += 1
        self.free: list[int] = []  # heap of ranks: ready nodes of no group
        self.ready: dict[Hashable, list[int]] = defaultdict(list)  # heaps of ranks: ready nodes by group
        self.whole = deque(group for group in dict.fromkeys(groups.values()) if not self.outside[group])

    def runs(self) -> list[list[int]]:
        found: list[list[int]] = []
        for node, count in self.waiting.items():
            if not count:
                self._push(node)
        while self.free or self.ready:
            if self.free:
                self._finish(self.order[heapq.heappop(self.free)])
                continue
            group = self.whole.popleft() if self.whole else self._earliest()
            run: list[int] = []
            while self.ready[group]:
                run.append(self.order[heapq.heappop(self.ready[group])])
                self._finish(run[-1])
            del self.ready[group]
            if run:
                found.append(run)
        return found

    def _push(self, node: int) -> None:
        group = self.groups.get(node)
        heapq.heappush(self.free if group is None else self.ready[group], self.place[node])

    def _finish(self, node: int) -> None:
        for target in self.graph.successors(node):
            group = self.groups.get(target)
            if group is not None and group != self.groups.get(node):
                self.outside[group] -= 1
                if not self.outside[group]:
                    self.whole.append(group)
            self.waiting[target] -= 1
            if not self.waiting[target]:
                self._push(target)

    def _earliest(self) -> Hashable:
        """The group to go on with when none is whole: the one whose data has arrived first.

        Parameters wait at the top of every module, so they count only when nothing else is ready.
        """

        def rank(group: Hashable) -> tuple[bool, int]:
            reached = [place for place in self.ready[group] if self.order[place] in self.graph.incoming]
            return not reached, min(reached or self.ready[group])

        return min(self.ready, key=rank)
