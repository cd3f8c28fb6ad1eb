"""`Reach`: at which moment of a step each node of its graph is reached, and what a row's gradient is by then."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...model.gradients import union
from ...model.graph import GraphNode
from ...model.moments import Backward, Mutation, NodeRun, OptimizerStep, Template
from ...model.records import Sample
from ...model.samples import SampleIndex, not_finite


@dataclass(frozen=True, slots=True)
class Span:
    """The moments at which the first and the last node of a row are reached; -1 is before the step."""

    first: int
    last: int


class Reach:
    """When the nodes of a template's graphs are reached. Making it is linear in the template."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.runs: dict[int, Sequence[int]] = {}  # grad node id -> the moments at which it ran
        self.arrivals: dict[int, list[int]] = defaultdict(list)  # tensor -> moments at which a gradient came in to it
        self.owners: dict[int, int] = {}  # grad node id -> the tensor whose gradient comes in to it
        self.made: dict[int, int] = {}  # grad node id -> the moment of the op that made it
        self.changes: dict[int, int] = {}  # tensor -> the first moment that wrote it in place
        self.backward: int | None = None  # the first backward's moment
        self._grad_nodes: dict[int, int | None] = {}  # grad node id -> the moment it is reached at
        self._add_backwards()
        self._add_writes()

    def _add_backwards(self) -> None:
        template = self.template
        walks: dict[int, int] = {}
        failed: set[int] = set()  # what they ran before they failed is not told
        for index, moment in enumerate(template.moments):
            if isinstance(moment, Backward):
                walks.setdefault(moment.graph, index)
                failed |= {moment.graph} if moment.error is not None else frozenset()
        self.backward = min(walks.values(), default=None)
        told = {moment.graph for moment in template.moments if isinstance(moment, NodeRun)}
        gradients = union(template, [graph for graph in walks if graph >= 0])
        for graph, (_, ids) in gradients.graphs.items():
            for number in ids:
                self._grad_nodes.setdefault(number, None if graph in told or graph in failed else walks[graph])
        for number, node in gradients.nodes.items():
            tensors = node.output_tensors if node.tensor is None else (node.tensor,)
            if tensors:
                self.owners[number] = tensors[0]
            if node.op is not None:
                self.made[number] = node.op
            runs = gradients.runs.get(number, ())
            if runs:
                self.runs[number] = runs
                self._grad_nodes[number] = runs[0]
                for tensor in tensors:
                    self.arrivals[tensor].extend(runs)
        for moments in self.arrivals.values():
            moments.sort()

    def _add_writes(self) -> None:
        for index, moment in enumerate(self.template.moments):
            if isinstance(moment, Mutation):
                for tensor in (moment.tensor, *moment.aliases):
                    self.changes.setdefault(tensor, index)
            elif isinstance(moment, OptimizerStep):
                for tensor in moment.updated:
                    self.changes.setdefault(tensor, index)

    def moment(self, node: GraphNode) -> int | None:
        """When the node is reached, -1 from the start on; None when the step never reaches it."""
        if node.id in self._grad_nodes:
            return self._grad_nodes[node.id]
        return -1 if node.moment is None else node.moment

    def span(self, nodes: Iterable[GraphNode]) -> Span | None:
        """When the first and the last of `nodes` are reached; None when none is.

        What was there before the step counts only where the step reaches none of them.
        """
        known = [moment for node in nodes if (moment := self.moment(node)) is not None]
        found = [moment for moment in known if moment >= 0] or known
        return Span(min(found), max(found)) if found else None

    def again(self, nodes: Iterable[int]) -> Sequence[int]:
        """The moments at which `nodes` ran once more: in a later backward that goes through them too."""
        return [moment for node in nodes for moment in self.runs.get(node, ())[1:]]

    def gradient(self, node: int, tensor: int | None, moment: int, samples: SampleIndex) -> float | None:
        """The norm of the gradient that came in to the node, or to its tensor, last before `moment` ends."""
        runs = self.runs.get(node) if tensor is None else self.arrivals.get(tensor)
        place = bisect_right(runs, moment) - 1 if runs else -1
        if runs is None or place < 0:
            return None
        sample = samples.of_node(runs[place], "grad_in")
        return sample.stats.norm if sample is not None and sample.stats is not None else None


Bad = Mapping[int, Mapping[str, int]]


def bad_nodes(template: Template, reach: Reach, samples: Iterable[Sample]) -> Bad:
    """The marks nan and inf of each node that a step's samples give them to, and the moment they hold from."""
    found: dict[int, dict[str, int]] = {}
    ran = {run: node for node, runs in reach.runs.items() for run in runs}
    parameters = {tensor.parameter: tensor.number for tensor in template.tensors if tensor.parameter is not None}
    for sample in samples:
        marks = not_finite(sample)
        if not marks:
            continue
        if sample.what in ("grad_in", "grad_out"):
            node = ran.get(sample.moment)
        else:
            node = parameters.get(sample.subject) if sample.of_parameter else sample.subject
        if node is not None:
            since = found.setdefault(node, {})
            since.update({mark: min(since.get(mark, sample.moment), sample.moment) for mark in marks})
    return found


def bad_rows(nodes: Bad, row_of: Mapping[int, int]) -> Bad:
    """The same by row; a folded row has what the nodes in it have."""
    found: dict[int, dict[str, int]] = {}
    for node, marks in nodes.items():
        if node in row_of:
            row = found.setdefault(row_of[node], {})
            row.update({mark: min(row.get(mark, since), since) for mark, since in marks.items()})
    return found
