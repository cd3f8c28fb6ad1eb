"""A step's records as a `Graph`: what every picture, pass and pane is made from.

Node ids are the same in all three kinds of one step's graph, so a finding can name a node for every
reader: see `tensor_id`, `op_id`, `grad_node_id`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath

from .boxes import Boxes
from .collector import collector_waits
from .flow import Call, Flow, Value
from .grad_boxes import GradBoxes
from .gradients import first_grad_id, union
from .graph import EdgeKind, Graph, GraphEdge, GraphKind, GraphNode
from .moments import Backward, GradChange, Moment, NodeRun, Template
from .recorded import RecordedStep
from .records import Phase

_UPDATES = frozenset({Phase.OPTIMIZER_STEP, Phase.SCHEDULER_STEP, Phase.ZERO_GRAD})
_Edges = list[GraphEdge]


def tensor_id(template: Template, tensor: int) -> int:
    """The node id of a tensor (of its first value, if it is written in place)."""
    del template  # tensors come first
    return tensor


def op_id(template: Template, moment: int) -> int:
    """The node id of the op that `moment` is."""
    return len(template.tensors) + moment


def grad_node_id(template: Template, graph: int, node: int) -> int:
    """The node id of node `node` of `template.graphs[graph]`."""
    return first_grad_id(template, graph) + node


@collector_waits()
def build_graph(step: RecordedStep, kind: GraphKind, *, backward: int | None = None) -> Graph:
    """The graph of a step.

    `forward`: tensors and ops that lead to the roots of the step's backwards, and the paths that were
    cut on the way; everything the step did if it has no backward. `backward`: grad nodes down to
    AccumulateGrad. `both`: each tensor beside its grad node, without op boxes. `backward` picks one of
    the step's backward calls by its position, None takes all.

    Raises ValueError when the step has no backward of that position. Linear in the step's size.
    """
    work = _Work(step, kind, backward)
    if kind is GraphKind.BACKWARD:
        edges = work.grad_boxes.edges()
    else:
        work.select()
        edges = work.forward_edges() if kind is GraphKind.FORWARD else work.paired_edges()
    nodes = work.nodes()
    return Graph(
        kind,
        nodes,
        tuple(edges),
        step.number,
        PurePath(step.trace.info.script).name,
        work.boxes.names.types,
        work.failures(),
        work.elsewhere(),
        work.boxes.names.aliases,
        step.row.detail.value,
        work.boxes.calls.taking_part({node.call for node in nodes if node.call is not None}),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """A chosen backward: its moment, its record, and the end of what it filled in."""

    moment: int
    record: Backward
    end: int


class _Work:
    """One graph being built: the step's flow, the chosen backwards, and what is selected so far."""

    def __init__(self, step: RecordedStep, kind: GraphKind, backward: int | None) -> None:
        self.step = step
        self.kind = kind
        self.backwards = _chosen(step, backward)
        graphs = [call.record.graph for call in self.backwards]
        self.gradients = union(step.template, graphs, step.positions(NodeRun))
        self.boxes = Boxes(step, self.gradients, self._gradients_end)
        self.grad_boxes = GradBoxes(self.boxes, self.gradients)
        self.values: set[int] = set()
        self.calls: set[int] = set()
        self.folded: set[int] = set()

    @property
    def _gradients_end(self) -> int:
        return max((call.end for call in self.backwards), default=len(self.step.moments))

    @cached_property
    def flow(self) -> Flow:
        end = max((call.moment + 1 for call in self.backwards), default=len(self.step.moments))
        template = self.step.template
        first = grad_node_id(template, len(template.graphs), 0)
        return Flow(self.step, end, self.boxes.place, first)

    # -- what is shown -------------------------------------------------------------------------------

    def select(self) -> None:
        """Choose values and calls of the forward part."""
        if not self.backwards:
            self._select_all()
            return
        starts = [value for call in self.backwards for value in self.flow.roots.get(call.moment, ())]
        if self.kind is GraphKind.BOTH:
            starts.extend(value for _, value in self._owners)
        self._select_upstream(starts)
        for position, call in enumerate(self.flow.calls):
            if call.cut == "readout":
                lost = [value for value in call.inputs if value not in self.values]
                if any(self.flow.values[value].status.requires_grad for value in lost):
                    self.calls.add(position)
                    self._select_upstream(call.inputs)

    def _select_upstream(self, starts: Iterable[int]) -> None:
        """Everything that leads to `starts`. Plain data is followed only through the step's own work."""
        moments, values, calls = self.step.moments, self.flow.values, self.flow.calls
        stack = [value for value in starts if value not in self.values]
        self.values.update(stack)
        while stack:
            value = values[stack.pop()]
            if value.call is None or value.call in self.calls:
                continue
            call = calls[value.call]
            if not call.inputs or not (value.tracked or moments[call.moment].phase is not Phase.OTHER):
                continue
            if self._initialises(value, call):
                continue
            self.calls.add(value.call)
            for source in call.inputs:
                if source not in self.values:
                    self.values.add(source)
                    stack.append(source)

    def _initialises(self, value: Value, call: Call) -> bool:
        """Whether a call only makes a parameter's memory, of what has no name: that was building the model."""
        tensors, values = self.step.tensors, self.flow.values
        return tensors[value.tensor].role in ("parameter", "buffer") and not any(
            tensors[values[source].tensor].name.isidentifier() for source in call.inputs
        )

    def _select_all(self) -> None:
        """A step without a backward: all its work, without updates, data loading and mere reads."""
        moments = self.step.moments
        drawn = [
            position
            for position, call in enumerate(self.flow.calls)
            if call.inputs and call.outputs and moments[call.moment].phase not in _UPDATES
        ]
        worked = [position for position in drawn if moments[self.flow.calls[position].moment].phase is not Phase.OTHER]
        for position in worked or drawn:
            call = self.flow.calls[position]
            if call.cut != "detach":
                call.cut = ""  # without a backward, no_grad cuts nothing that anybody misses
            self.calls.add(position)
            self.values.update(call.inputs, call.outputs)
        if not self.values:
            self.values.update(range(len(self.flow.values)))

    # -- edges ---------------------------------------------------------------------------------------

    def forward_edges(self) -> _Edges:
        """Edges from tensor to op to tensor."""
        edges: _Edges = []
        for position in sorted(self.calls):
            self._edges_of_call(self.flow.calls[position], edges)
        return edges

    def _edges_of_call(self, call: Call, edges: _Edges) -> None:
        values, op = self.flow.values, op_id(self.step.template, call.moment)
        for index, source in enumerate(call.inputs):
            edges.append(GraphEdge(values[source].id, op, self._edge_kind(call, source), index))
        for index, target in enumerate(call.outputs):
            if target in self.values:
                edges.append(GraphEdge(op, values[target].id, EdgeKind.DATA, index))

    def _edge_kind(self, call: Call, source: int) -> EdgeKind:
        return EdgeKind.CUT if call.cut and self.flow.values[source].status.requires_grad else EdgeKind.DATA

    def paired_edges(self) -> _Edges:
        """Edges from tensor to tensor, from a tensor to its grad node, and among grad nodes.

        An op keeps its own box where it has no result, or several tensors on both sides.
        """
        values = self.flow.values
        edges: _Edges = []
        boxed: set[int] = set()
        for position in sorted(self.calls):
            call = self.flow.calls[position]
            targets = [target for target in call.outputs if target in self.values]
            if not targets or (len(targets) > 1 and len(call.inputs) > 1):
                boxed.add(position)
                self._edges_of_call(call, edges)
                continue
            for target in targets:
                for index, source in enumerate(call.inputs):
                    kind = self._edge_kind(call, source)
                    edges.append(GraphEdge(values[source].id, values[target].id, kind, index))
        self.folded, self.calls = self.calls - boxed, boxed
        edges += [GraphEdge(values[value].id, place, EdgeKind.MADE) for place, value in self._owners]
        edges += self.grad_boxes.edges()
        return edges

    @cached_property
    def _owners(self) -> list[tuple[int, int]]:
        """Each grad node with each value whose gradient comes in to it."""
        made_by = self.flow.made_by
        found = []
        for place, node in self.gradients.nodes.items():
            if node.tensor is not None:
                found.append((place, self._filled(node.tensor)))
            elif len(node.output_tensors) == 1:
                found.append((place, made_by(node.output_tensors[0], node.op)))
            else:
                found.extend((place, made_by(tensor, node.op)) for tensor in dict.fromkeys(node.output_tensors))
        return found

    def _filled(self, tensor: int) -> int:
        """The value of a leaf that a backward fills: the last one that still is a leaf."""
        last = self.flow.last(tensor)
        found = self.flow.of_tensor[tensor]
        return next((value for value in reversed(found) if self.flow.values[value].status.is_leaf), last)

    def failures(self) -> tuple[str, ...]:
        """A line for each chosen backward that raised."""
        place, calls = self.boxes.place, (call.record for call in self.backwards if call.record.error is not None)
        return tuple(f"{record.call} at {place(record.stack)} failed: {record.error}" for record in calls)

    def elsewhere(self) -> dict[int, int]:
        """The ids of ops, tensors and grad nodes without a box of their own, with the box that tells of them.

        A grad node that several backwards ran through has its box under its id in the first of them.
        """
        found = self._without_a_box()
        for graph, (_, ids) in self.gradients.graphs.items():
            for own, place in enumerate(ids, grad_node_id(self.step.template, graph, 0)):
                home = found.get(place) if self.kind is GraphKind.FORWARD else place
                if home is not None and own != place:
                    found[own] = home
        return found

    def _without_a_box(self) -> dict[int, int]:
        """What the kind of graph does not draw."""
        template, tensors = self.step.template, len(self.step.tensors)
        found: dict[int, int] = {}
        if self.kind is GraphKind.FORWARD:
            for place, value in self._owners:
                if value in self.values:
                    found.setdefault(place, self.flow.values[value].id)
        elif self.kind is GraphKind.BACKWARD:
            for place, node in reversed(self.gradients.nodes.items()):  # so that the first of several stays
                if node.op is not None:
                    found[tensors + node.op] = place
                if node.tensor is not None:
                    found[node.tensor] = place
                elif node.output_tensors:
                    found.update(dict.fromkeys(node.output_tensors, place))
        else:
            for position in self.folded:
                call = self.flow.calls[position]
                result = next(value for value in call.outputs if value in self.values)
                found[op_id(template, call.moment)] = self.flow.values[result].id
        return found

    # -- nodes ---------------------------------------------------------------------------------------

    def nodes(self) -> tuple[GraphNode, ...]:
        """The boxes of everything selected: forward in the order it happened, then the grad nodes."""
        boxes = self.boxes
        if self.kind is GraphKind.BACKWARD:
            return self._numbered(self.grad_boxes.nodes())
        roots = {value for call in self.backwards for value in self.flow.roots.get(call.moment, ())}
        reached = {node.tensor for node in self.gradients.nodes.values() if node.tensor is not None}
        forward = [
            (self.flow.values[value].moment if self.flow.values[value].moment is not None else -1, 1, value)
            for value in self.values
        ]
        forward += [(self.flow.calls[call].moment, 0, call) for call in self.calls]
        nodes = [
            boxes.value_box(
                self.flow,
                place,
                root=place in roots,
                reached=None if not self.backwards else self.flow.values[place].tensor in reached,
                cut=self._cut_before(place),
            )
            if is_value
            else boxes.op_box(self.flow, self.flow.calls[place])
            for _, is_value, place in sorted(forward)
        ]
        if self.kind is GraphKind.BOTH:
            nodes += self.grad_boxes.nodes()
        return self._numbered(nodes)

    def _numbered(self, nodes: Sequence[GraphNode]) -> tuple[GraphNode, ...]:
        """Where the step has several backwards, each of their roots says whose it is."""
        if len(self.backwards) < 2:
            return tuple(nodes)
        numbers: dict[int, list[str]] = defaultdict(list)
        for number, call in enumerate(self.backwards, 1):
            if call.record.graph in self.gradients.graphs:
                records, ids = self.gradients.graphs[call.record.graph]
                for root in records.roots:
                    numbers[ids[root]].append(str(number))
            if self.kind is not GraphKind.BACKWARD:
                for value in self.flow.roots.get(call.moment, ()):
                    numbers[self.flow.values[value].id].append(str(number))
        of = f"of {len(self.backwards)}"
        return tuple(
            replace(node, notes=(f"backward {', '.join(numbers[node.id])} {of}", *node.notes))
            if node.id in numbers
            else node
            for node in nodes
        )

    def _cut_before(self, value: int) -> Call | None:
        """The call without a box of its own that made this value and cut its path."""
        call = self.flow.values[value].call
        return self.flow.calls[call] if call in self.folded and self.flow.calls[call].cut else None


def _chosen(step: RecordedStep, backward: int | None) -> list[_Call]:
    """The backward calls to show. Raises ValueError when there is none of that position."""
    moments = step.moments
    called = ((index, moments[index]) for index in step.positions(Backward))
    found = [(index, moment) for index, moment in called if isinstance(moment, Backward)]
    if backward is not None:
        if not 0 <= backward < len(found):
            raise ValueError(f"the step has {len(found)} backward calls, there is no number {backward}")
        found = [found[backward]]
    ran = ((index, moments[index]) for index in step.positions(NodeRun))
    last_run = {moment.graph: index for index, moment in ran if isinstance(moment, NodeRun)}
    return [
        _Call(index, record, _end_of(moments, max(index, last_run.get(record.graph, -1)))) for index, record in found
    ]


def _end_of(moments: Sequence[Moment], start: int) -> int:
    """One past the last gradient that a backward filled in: what follows it directly."""
    end = start + 1
    while end < len(moments):
        moment = moments[end]
        filled = isinstance(moment, GradChange) and moment.has_grad and moment.phase is Phase.BACKWARD
        if not (filled or isinstance(moment, NodeRun)):
            break
        end += 1
    return end
