"""How a write that spoils what an op kept can be mended, so that no write is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...model.findings import Place
from ...model.fixes import Fix
from ...model.moments import Backward, OptimizerStep
from ...model.records import GradNode
from ...model.trace import Step
from ...repair.changes.calls import without_keyword
from ...repair.changes.statements import built_before_use, moved, removed
from ...repair.changes.writes import copy_kept, out_of_place
from ...repair.ways import Way
from .index import Case, Event
from .writes import OPTIMIZER, Write, made_by_module, owner_of


class Kept(NamedTuple):
    """What an op kept for its backward: its name, the op's grad node, and the stack of the op."""

    name: str
    node: GradNode
    stack: int | None


def mended(case: Case, event: Event[Backward], write: Write, culprit: Place | None, kept: Kept) -> tuple[Fix, ...]:
    """The ways to mend a write, those that change least for the training first."""
    return case.fixes(*_ways(case, event, write, culprit, kept))


def _ways(case: Case, event: Event[Backward], write: Write, culprit: Place | None, kept: Kept) -> Iterator[Way]:
    step = event.step
    if write.cause == OPTIMIZER:
        yield from _after_the_update(case, event, write, kept)
        return
    if made_by_module(case, step, write.op) is not None:
        yield Way(
            "let the module make a new tensor",
            "the same values; takes the memory of one more result",
            culprit,
            without_keyword("inplace"),
        )
    elif owner_of(step, write.tensor) is None and _alone(step, write.tensor):
        yield Way(
            "make a new tensor under the same name",
            "the op keeps the old values, all that follows sees the new ones",
            culprit,
            out_of_place(attributes=not _outlives(step, write.tensor)),
        )
    place = case.place(kept.stack)
    if of_a_layer(case, step, kept):
        later, sooner = case.meeting(event.moment.stack, write.stack), case.meeting(kept.stack, write.stack)
        yield Way("write it after the backward", _AS_KEPT, culprit, moved(later, before=False))
        yield Way("write it before the forward", _AS_KEPT, culprit, moved(sooner, before=True))
        return
    stale = [saved.name for saved in kept.node.saved if saved.stale]
    yield Way(
        "let the op keep a copy",
        "the write stays as it is, and all that follows sees it",
        place,
        copy_kept(kept.name, result="result" in stale, slot=stale[0] if len(stale) == 1 else ""),
    )


def of_a_layer(case: Case, step: Step, kept: Kept) -> bool:
    """Whether what was kept is a parameter that a layer has, so that the line of the op has no name for it."""
    stale = [saved.tensor for saved in kept.node.saved if saved.stale and saved.tensor is not None]
    owners = [owner_of(step, tensor) for tensor in stale]
    place = case.place(kept.stack)
    written = place.expression if place is not None else ""
    named = kept.name.rpartition(".")[2] in written
    return bool(owners) and not named and all(one is not None and one.role == "parameter" for one in owners)


_AS_KEPT = "forward and backward meet the same values"


def _alone(step: Step, tensor: int) -> bool:
    """Whether no view or other tensor of the step shares the memory, which would wait for the write."""
    record = step.tensors[tensor]
    return not record.is_view and all(
        other.number == tensor or other.storage != record.storage for other in step.tensors
    )


def _outlives(step: Step, tensor: int) -> bool:
    """Whether the tensor is one that more than this step knows: a buffer, or one from before."""
    record = step.tensors[tensor]
    return record.parameter is not None or record.made_by is None


def _after_the_update(case: Case, event: Event[Backward], write: Write, kept: Kept) -> Iterator[Way]:
    """One update for two losses of one optimizer; else the loss is made anew after the update that its graph spoils."""
    backward, step = event.moment, event.step
    name = step.tensors[backward.roots[0]].name if backward.roots else ""
    update, use = case.meeting(write.stack, backward.stack), case.meeting(backward.stack, write.stack)
    if _stepped_again(case, step, write, backward):
        yield Way("update once, after both losses", "both are followed, as their sum would be", update, removed())
    elif name:
        yield Way(
            f"compute {name} after the update",
            "it is differentiated with the weights that it was made with",
            use,
            built_before_use(name, update, case.meeting(kept.stack, write.stack)),
        )


def _stepped_again(case: Case, step: Step, write: Write, backward: Backward) -> bool:
    """Whether the loss is one that the optimizer was to follow together with the one before: it has all of both."""
    update = step.moments[write.moment]
    graph = step.behind(backward)
    leaves = [node.tensor for node in graph.nodes if node.tensor is not None] if graph is not None else []
    known = (case.parameter(step, leaf) for leaf in leaves)
    others = {which for one in known if one is not None for which in one.optimizers}
    return isinstance(update, OptimizerStep) and others == {update.optimizer}
