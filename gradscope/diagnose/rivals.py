"""Two optimizers and two losses: a gradient that was meant for one player only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..model.findings import Finding, Place, Severity
from ..model.records import Backward, OpCall
from ..model.trace import Step
from .case import Case
from .check import LIKELY, Rule, check
from .slots import Slots, Use
from .wording import call_at, optimizer_name, parameter_names

FOREIGN_GRADIENT = Rule(
    "GS609",
    "gradient-of-the-other-loss",
    Severity.WARNING,
    "An update mixes in the gradient of a loss that is meant for another optimizer's parameters.",
)


class _Mix(NamedTuple):
    """`use` reads the sum of two backwards: `own`, and `foreign`, which alone trains the parameters of `rival`."""

    use: Use
    rival: Use
    own: int
    foreign: int


@check(FOREIGN_GRADIENT)
def foreign_gradient(case: Case) -> Iterator[Finding]:
    """Adversaries, such as the two nets of a GAN, of which one steps with the gradient of both losses.

    The sign of adversaries: one loss goes through the rival's parameters and does not train them.
    """
    updates = [use for use in Slots.of(case).updates if use.optimizer is not None]
    told: set[tuple[int | None, int | None]] = set()
    for use in updates:
        sums = {(slot.first, slot.filled) for slot in use.slots.values() if slot.first != slot.filled and slot.here}
        for rival in updates if sums else ():
            if rival.step is not use.step or set(rival.slots) & set(use.slots):
                continue
            mix = _mix(use, rival, sums)
            if mix is None or (mix.own, mix.foreign) in told or not _goes_through(mix):
                continue
            told.add((mix.own, mix.foreign))
            yield _mixed(case, mix)


def _mix(use: Use, rival: Use, sums: set[tuple[int | None, int | None]]) -> _Mix | None:
    sources = {(slot.first, slot.filled) for slot in rival.slots.values() if not slot.empty}
    if len(sources) != 1:
        return None
    foreign, last = next(iter(sources))
    pair = next((pair for pair in sums if foreign in pair), None)
    if foreign is None or foreign != last or pair is None:
        return None
    own = pair[0] if pair[1] == foreign else pair[1]
    return _Mix(use, rival, own, foreign) if own is not None else None


def _goes_through(mix: _Mix) -> bool:
    """Whether the loss that the update is for runs through the rival's parameters."""
    step = mix.use.step
    for moment in step.moments:
        if isinstance(moment, Backward) and moment.stack == mix.own and moment.graph >= 0:
            ops = {node.op for node in step.graphs[moment.graph].nodes if node.op is not None}
            if any(_parameters(step, op) & set(mix.rival.slots) for op in ops):
                return True
    return False


def _parameters(step: Step, op: int) -> set[int]:
    moment = step.moments[op]
    found = {step.tensors[one].parameter for one in moment.inputs} if isinstance(moment, OpCall) else set()
    return {one for one in found if one is not None}


def _entry(case: Case, mix: _Mix) -> Place | None:
    """The call in which what the one net made enters the other, on the way to the rival's own loss."""
    step = mix.use.step
    backward = next((m for m in step.moments if isinstance(m, Backward) and m.stack == mix.foreign), None)
    if backward is None or backward.graph < 0:
        return None
    ops = sorted({node.op for node in step.graphs[backward.graph].nodes if node.op is not None})
    for op in ops:
        moment = step.moments[op]
        if not isinstance(moment, OpCall) or not _parameters(step, op) & set(mix.rival.slots):
            continue
        tensors = [step.tensors[one] for one in moment.inputs]
        if any(tensor.requires_grad and not tensor.is_leaf for tensor in tensors):
            return case.place(_outer_call(step, moment))
    return None


def _outer_call(step: Step, op: OpCall) -> int | None:
    """The stack of the outermost module call that the op ran in; its own where it ran in none."""
    calls = step.template.calls
    found = next((call for call in calls if (call.module, call.call) == (op.module, op.module_call)), None)
    while found is not None and found.parent is not None:
        found = calls[found.parent]
    return found.stack if found is not None and found.stack is not None else op.stack


def _mixed(case: Case, mix: _Mix) -> Finding:
    foreign, own = call_at(case, mix.foreign, "one backward"), call_at(case, mix.own, "another")
    update, rival = call_at(case, mix.use.stack, "the update"), optimizer_name(case, mix.rival.optimizer)
    names = parameter_names(case, mix.use.slots)
    return FOREIGN_GRADIENT.finding(
        f"{update} also follows the gradient of {foreign}, whose loss is for the parameters of {rival}",
        culprit=_entry(case, mix) or case.place(mix.foreign),
        step=mix.use.number,
        confidence=LIKELY,
        related=case.places(
            (mix.foreign, "also fills the other net's gradients"),
            (mix.own, "its own loss"),
            (mix.use.stack, "uses the sum"),
        ),
        explanation=f"The loss of {foreign} reaches {names} through a result that still has its graph, so their .grad "
        f"holds the sum with that of {own}. Where the two losses pull in opposite directions, they cancel.",
        fix=f"detach the result where it enters the other net (D(fake.detach())), or clear the gradients before {own}",
    )


CHECKS = (foreign_gradient,)
