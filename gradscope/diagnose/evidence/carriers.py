"""The tensor through which a backward reaches the graph of an earlier step, and what has been written there since."""

from __future__ import annotations

from ...model.moments import Backward, Mutation, OptimizerStep
from ...model.records import Kept
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case, Event
from .step_links import home_of


def carrier(case: Case, event: Event[Backward], *, stale: bool) -> int | None:
    """The tensor of an earlier step through which a backward reaches that step's graph."""
    step, backward = event.step, event.moment
    graph = step.behind(backward)
    if graph is None:
        return None
    old = [node for node in graph.nodes if node.carried]
    if stale:
        here = any(saved.stale for node in graph.nodes if not node.carried for saved in node.saved)
        old = [] if here or not any(saved.stale for node in old for saved in node.saved) else old
    if not old:
        return None
    flow = Dataflow.of(case, step)
    behind, _ = flow.behind(backward.roots, event.position)
    found = [
        tensor.number
        for tensor in step.tensors
        if tensor.made_by is None and tensor.requires_grad and tensor.grad_fn is not None and tensor.number in behind
    ]
    direct = [root for root in backward.roots if step.tensors[root].carried]
    return next(iter((*direct, *found)), None)


def held_before(case: Case, event: Event[Backward]) -> Kept | None:
    """A result of an earlier step that something still holds, whose graph a backward meets behind a call that
    torch makes unseen, as a DataLoader does: a node of its kind is there, and none of it was made in this step.
    """
    step = event.step
    graph = step.behind(event.moment)
    unseen = (op for op in Dataflow.of(case, step).ops.values() if not op.grad_nodes and not op.inputs)
    if graph is None or not any(step.tensors[out].grad_fn is not None for op in unseen for out in op.outputs):
        return None
    strange = {node.name for node in graph.nodes if node.carried}
    for kept in (one for row in case.rows if row.number < step.number for one in row.kept):
        home = case.like(kept.step) if kept.step < step.number and kept.stack is not None else None
        if home is not None and home.tensors[kept.tensor].grad_fn in strange:
            return kept
    return None


def is_late_root(case: Case, event: Event[Backward], tensor: int) -> bool:
    """Whether a carried tensor is a loss that was computed in an earlier step and is differentiated only now."""
    return tensor in event.moment.roots and not _was_root(case, event, tensor)


def _was_root(case: Case, event: Event[Backward], tensor: int) -> bool:
    """Whether an earlier backward started from this very tensor."""
    step = event.step
    origin = case.origin(step, tensor)
    for row in case.rows:
        one = case.like(row.number)
        if row.number > step.number or one is None:
            break
        for before in case.events(Backward, one):
            if row.number == step.number and before.position >= event.position:
                break
            here = Step(case.trace, row)
            if any(case.origin(here, root) == origin for root in before.moment.roots):
                return True
    return False


def updated_between(case: Case, event: Event[Backward], tensor: int) -> bool:
    """Whether anything was updated since a carried tensor was made: an optimizer stepped, or a leaf was written to."""
    origin, here = home_of(case, event.step, tensor), event.step.number
    for row in case.rows:
        home = case.like(row.number) if origin.number <= row.number <= here else None
        if home is None:
            continue
        positions = [one.position for one in case.events(OptimizerStep, home)]
        positions += [one.position for one in case.events(Mutation, home) if _of_leaf(one)]
        made = home.tensors[origin.tensor].made_by if row.number == origin.number else None
        end = event.position if row.number == here else len(home.moments)
        if any((made is None or made < one) and one < end for one in positions):
            return True
    return False


def _of_leaf(event: Event[Mutation]) -> bool:
    record = event.step.tensors[event.moment.tensor]
    return record.is_leaf and record.requires_grad


def update_since(case: Case, event: Event[Backward], tensor: int) -> Event[OptimizerStep] | None:
    """The first update of a parameter since the step that a backward's root was computed in."""
    step = event.step
    parameter = step.tensors[tensor].parameter
    if parameter is None or not event.moment.roots:
        return None
    since = case.origin(step, event.moment.roots[0]).step
    for row in case.rows:
        home = case.like(row.number)
        if home is None or not since <= row.number < step.number:
            continue
        for update in case.events(OptimizerStep, home):
            if parameter in home.parameters_of(update.moment.updated):
                return Event(Step(case.trace, row), update.position, update.moment)
    return None
