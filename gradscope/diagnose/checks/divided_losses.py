"""Mean losses that are divided once more: by the number of micro-batches a second time, or by the size of the batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import OpCall
from ...model.trace import Step
from ...text import number
from ..evidence.arguments import arguments
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import GradLifetimes, Use
from ..evidence.index import Case
from ..evidence.loss_terms import is_number
from ..evidence.wording import call_at
from ..rules import LIKELY, SURE, Rule, check

DIVIDED_TWICE = Rule(
    "GS517",
    "loss-divided-twice",
    Severity.WARNING,
    "A loss is divided twice by the same number: the steps are that many times too small.",
)


class _Division(NamedTuple):
    """An op of a step that divides a loss by a number, and what it divided."""

    op: int
    by: float
    divided: int


@check(DIVIDED_TWICE)
def divided_twice(case: Case) -> Iterator[Finding]:
    """The numbers that each backward's loss is divided by on its way, against micro-batches and batch."""
    told: set[int | None] = set()
    for use in GradLifetimes.of(case).updates:
        fills = max((slot.fills for slot in use.slots.values()), default=0)
        flow = Dataflow.of(case, use.step)
        for moment, backward in flow.backwards if use.optimizer is not None and fills else ():
            if backward.call != "backward" or len(backward.roots) != 1 or backward.stack in told:
                continue
            divisions = _divisions(flow, backward.roots[0], moment)
            again = [one for one in divisions if fills > 1 and math.isclose(one.by, fills)]
            if len(again) > 1:
                told.add(backward.stack)
                yield _twice(case, use, again, fills)
            elif fills == 1 and len(divisions) == 1 and _by_batch(flow, divisions[0]):
                told.add(backward.stack)
                yield _by_the_batch(case, use.step, divisions[0])


def _divisions(flow: Dataflow, root: int, before: int) -> list[_Division]:
    """The divisions by a number, from the backward's root back to where several values become one."""
    found = []
    for _ in range(8):
        made, call = flow.step.tensors[root].made_by, flow.step.maker(root)
        if made is None or call is None or made >= before or len(call.inputs) != 1:
            break
        by = _divisor(call)
        if by is None or not is_number(flow.step, call.inputs[0]):
            break
        root, before = call.inputs[0], made
        found.append(_Division(made, by, root))
    return found


def _divisor(call: OpCall) -> float | None:
    given = arguments(call).number("other", 0)
    if given is None or not given:
        return None
    if call.name in op_kinds.DIVIDES:
        return given
    return 1 / given if call.name in op_kinds.MULTIPLIES else None


def _by_batch(flow: Dataflow, division: _Division) -> bool:
    """Whether the number is the size of the batch whose mean is divided."""
    call = flow.step.maker(division.divided)
    averages = call is not None and (call.name in op_kinds.AVERAGES or arguments(call).named.get("reduction") == "mean")
    sizes = [flow.step.tensors[tensor].shape for tensor in call.inputs] if call is not None and averages else []
    return division.by > 2 and any(shape and math.isclose(shape[0], division.by) for shape in sizes)


def _twice(case: Case, use: Use, again: list[_Division], fills: int) -> Finding:
    flow = Dataflow.of(case, use.step)
    last, first = (flow.ops[one.op].stack for one in (again[0], again[-1]))
    return DIVIDED_TWICE.finding(
        f"the loss of each of {fills} micro-batches is divided by {fills} twice",
        culprit=case.place(last),
        step=use.number,
        confidence=SURE,
        related=case.places((first, "divided here already"), (use.stack, f"uses the sum of {fills} backwards")),
        explanation=f"{fills} backwards add up, so each loss is to be divided by {fills} once. Divided twice, the "
        f"update follows 1/{fills} of the mean gradient.",
        fix=f"divide once: leave out one of {call_at(case, last, 'the divisions')} and "
        f"{call_at(case, first, 'the other')}",
    )


def _by_the_batch(case: Case, step: Step, division: _Division) -> Finding:
    flow = Dataflow.of(case, step)
    name = case.called(step, division.divided)
    return DIVIDED_TWICE.finding(
        f"{name} is the mean over the batch, and is divided by {number(division.by)}, the batch's size, once more. Is "
        "that intended?",
        culprit=case.place(flow.ops[division.op].stack),
        step=step.number,
        confidence=LIKELY,
        severity=Severity.NOTE,
        related=case.places((step.stack(step.tensors[division.divided].made_by), "the mean")),
        explanation="A loss with reduction='mean' is divided by the number of samples already. Divided again, the "
        "gradients shrink as the batch grows.",
        fix="leave the division out, or sum the loss: reduction='sum'",
    )


CHECKS = (divided_twice,)
