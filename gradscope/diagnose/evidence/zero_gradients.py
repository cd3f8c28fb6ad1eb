"""Where a gradient became exactly zero on its way back: the ops that made nothing of it, or sums that cancel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...model.records import Detail, GradEdge, GradGraph
from ...model.trace import Step
from .index import Case, once_a_step
from .statistics import Run, Statistics

_ENOUGH = 3  # steps: the first alone may well begin with zeros


class Loss(NamedTuple):
    """Where a gradient was lost, in `step`: by the op at moment `op`. `cancels`: others took back what it sent."""

    step: Step
    op: int
    cancels: bool


def always_zero(case: Case) -> Mapping[int, int]:
    """Parameters of optimizers whose gradients were exactly 0 in each of several steps, and in how many."""
    owned = {one for members in case.members.values() for one in members}
    norms: dict[int, list[float]] = defaultdict(list)
    for row in case.rows:
        for one, _, grad in row.norms if row.number >= 0 else ():
            if one in owned and grad is not None:
                norms[one].append(grad)
    return {one: len(found) for one, found in norms.items() if len(found) >= _ENOUGH and not any(found)}


def where_lost(case: Case, parameter: int) -> Loss | None:
    """The earliest op in which the parameter's gradient became zero; None where that was not seen."""
    for step in case.training():
        if step.detail is not Detail.FULL:
            continue
        values = _values(case, step)
        for run in values.runs:
            leaf = run.node.tensor
            if leaf is None or step.tensors[leaf].parameter != parameter or not _is_zero(run):
                continue
            found = _lost_before(values, run)
            if found is not None:
                return found
    return None


@once_a_step
def _values(case: Case, step: Step) -> Statistics:
    return Statistics(case, step)


def _lost_before(values: Statistics, leaf: Run) -> Loss | None:
    """Back towards the loss, as long as what comes in is zero."""
    runs, graph = values.runs_of(leaf.graph), values.step.graphs[leaf.graph]
    seen, waiting, losses = {leaf.node.index}, [leaf], []
    for run in waiting:
        alive: list[int] = []
        for edge in _into(graph, run.node.index):
            sender = runs.get(edge.source)
            sent = sender.outgoing.get(edge.index) if sender is not None else None
            if sender is None or sent is None or sender.node.op is None:
                continue
            if sent.norm > 0:
                alive.append(sender.node.op)
            elif any(stats.norm > 0 for stats in sender.incoming.values()):
                losses.append(Loss(values.step, sender.node.op, cancels=False))
            elif edge.source not in seen:
                seen.add(edge.source)
                waiting.append(sender)
        if alive and run is not leaf:  # two runs of a layer that are subtracted leave its last bias nothing
            losses.append(Loss(values.step, min(alive), cancels=True))
    return min(losses, key=lambda one: one.op, default=None)


def _into(graph: GradGraph, node: int) -> Sequence[GradEdge]:
    return [edge for edge in graph.edges if edge.target == node]


def _is_zero(run: Run) -> bool:
    """Whether nothing but zeros came to a node."""
    return bool(run.incoming) and not any(stats.norm > 0 for stats in run.incoming.values())
