"""`Reach`: at which moment of a step each node of its graph is reached, and what a row's gradient is by then."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...model.gradients import first_grad_id, union
from ...model.graph import Graph
from ...model.records import Backward, Mutation, NodeRun, OptimizerStep, Template
from ...model.samples import SampleIndex, not_finite


@dataclass(frozen=True, slots=True)
class Span:
    """The moments at which the first and the last node of a row are reached; -1 is before the step."""

    first: int
    last: int


class Reach:
    """When nodes are reached. One for each template and graph; linear in their size."""

    def __init__(self, template: Template, graph: Graph) -> None:
        self.runs: dict[int, list[int]] = {}  # grad node id -> the moments at which it ran
        self.arrivals: dict[int, list[int]] = defaultdict(list)  # tensor -> moments at which a gradient came in to it
        self.owners: dict[int, int] = {}  # grad node id -> the tensor whose gradient comes in to it
        self.changes: dict[int, int] = {}  # tensor -> the first moment that wrote it in place
        self.backward: int | None = None  # the first backward's moment
        self._moments: dict[int, int] = {}
        self._grad_nodes(template)
        self._writes(template)
        for node in graph.nodes:
            if node.id in self.runs:
                continue
            if node.id not in self._walked:
                self._moments[node.id] = -1 if node.moment is None else node.moment

    def _grad_nodes(self, template: Template) -> None:
        walks: dict[int, int] = {}
        for index, moment in enumerate(template.moments):
            if isinstance(moment, Backward):
                walks.setdefault(moment.graph, index)
        self.backward = min(walks.values(), default=None)
        told = {moment.graph for moment in template.moments if isinstance(moment, NodeRun)}
        starts = [first_grad_id(template, graph) for graph in range(len(template.graphs))]
        gradients = union(template, [graph for graph in walks if graph >= 0])
        self._walked = set(gradients.nodes)
        for number, node in gradients.nodes.items():
            owner = node.tensor if node.tensor is not None else next(iter(node.output_tensors), None)
            if owner is not None:
                self.owners[number] = owner
            runs = gradients.runs.get(number, ())
            graph = bisect_right(starts, number) - 1
            if runs:
                self.runs[number] = list(runs)
                self._moments[number] = runs[0]
                for tensor in (node.tensor,) if node.tensor is not None else node.output_tensors:
                    if tensor is not None:
                        self.arrivals[tensor].extend(runs)
            elif graph in walks and graph not in told:
                self._moments[number] = walks[graph]
        for moments in self.arrivals.values():
            moments.sort()

    def _writes(self, template: Template) -> None:
        for index, moment in enumerate(template.moments):
            if isinstance(moment, Mutation):
                for tensor in (moment.tensor, *moment.aliases):
                    self.changes.setdefault(tensor, index)
            elif isinstance(moment, OptimizerStep):
                for tensor in moment.updated:
                    self.changes.setdefault(tensor, index)

    def moment(self, node: int) -> int | None:
        """When the node is reached; None when the step never reaches it."""
        return self._moments.get(node)

    def span(self, nodes: Iterable[int]) -> Span | None:
        """When the first and the last of `nodes` are reached; None when none is."""
        found = [moment for node in nodes if (moment := self._moments.get(node)) is not None]
        return Span(min(found), max(found)) if found else None

    def gradient(self, node: int, tensor: int | None, moment: int, samples: SampleIndex) -> float | None:
        """The norm of the gradient that came in to the node, or to its tensor, last before `moment` ends."""
        runs = self.runs.get(node) if tensor is None else self.arrivals.get(tensor)
        place = bisect_right(runs, moment) - 1 if runs else -1
        if runs is None or place < 0:
            return None
        sample = samples.of_node(runs[place], "grad_in")
        return sample.stats.norm if sample is not None and sample.stats is not None else None


def bad_rows(
    template: Template, reach: Reach, row_of: Mapping[int, int], samples: SampleIndex
) -> Mapping[int, Mapping[str, int]]:
    """The marks nan and inf of each row that this step's samples give them to, and the moment they hold from."""
    found: dict[int, dict[str, int]] = {}

    def add(node: int, marks: frozenset[str], moment: int) -> None:
        row = row_of.get(node)
        for mark in marks if row is not None else ():
            since = found.setdefault(row, {})  # type: ignore[arg-type]
            since[mark] = min(since.get(mark, moment), moment)

    for node, runs in reach.runs.items():
        for run in runs:
            add(node, samples.bad_gradients(run), run)
    for tensor in template.tensors if samples else ():
        for what in ("value", "grad"):
            for sample in samples.of(tensor, what):
                add(tensor.number, not_finite(sample), sample.moment)
    return found
