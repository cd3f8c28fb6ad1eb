"""`Touches`: for each tensor of a step, the moments that concern it. Made once a step, in the worker that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ..model.moments import (
    Backward,
    GradChange,
    LeafChange,
    Moment,
    Move,
    Mutation,
    NodeRun,
    OpCall,
    OptimizerStep,
    Template,
)
from ..model.records import GradEdge, GradGraph
from .measured import Measured


class Touch(str, Enum):
    """What a moment did to a tensor, or with it. The value is the word a user sees."""

    MADE = "made"
    READ = "read"
    WRITTEN = "changed"
    GRAD = "grad"
    STATUS = "status"
    MOVED = "moved"
    ROOT = "backward"
    RAN = "ran"


CHANGES = frozenset({Touch.MADE, Touch.WRITTEN, Touch.GRAD, Touch.STATUS})


@dataclass(frozen=True, slots=True)
class Event:
    """One moment that concerns a tensor or a grad node."""

    moment: int
    touch: Touch


class Touches:
    """Events by tensor and by grad node, each list rising; which grad nodes keep a tensor; who shares its memory.

    `measured` tells where numbers hold.
    """

    def __init__(self, template: Template | None = None) -> None:
        self.measured = Measured(template if template is not None else Template(0, (), (), ()))
        self._tensors: dict[int, list[Event]] = {}
        self._nodes: dict[tuple[int, int], list[int]] = {}
        self._saved: dict[int, list[tuple[int, int]]] = {}
        self._made: dict[int, tuple[int, int]] = {}
        self._storages: dict[int, list[int]] = {}
        self._backwards: dict[int, int] = {}
        self._edges: dict[tuple[int, int], list[GradEdge]] = {}
        self._order: dict[int, list[int]] = {}
        if template is not None:
            self._read(template)

    def of(self, tensor: int) -> Sequence[Event]:
        return self._tensors.get(tensor, ())

    def runs(self, graph: int, node: int) -> Sequence[int]:
        """The moments at which a grad node ran; empty where execution is not recorded."""
        return self._nodes.get((graph, node), ())

    def records_runs(self, graph: int) -> bool:
        """Whether it was recorded when the nodes of that backward ran (detail `full`)."""
        return graph in self._order

    def order(self, graph: int) -> Sequence[int]:
        """The moments at which that graph's nodes ran, in order."""
        return self._order.get(graph, ())

    def edges(self, graph: int, node: int) -> Sequence[GradEdge]:
        """Where a grad node sends its gradients, in the order of `next_functions`."""
        return self._edges.get((graph, node), ())

    def backward(self, graph: int) -> int | None:
        """The moment of the call that walked that grad graph."""
        return self._backwards.get(graph)

    def saved_by(self, tensor: int) -> Sequence[tuple[int, int]]:
        """The (graph, node) of each grad node that keeps the tensor for its backward."""
        return self._saved.get(tensor, ())

    def made_by(self, tensor: int) -> tuple[int, int] | None:
        """The (graph, node) of the tensor's grad_fn, or of the AccumulateGrad that fills it."""
        return self._made.get(tensor)

    def aliases(self, storage: int) -> Sequence[int]:
        """The tensors that lie in that memory."""
        return self._storages.get(storage, ())

    def _read(self, template: Template) -> None:
        for index, moment in enumerate(template.moments):
            for tensor, touch in _touched(moment, template, index):
                events = self._tensors.setdefault(tensor, [])
                if not events or events[-1].moment != index:
                    events.append(Event(index, touch))
            if isinstance(moment, NodeRun):
                self._nodes.setdefault((moment.graph, moment.node), []).append(index)
                self._order.setdefault(moment.graph, []).append(index)
            elif isinstance(moment, Backward):
                self._backwards.setdefault(moment.graph, index)
        for tensor_record in template.tensors:
            self._storages.setdefault(tensor_record.storage, []).append(tensor_record.number)
        for place, graph in enumerate(template.graphs):
            self._read_graph(place, graph)

    def _read_graph(self, place: int, graph: GradGraph) -> None:
        for edge in sorted(graph.edges, key=lambda edge: edge.index):
            self._edges.setdefault((place, edge.source), []).append(edge)
        for node in graph.nodes:
            key = (place, node.index)
            for saved in node.saved:
                if saved.tensor is not None:
                    self._saved.setdefault(saved.tensor, []).append(key)
            for tensor in (node.tensor,) if node.tensor is not None else node.output_tensors:
                self._made.setdefault(tensor, key)


def _touched(moment: Moment, template: Template, index: int) -> list[tuple[int, Touch]]:
    """The tensors of one moment, what matters most for each first."""
    if isinstance(moment, OpCall):
        made = [
            (number, Touch.MADE if template.tensors[number].made_by == index else Touch.READ)
            for number in moment.outputs
        ]
        return made + [(number, Touch.READ) for number in moment.inputs]
    if isinstance(moment, Mutation):
        return [(number, Touch.WRITTEN) for number in (moment.tensor, *moment.aliases)]
    if isinstance(moment, OptimizerStep):
        return [(number, Touch.WRITTEN) for number in moment.updated]
    if isinstance(moment, GradChange):
        return [(number, Touch.GRAD) for number in moment.tensors]
    if isinstance(moment, LeafChange):
        return [(moment.tensor, Touch.STATUS), *([(moment.source, Touch.READ)] if moment.source is not None else [])]
    if isinstance(moment, Move):
        ends = [number for number in (moment.target, moment.source) if number is not None]
        return [(number, Touch.MOVED) for number in ends]
    if isinstance(moment, Backward):
        return [(number, Touch.ROOT) for number in moment.roots]
    return []


def changes_of(events: Sequence[Event]) -> list[int]:
    """The moments at which a tensor's value, gradient or status changed."""
    return [event.moment for event in events if event.touch in CHANGES]
