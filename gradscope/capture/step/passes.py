"""What is known of a step in progress beside its loops: what ran in it, and what a backward can still come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...model.records import Phase, StepKind
from ..hiding.no_torch_function import Unseen
from ..measure.tensor_facts import is_leaf
from .draft import Draft
from .raw import Called, LeafChanged, RawMoment

_WITH_GRAPH = (Phase.FORWARD, Phase.LOSS)


def kind_of(draft: Draft) -> StepKind:
    """Train if gradients or updates were made, else eval if a model ran."""
    kinds = {moment.kind for moment in draft.moments}
    if kinds & {"backward", "optimizer"}:
        return StepKind.TRAIN
    return StepKind.EVAL if runs_model(draft.moments) else StepKind.OTHER


def kind_so_far(draft: Draft) -> StepKind:
    """The same of a step that goes on, without looking at what it did one by one."""
    if draft.progress.seen_backward or draft.progress.seen_update:
        return StepKind.TRAIN
    looks = draft.progress.roots or any(phase is Phase.EVAL for phase, _ in draft.timing.marks)
    return StepKind.EVAL if looks else StepKind.OTHER


def runs_model(moments: Sequence[RawMoment]) -> bool:
    """Whether a module other than a loss ran, or anything was evaluated."""
    for moment in moments:
        done, phase = moment.payload, moment.phase
        if isinstance(done, Called) and (phase is Phase.EVAL or (done.module is not None and phase is not Phase.LOSS)):
            return True
    return False


def builds_graph(draft: Draft) -> bool:
    """Whether something ran in the step that a backward may come to."""
    return any(phase in _WITH_GRAPH for phase, _ in draft.timing.marks)


class Held(NamedTuple):
    """The ops of a step that are part of a graph that lives: the first of them, and how many."""

    first: int
    ops: int


def held(draft: Draft) -> Held:
    """What a backward can still come to, through the results that live.

    Where a result came from is not always known (a compiled region): then it may be all.
    """
    wanted = _living_results(draft)
    first, ops, written = len(draft.moments), 0, False
    for index in range(first - 1, -1, -1):
        moment = draft.moments[index]
        done = moment.payload
        if isinstance(done, LeafChanged) and done.cause == "in-place":  # told after the op that wrote to it
            written = written or moment.inputs[0] in wanted
        elif isinstance(done, Called) and done.grad_nodes and (written or not wanted.isdisjoint(moment.outputs)):
            written = False
            wanted.update(moment.inputs)
            first, ops = index, ops + 1
    tensors = [draft.tensors[number] for number in wanted]
    if any(raw.facts.grad_fn is not None and raw.made_by is None and not raw.carried for raw in tensors):
        first = 0
    return Held(first, ops)


def _living_results(draft: Draft) -> set[int]:
    """The numbers of the step's tensors that live and have a graph behind them."""
    found: set[int] = set()
    with Unseen():
        for entry in draft.met:
            tensor = entry() if entry.mark is draft.mark else None
            if tensor is not None and tensor.requires_grad and not is_leaf(tensor):
                found.add(entry.number)
    return found


def first_walked(draft: Draft, since: int = 0) -> int:
    """The first of the step's ops from the moment `since` on that a backward of it came to; its end if none did."""
    ops = [node.op for graph in draft.graphs for node in graph.nodes if node.op is not None and node.op >= since]
    return min(ops, default=len(draft.moments))
