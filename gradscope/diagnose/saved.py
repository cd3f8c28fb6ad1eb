"""Tensors that autograd saved for the backward and that were changed before it ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..model.build import grad_node_id, tensor_id
from ..model.findings import Finding, Severity
from ..model.records import Backward, GradNode, Mutation, OptimizerStep, SavedTensor
from ..model.trace import Step
from .case import Case, Event
from .check import CERTAIN, Rule, check

SAVED_TENSOR_MODIFIED = Rule(
    "GS101",
    "saved-tensor-modified",
    Severity.ERROR,
    "A tensor was changed in place after an op saved it for its backward.",
)


class Write(NamedTuple):
    """One write to a storage: the moment, the tensor it was made through, and the version after it."""

    moment: int
    tensor: int
    after: int | None
    counted: bool
    stack: int | None
    cause: str


def writes(case: Case, step: Step) -> Mapping[int, Sequence[Write]]:
    """Every write of a step by the storage it hit, in order."""
    found: dict[int, list[Write]] = defaultdict(list)
    for _, index, moment in case.events(Mutation, step):
        storage = step.tensors[moment.tensor].storage
        found[storage].append(Write(index, moment.tensor, moment.after, moment.counted, moment.stack, moment.cause))
    for _, index, update in case.events(OptimizerStep, step):
        for tensor, (_, after) in zip(update.updated, update.versions):
            write = Write(index, tensor, after, True, update.stack, "optimizer.step()")
            found[step.tensors[tensor].storage].append(write)
    return {storage: sorted(group) for storage, group in found.items()}


@check(SAVED_TENSOR_MODIFIED)
def saved_tensor_modified(case: Case) -> Iterator[Finding]:
    """Every backward's saved tensors against the writes between their op and that backward."""
    for event in case.events(Backward):
        step, graph = event.step, event.moment.graph
        if graph < 0:
            continue
        written = writes(case, step)
        for node in step.graphs[graph].nodes:
            for saved in node.saved:
                yield from _modified(case, event, node, saved, written)


def _modified(
    case: Case, event: Event[Backward], node: GradNode, saved: SavedTensor, written: Mapping[int, Sequence[Write]]
) -> Iterator[Finding]:
    step = event.step
    if not saved.stale or saved.tensor is None or node.op is None:
        return
    storage = step.tensors[saved.tensor].storage
    after = [w for w in written.get(storage, ()) if node.op < w.moment < event.position and w.counted]
    after = [w for w in after if step.moments[w.moment].stack != step.moments[node.op].stack]
    if not after:
        return
    op, last = step.moments[node.op], after[-1]
    name = case.called(step, saved.tensor)
    yield SAVED_TENSOR_MODIFIED.finding(
        f"{name} was changed in place ({last.cause}) after {getattr(op, 'name', node.name)} saved it for its backward",
        culprit=case.place(last.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((op.stack, "saved here"), (event.moment.stack, "the backward that needs it")),
        explanation=f"{node.name} needs {name} as it was when {getattr(op, 'name', node.name)} ran.",
        fix="make a new tensor instead of writing into this one (x = x * 2 rather than x.mul_(2))",
        nodes=(tensor_id(step.template, saved.tensor), grad_node_id(step.template, event.moment.graph, node.index)),
    )


CHECKS = (saved_tensor_modified,)
