"""`Graph`: what every picture, pass and pane is made from. Flat tables, iterative algorithms.

Edges always point the way data flows: forward edges from an input to the op that reads it, backward
edges from a grad node to the nodes it sends gradients to (`next_functions`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from .leaf import AutogradStatus
from .order import topological
from .records import Stats


class NodeKind(str, Enum):
    TENSOR = "tensor"
    OP = "op"
    GRAD_FN = "grad_fn"
    ACCUMULATE_GRAD = "accumulate_grad"
    MODULE = "module"


class EdgeKind(str, Enum):
    DATA = "data"  # forward: tensor -> op -> tensor
    GRAD = "grad"  # backward: grad node -> next function
    MADE = "made"  # both: tensor -> its grad_fn (drawn without an arrow head)
    CUT = "cut"  # a path that detach, no_grad or .data cut


class GraphKind(str, Enum):
    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the user's code. `file` is as the user gave it."""

    file: str
    line: int
    code: str


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node. `status` and what follows from it are None on nodes that are no tensor.

    `shape`, `dtype` and `device` are, of an op or a grad node, those of its first result.
    `role`: parameter, buffer, leaf, input, result (tensors); "" otherwise. `marks` is a set of facts
    a drawing points out: cut, mutated, stale, moved, nan, inf, frozen, retained, not_reached, root, and the
    severity of a finding that names the node (error, warning, note).
    `count` > 1 for a folded run of equal blocks; `members` are the ids a folded node stands for.
    `notes` are further lines for the reader (saved tensors, mutations with their lines, cut reasons).
    `call` is the call of a module that it lies in, a key of `Graph.calls`; `made_at`, of a grad node, the moment of the
    op that made it; `keeps` what it keeps for its backward. `parts` are the nodes that are drawn inside this one.
    """

    id: int
    kind: NodeKind
    label: str
    name: str | None = None
    op: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    device: str | None = None
    status: AutogradStatus | None = None
    version: int | None = None
    has_grad: bool | None = None
    role: str = ""
    module: str | None = None
    module_type: str | None = None
    source: SourceLine | None = None
    value: tuple[float, ...] | None = None
    grad: tuple[float, ...] | None = None
    stats: Stats | None = None
    grad_stats: Stats | None = None
    marks: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    moment: int | None = None
    order: int | None = None  # grad nodes: position in the backward's execution, where recorded
    count: int = 1
    members: tuple[int, ...] = ()
    folds_grad: bool | None = None  # folded nodes: whether a member requires a gradient
    call: str | None = None
    made_at: int | None = None
    arguments: str = ""  # of the op, as it was called
    keeps: tuple[str, ...] = ()
    parts: tuple[GraphNode, ...] = ()

    @property
    def requires_grad(self) -> bool | None:
        return self.folds_grad if self.status is None else self.status.requires_grad

    @property
    def is_leaf(self) -> bool | None:
        return None if self.status is None else self.status.is_leaf

    @property
    def retains_grad(self) -> bool | None:
        return None if self.status is None else self.status.retains_grad

    @property
    def grad_fn(self) -> str | None:
        """The class of a tensor's grad node, or of this one."""
        if self.status is not None:
            return self.status.grad_fn
        return self.label if self.kind in (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD) else None


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """`source` -> `target`. `index` orders the edges that leave (grad) or enter (data) one node."""

    source: int
    target: int
    kind: EdgeKind
    index: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """One call of a module. `parent` is the call around it, "" for none; `number` tells several there apart, from 1.

    `run` names the equal ones that it stands for: `layers.0–11`, `cell:1–20`; "" where it is only itself.
    """

    module: str
    parent: str = ""
    number: int = 0
    run: str = ""


@dataclass(frozen=True, repr=False)
class Graph:
    """A directed graph of one step. Raises ValueError when an edge names a node that is not there.

    `aliases` are other ways to name its modules and parameters, each with the names that it may mean (see `Names`).
    `elsewhere` has the step's nodes that this kind of graph does not draw, each with the node that tells of it
    here: an op's result, a grad node's tensor, a tensor's grad node, a grad node in the first backward through it.
    `calls` are the calls of modules, by key. Where `by_calls`, a node's `module` is such a key and modules nest as
    they were called; else it is a path, and modules nest by its dots. Where `combined`, a node stands for a call and
    all that it made. `loops` lead from one of equal blocks drawn once to the next: what is carried on.
    """

    kind: GraphKind
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    step: int | None = None
    title: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)  # qualified path -> class name
    notes: tuple[str, ...] = ()  # what a reader should know of the whole: a backward that failed, ops not watched
    elsewhere: Mapping[int, int] = field(default_factory=dict, repr=False, compare=False)
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False, compare=False)
    detail: str = ""  # how much was recorded of the step
    calls: Mapping[str, Called] = field(default_factory=dict, repr=False, compare=False)
    by_calls: bool = False
    combined: bool = False
    loops: tuple[GraphEdge, ...] = ()

    def __post_init__(self) -> None:
        known = self.by_id
        if len(known) != len(self.nodes):
            raise ValueError("two nodes of a graph share an id")
        for edge in self.edges:
            if edge.source not in known or edge.target not in known:
                raise ValueError(f"edge {edge.source} -> {edge.target} names a node that is not in the graph")

    def __repr__(self) -> str:
        of = f" of step {self.step}" if self.step is not None else ""
        return f"<Graph {self.kind.value}{of}: {len(self.nodes)} nodes, {len(self.edges)} edges>"

    @cached_property
    def by_id(self) -> dict[int, GraphNode]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def outgoing(self) -> dict[int, tuple[GraphEdge, ...]]:
        """Edges by source, in `index` order."""
        return _grouped(self.edges, lambda edge: edge.source)

    @cached_property
    def incoming(self) -> dict[int, tuple[GraphEdge, ...]]:
        """Edges by target, in `index` order."""
        return _grouped(self.edges, lambda edge: edge.target)

    def successors(self, node: int) -> tuple[int, ...]:
        return tuple(edge.target for edge in self.outgoing.get(node, ()))

    def predecessors(self, node: int) -> tuple[int, ...]:
        return tuple(edge.source for edge in self.incoming.get(node, ()))

    def topological(self) -> tuple[int, ...]:
        """Node ids, each after all its predecessors; ties keep the table's order.

        Raises ValueError on a cycle, which no autograd graph has.
        """
        order = topological(self.by_id, {node: self.successors(node) for node in self.outgoing})
        if len(order) != len(self.nodes):
            raise ValueError("the graph has a cycle")
        return tuple(order)

    def ancestors(self, *starts: int) -> frozenset[int]:
        """Every node with a path to one of `starts`, and `starts` themselves."""
        return self._reach(starts, self.predecessors)

    def descendants(self, *starts: int) -> frozenset[int]:
        """Every node that one of `starts` has a path to, and `starts` themselves."""
        return self._reach(starts, self.successors)

    def between(self, start: int, end: int) -> frozenset[int]:
        """The nodes on some path from `start` to `end`; empty when there is none."""
        return self.descendants(start) & self.ancestors(end)

    def subgraph(self, keep: Iterable[int]) -> Graph:
        """The nodes in `keep`, in table order, with the edges among them."""
        kept = frozenset(keep)
        return replace(
            self,
            nodes=tuple(node for node in self.nodes if node.id in kept),
            edges=tuple(edge for edge in self.edges if edge.source in kept and edge.target in kept),
            loops=tuple(edge for edge in self.loops if edge.source in kept and edge.target in kept),
        )

    # -- modules -----------------------------------------------------------------------------------

    def called(self, module: str) -> Called:
        """What a node's `module` is: the call of that key, or the module of that path."""
        known = self.calls.get(module) if self.by_calls else None
        return known or Called(module, module.rpartition(".")[0])

    def around(self, module: str | None) -> list[str]:
        """A module and all those around it, the outermost first; "" and None have none."""
        found: list[str] = []
        while module:
            found.append(module)
            module = self.called(module).parent
        return found[::-1]

    def name_of(self, module: str) -> str:
        """What a module is called inside the one around it: `0`, `layers.3`, `relu:2`."""
        called = self.called(module)
        outer = self.called(called.parent).module if called.parent else ""
        name = called.module.removeprefix(f"{outer}.") if outer else called.module
        return f"{name}:{called.number}" if called.number else name

    def find(self, name: str) -> Iterator[GraphNode]:
        """Nodes whose name, label or module path equals `name`."""
        return (node for node in self.nodes if name in (node.name, node.label, node.module))

    def _reach(self, starts: Iterable[int], step: object) -> frozenset[int]:
        assert callable(step)
        seen = set(starts)
        stack = list(seen)
        while stack:
            for other in step(stack.pop()):
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return frozenset(seen)


def _grouped(edges: Iterable[GraphEdge], key: object) -> dict[int, tuple[GraphEdge, ...]]:
    assert callable(key)
    groups: dict[int, list[GraphEdge]] = defaultdict(list)
    for edge in edges:
        groups[key(edge)].append(edge)
    return {node: tuple(sorted(group, key=lambda edge: edge.index)) for node, group in groups.items()}
