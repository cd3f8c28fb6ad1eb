"""What the statistics of one step say: each op's results, each grad node's gradients in and out.

Only steps recorded at detail `full` have them for ops and grad nodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from ...model.moments import Backward, GradChange, NodeRun, OpCall, OptimizerStep
from ...model.order import topological
from ...model.records import GradGraph, GradNode, Stats
from ...model.trace import Step
from .index import Case


class Run(NamedTuple):
    """One grad node's execution: the gradients that came in and those that went out, by position."""

    moment: int
    graph: int
    node: GradNode
    incoming: Mapping[int, Stats]
    outgoing: Mapping[int, Stats]


class Statistics:
    """The statistics of one step, which steps that did the same do not share."""

    def __init__(self, case: Case, step: Step) -> None:
        self.case = case
        self.step = step
        self._samples = case.samples(step)

    @cached_property
    def at_start(self) -> Mapping[int, Stats]:
        """Parameters (by tensor number) as they were when the step began, or else before its first update."""
        known: dict[int, Stats] = {}
        numbers = {record.parameter: record.number for record in self.step.tensors if record.parameter is not None}
        update = next((event.position for event in self.case.events(OptimizerStep, self.step)), None)
        for event in self.case.events(GradChange, self.step):
            if update is None or event.position < update:
                for parameter, stats in self.parameters(event.position, "value").items():
                    if parameter in numbers:  # else only its gradient is known to the step
                        known.setdefault(numbers[parameter], stats)
        for sample in self._samples.get((-1, "value"), ()):
            if sample.stats is not None and not sample.of_parameter:
                known[sample.subject] = sample.stats
        return known

    def results(self, moment: int) -> Mapping[int, Stats]:
        """The values that the op at `moment` returned, by tensor number."""
        found = self._samples.get((moment, "value"), ())
        return {s.subject: s.stats for s in found if s.stats is not None and not s.of_parameter}

    def parameters(self, moment: int, what: str) -> Mapping[int, Stats]:
        """`value` or `grad` of parameters (by parameter id) at a moment."""
        found = self._samples.get((moment, what), ())
        return {s.subject: s.stats for s in found if s.stats is not None and s.of_parameter}

    @cached_property
    def runs(self) -> Sequence[Run]:
        """Every execution of a grad node, in order."""
        return tuple(
            Run(
                event.position,
                event.moment.graph,
                self.step.graphs[event.moment.graph].nodes[event.moment.node],
                self._gradients(event.position, "grad_in"),
                self._gradients(event.position, "grad_out"),
            )
            for event in self.case.events(NodeRun, self.step)
        )

    def _gradients(self, moment: int, what: str) -> Mapping[int, Stats]:
        return {s.subject: s.stats for s in self._samples.get((moment, what), ()) if s.stats is not None}

    def runs_of(self, graph: int) -> Mapping[int, Run]:
        """The executions of one graph's nodes, by node; the last where a node ran twice."""
        return {run.node.index: run for run in self.runs if run.graph == graph}

    def run_of(self, graph: int, node: int) -> Run | None:
        """The execution of one node, the last where it ran twice."""
        return self._by_node.get((graph, node))

    @cached_property
    def _by_node(self) -> Mapping[tuple[int, int], Run]:
        return {(run.graph, run.node.index): run for run in self.runs}

    def last_before(self, moment: int) -> Mapping[int, Stats]:
        """Every tensor's values as last seen before `moment`."""
        known = dict(self.at_start)
        for event in self.case.events(OpCall, self.step):
            if event.position >= moment:
                break
            known.update(self.results(event.position))
        return known


def same_values(one: Stats, other: Stats) -> bool:
    """Whether nothing tells two tensors apart."""
    return (one.sum, one.norm, one.min, one.max) == (other.sum, other.norm, other.min, other.max)


def bad(stats: Stats) -> int:
    """How many elements are NaN or Inf."""
    return stats.nans + stats.infs


def size(stats: Mapping[int, Stats]) -> float:
    """The norm of several gradients together."""
    return math.sqrt(sum(one.norm**2 for one in stats.values() if not math.isnan(one.norm)))


def main_line(graph: GradGraph) -> list[int]:
    """The longest way from a root to an end of a backward graph, as node indices in the order they run. Iterative."""
    nexts: dict[int, list[int]] = {node.index: [] for node in graph.nodes}
    for edge in graph.edges:
        nexts[edge.source].append(edge.target)
    depth: dict[int, int] = {}
    came: dict[int, int] = {}
    for node in topological(nexts, nexts):
        depth.setdefault(node, 0)
        for target in nexts[node]:
            if depth[node] + 1 > depth.get(target, -1):
                depth[target], came[target] = depth[node] + 1, node
    if not depth:
        return []
    line = [max(depth, key=lambda node: depth[node])]
    while line[-1] in came:
        line.append(came[line[-1]])
    return line[::-1]


def backwards(case: Case, step: Step) -> Iterator[tuple[int, Backward]]:
    """The step's backward calls with a recorded graph: (moment, record)."""
    for event in case.events(Backward, step):
        if event.moment.graph >= 0:
            yield event.position, event.moment
