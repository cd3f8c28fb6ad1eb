"""Parameters that a backward reaches, each time with a gradient of exactly zero, while others are trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import OpCall
from ...text import plural
from ..evidence.arguments import arguments
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.parameters import Ownership
from ..evidence.statements import alias_of
from ..evidence.statistics import Statistics
from ..evidence.wording import parameter_names
from ..evidence.zero_gradients import Loss, always_zero, where_lost
from ..rules import LIKELY, SURE, Rule, check

SOME_ZERO = Rule(
    "GS216",
    "gradient-always-zero",
    Severity.WARNING,
    "A parameter gets a gradient of exactly 0 in every step, while others are trained.",
    frozenset({"GS204", "GS215", "GS513", "GS814", "GS823", "GS824"}),
)
_FLAT = frozenset({"clamp", "clip", "clamp_min", "clamp_max", "hardtanh", "relu6"})
_PRODUCTS = frozenset({"linear", "matmul", "rmatmul", "mm", "bmm", "addmm", "einsum", "mv"})


@check(SOME_ZERO)
def gradients_of_some_zero(case: Case) -> Iterator[Finding]:
    """Groups of such parameters, by the op in which the gradient of all of them became zero."""
    zero = always_zero(case)
    groups: dict[tuple[int | None, bool], list[tuple[int, Loss]]] = defaultdict(list)
    for one in zero:
        loss = where_lost(case, one)
        if loss is not None and not _nothing_there(Dataflow.of(case, loss.step), loss.op):
            groups[loss.step.stack(loss.op), loss.cancels].append((one, loss))
    for group in _joined(case, list(groups.values())):
        yield _always_zero(case, group, min(zero[one] for one, _ in group))


def _nothing_there(flow: Dataflow, op: int) -> bool:
    """Whether there was nothing to compute with."""
    call = flow.ops.get(op)
    return call is None or any(0 in flow.step.tensors[one].shape for one in (*call.inputs, *call.outputs))


def _times_zero(call: OpCall) -> bool:
    """Whether a factor of 0 stands there as a number: a term that is switched off, on purpose or not."""
    return call.name in op_kinds.MULTIPLIES and 0 in arguments(call).positional


def _joined(case: Case, groups: Sequence[list[tuple[int, Loss]]]) -> Iterator[list[tuple[int, Loss]]]:
    """Groups that wait for each other's parameters to leave zero are one."""
    stuck = [group for group in groups if _zeros_behind(case, group[0][1])]
    if stuck:
        yield [member for group in stuck for member in group]
    yield from (group for group in groups if group not in stuck)


def _zeros_behind(case: Case, loss: Loss) -> list[int]:
    """The parameters, all zeros, that a product in which a gradient was lost has for a factor."""
    flow, values = Dataflow.of(case, loss.step), Statistics(case, loss.step)
    if flow.ops[loss.op].name not in _PRODUCTS:
        return []
    behind = [tensor for tensor in flow.behind(flow.ops[loss.op].inputs, loss.op)[0] if tensor in values.at_start]
    return loss.step.parameters_of(sorted(one for one in behind if not values.at_start[one].norm > 0))


def _always_zero(case: Case, group: Sequence[tuple[int, Loss]], steps: int) -> Finding:
    loss = group[0][1]
    flow = Dataflow.of(case, loss.step)
    op = flow.ops[loss.op]
    zeros = [one for one in _zeros_behind(case, loss) if one in {member for member, _ in group}]
    place, why, fix = _cause(case, loss, zeros)
    names = parameter_names(case, sorted(one for one, _ in group))
    certain = loss.cancels or bool(zeros) or op.name in _FLAT
    return SOME_ZERO.finding(
        f"every gradient of {names} is exactly 0, in all of {plural(steps, 'step')}: {op.name} leaves nothing of it",
        culprit=place,
        step=loss.step.number,
        confidence=SURE if certain else LIKELY,
        severity=None if certain else Severity.NOTE,
        related=case.places((op.stack, "the gradient becomes zero here")),
        explanation=why,
        fix=fix,
        nodes=[tensor_id(loss.step.template, tensor) for tensor in op.outputs[:1]],
    )


def _cause(case: Case, loss: Loss, zeros: Sequence[int]) -> tuple[Place | None, str, str]:
    """(line, explanation, fix) of what makes a gradient zero."""
    flow = Dataflow.of(case, loss.step)
    op = flow.ops[loss.op]
    here = case.place(op.stack)
    if zeros:
        names = parameter_names(case, zeros)
        return (
            Ownership.of(case).assignment(zeros[0]) or here,
            f"{names} {'is' if len(zeros) == 1 else 'are'} all zeros. The gradient of each factor of a product is a "
            "multiple of the other one: where both are zero, neither ever leaves it.",
            "begin with random values in one of the factors",
        )
    if loss.cancels:
        return (
            alias_of(case, op.stack) or here,
            "What comes back through this op is taken away again by what comes back another way: the two are equal "
            "with opposite signs, so the value does not depend on what it seems to be computed from.",
            "detach the part that is to be a mere number: x + (round(x) - x).detach(), (new - old.detach()).exp(), "
            "log_prob(action.detach())",
        )
    if _times_zero(op):
        return (
            here,
            "The number 0 stands before it in each of these steps: what is multiplied by it trains nothing. Is the "
            "term switched off on purpose?",
            "look at how the weight is made: a whole-number division (//), a schedule that never leaves 0",
        )
    if op.name in _FLAT:
        return (
            here,
            f"{op.name} has the derivative 0 outside of its limits, and every value that came to it lies outside: "
            "nothing leads back.",
            "begin within the limits, or use a smooth function (sigmoid, tanh) in the place of the limits",
        )
    return (
        here,
        f"A gradient comes to {op.name} and none goes on: its derivative is 0 at all values that it was given.",
        "look at the values that this line was given: a mask of zeros, a choice that never falls on it, a flat end",
    )


CHECKS = (gradients_of_some_zero,)
