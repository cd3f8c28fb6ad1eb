"""`Picture`: a graph as it is drawn: what is folded, what is in focus, which row each node stands in.

Making one is linear in the graph's size and belongs in a worker; reading a row is not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from ...model.graph import EdgeKind, Graph, GraphNode, NodeKind
from ...render.lanes import Lanes, order
from ...render.view import Density, GraphView
from ...text import sizes
from ...transforms import fold_modules, fold_repeats, fold_runs, is_backward, prefixes
from .reach import Reach, Span

Relation = Literal["ancestors", "descendants", "path"]
MANY = 400  # nodes from which on a picture begins with its modules folded
_KEPT = frozenset({EdgeKind.DATA, EdgeKind.CUT, EdgeKind.GRAD})


@dataclass(frozen=True, slots=True)
class Focus:
    """What alone is shown: what leads to `nodes`, what follows from them, or the paths from them to `ends`."""

    relation: Relation
    nodes: tuple[int, ...]
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """How closely a graph is drawn. `opened` are the modules that are not folded; None: none is.

    `repeats`: equal numbered blocks, and what a loop repeats, are drawn once, ×N.
    """

    opened: frozenset[str] | None = None
    repeats: bool = False
    focus: Focus | None = None

    @classmethod
    def first(cls, graph: Graph) -> Shape:
        """What a reader sees first: everything, or the outermost modules of a large graph."""
        return cls() if len(graph.nodes) <= MANY else cls(frozenset(), repeats=True)


class Picture:
    """One way to draw `graph`. Rows are numbered from the top; `lanes.order` has each row's node id."""

    def __init__(self, graph: Graph, shape: Shape, reach: Reach) -> None:
        self.graph = graph
        self.shape = shape
        self.reach = reach
        self.shown, self._drawn_in = _shown(graph, shape)
        self.lanes = _lanes(self.shown, graph, reach)
        self.view = GraphView(self.shown, density=Density.BRIEF)
        self.nodes: Sequence[GraphNode] = [self.shown.by_id[node] for node in self.lanes.order]
        self.row_of: Mapping[int, int] = {
            member: row for row, node in enumerate(self.nodes) for member in (node.members or (node.id,))
        }
        by_id = graph.by_id
        self.spans: Sequence[Span | None] = [
            reach.span([by_id[member] for member in node.members]) if node.members else reach.span((node,))
            for node in self.nodes
        ]
        self.again: Mapping[int, Sequence[int]] = {
            row: later for row, node in enumerate(self.nodes) if (later := reach.again(node.members or (node.id,)))
        }
        ran = [(span.first, row) for row, span in enumerate(self.spans) if span is not None and span.first >= 0]
        ran = sorted([*ran, *((moment, row) for row, later in self.again.items() for moment in later)])
        self._reached: dict[int, Sequence[int]] = {}
        self._moments = [moment for moment, _ in ran]
        self._ran = [row for _, row in ran]

    def __len__(self) -> int:
        return len(self.nodes)

    def row_at(self, moment: int) -> int | None:
        """The row that is reached last at `moment`; None when none is yet."""
        place = bisect_right(self._moments, moment) - 1
        return self._ran[place] if place >= 0 else None

    def reached(self, row: int, moment: int) -> tuple[int, int]:
        """How many of the nodes that a row stands for are reached by `moment`, and how many ever are."""
        if row not in self._reached:
            by_id, reach = self.graph.by_id, self.reach
            known = (reach.moment(by_id[member]) for member in self.nodes[row].members)
            self._reached[row] = sorted(one for one in known if one is not None)
        moments = self._reached[row]
        return bisect_right(moments, moment), len(moments)

    def latest(self, moment: int) -> int | None:
        """The last moment up to `moment` at which a row was reached."""
        place = bisect_right(self._moments, moment) - 1
        return self._moments[place] if place >= 0 else None

    def innermost(self, row: int) -> str | None:
        """The module that folding at `row` folds."""
        return self.nodes[row].module

    def opened(self, path: str) -> frozenset[str]:
        """The open modules once `path` is opened; of a run of equal blocks, all blocks."""
        return (self.shape.opened or frozenset()) | {path, *(one for one, run in self._drawn_in.items() if run == path)}

    def closed(self, path: str) -> frozenset[str]:
        """The open modules once `path` is closed, with what lies in it; of a run of equal blocks, all blocks."""
        every = self.modules if self.shape.opened is None else self.shape.opened
        return frozenset(one for one in every if path not in prefixes(self._drawn_in.get(one, one)))

    @cached_property
    def modules(self) -> frozenset[str]:
        """Every module that some node of the whole graph lies in."""
        return modules_of(self.graph)

    def unfolded(self, node: int) -> Shape:
        """The shape in which a node of the graph is drawn by itself."""
        path = self.graph.by_id[node].module
        inside = set(prefixes(path)) if path else set()
        opened = None if self.shape.opened is None else self.shape.opened | inside
        row = self.nodes[self.row_of[node]]
        many = not inside.isdisjoint(self._drawn_in) or not inside.isdisjoint(self._drawn_in.values())
        alike = many or row.kind is not NodeKind.MODULE
        return replace(self.shape, opened=opened, repeats=self.shape.repeats and not alike)

    @cached_property
    def words(self) -> Sequence[tuple[str, int]]:
        """What a search looks at: each node of the whole graph in small letters, and its id, in the order of rows."""
        found = [(_words(node), node.id) for node in self.graph.nodes if node.id in self.row_of]
        return sorted(found, key=lambda entry: self.row_of[entry[1]])

    def search(self, wanted: str) -> Sequence[int]:
        """The ids of the nodes, folded ones too, that have all of the words in `wanted`; in the order of rows."""
        parts = wanted.lower().split()
        return [node for words, node in self.words if all(part in words for part in parts)] if parts else ()


def modules_of(graph: Graph) -> frozenset[str]:
    found: set[str] = set()
    for path in {node.module for node in graph.nodes if node.module}:
        while path and path not in found:
            found.add(path)
            path = path.rpartition(".")[0]
    return frozenset(found)


def nearby(rows: Sequence[int], row: int, by: int) -> tuple[int, int]:
    """The next (by 1) or previous (by -1) of `rows` from `row` on, around the end, and its position."""
    place = bisect_right(rows, row) if by > 0 else bisect_left(rows, row) - 1
    place %= len(rows)
    return rows[place], place


def _shown(graph: Graph, shape: Shape) -> tuple[Graph, Mapping[str, str]]:
    """The graph as it is drawn, and each module of a run of equal blocks with the one that is drawn for it."""
    shown = _focused(graph, shape.focus)
    drawn_in: Mapping[str, str] = {}
    if shape.repeats:
        shown = fold_repeats(shown)
        drawn_in = _drawn_in(graph, shown)
        shown = fold_runs(shown, straight=True)
    if shape.opened is not None:
        known = modules_of(shown)
        opened = {one for path in shape.opened for one in (path, drawn_in.get(path, path))}
        shown = fold_modules(shown, 0, opened & known)
    return shown, drawn_in


def _drawn_in(graph: Graph, shown: Graph) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for node in shown.nodes:
        for member in node.members:
            own, drawn = graph.by_id[member].module, node.module
            if own != drawn:
                found.update(zip(prefixes(own), prefixes(drawn)))
    return {own: drawn for own, drawn in found.items() if own != drawn}


def _focused(graph: Graph, focus: Focus | None) -> Graph:
    if focus is None:
        return graph
    nodes = [node for node in focus.nodes if node in graph.by_id]
    ends = [node for node in focus.ends if node in graph.by_id]
    if not nodes or (focus.relation == "path" and not ends):
        return graph
    if focus.relation == "path":
        between = graph.descendants(*nodes) & graph.ancestors(*ends)
        return graph.subgraph(between or graph.descendants(*ends) & graph.ancestors(*nodes))
    own = replace(graph, edges=tuple(edge for edge in graph.edges if edge.kind in _KEPT))
    reached = own.ancestors(*nodes) if focus.relation == "ancestors" else own.descendants(*nodes)
    return graph.subgraph(reached)


def _lanes(graph: Graph, whole: Graph, reach: Reach) -> Lanes:
    """Forward in the order it happened; the backward in the order it ran, or in which autograd would run it."""
    edges = [(edge.source, edge.target, edge.kind is EdgeKind.CUT) for edge in graph.edges if edge.kind in _KEPT]
    targets: dict[int, list[int]] = {}
    for source, target, _ in edges:
        targets.setdefault(source, []).append(target)
    forward = [node.id for node in graph.nodes if not is_backward(node)]
    backward = [node for node in graph.nodes if is_backward(node)]
    inside = frozenset(forward)
    if any((source in inside) != (target in inside) for source, target, _ in edges):
        return Lanes(order([node.id for node in graph.nodes], targets), edges)  # the two are not apart
    told = all(node.order is not None for node in whole.nodes if is_backward(node))
    ranks = {node.id: _rank(node, whole, reach, told) for node in backward}
    return Lanes([*order(forward, targets), *order(sorted(ranks, key=lambda node: ranks[node]), targets)], edges)


def _rank(node: GraphNode, whole: Graph, reach: Reach, told: bool) -> int:
    """When a grad node ran, or a folded one began to; where that is not told, what was made last runs first."""
    members = node.members or (node.id,)
    if told:
        return min(whole.by_id[member].order or 0 for member in members)
    return -max(reach.made.get(member, -1) for member in members)


def _words(node: GraphNode) -> str:
    shape = f"[{sizes(node.shape)}]" if node.shape is not None else ""
    facts = (node.name, node.label, node.op, node.grad_fn, node.module, node.module_type, node.role, node.dtype, shape)
    return " ".join((*(fact for fact in facts if fact), *sorted(node.marks))).lower()
