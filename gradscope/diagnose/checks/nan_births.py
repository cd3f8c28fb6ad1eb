"""NaN and Inf: the op where they were born, which is rarely where they are first noticed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.build import grad_node_id, op_id
from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, OpCall, OptimizerStep, ScalerCall
from ...model.records import Detail, Stats
from ...model.trace import Step
from ...model.watching import recorded_in_full
from ..evidence.arguments import arguments
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.nan_causes import TRAPS, Trap
from ..evidence.nan_fixes import avoided, picked_before, unmasked
from ..evidence.statistics import Statistics, backwards, bad
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

BORN_IN_FORWARD = Rule("GS801", "nan-in-forward", Severity.ERROR, "An op made NaN or Inf from finite numbers.")
BORN_IN_BACKWARD = Rule(
    "GS802", "nan-in-backward", Severity.ERROR, "The derivative of an op is NaN or Inf at the values it was given."
)
BAD_DATA = Rule("GS803", "nan-in-data", Severity.ERROR, "The data that the script brought in held NaN or Inf already.")
DIVERGED = Rule(
    "GS804",
    "diverged",
    Severity.ERROR,
    "Each update made the next one larger, until numbers overflowed.",
    frozenset({"GS821", "GS901"}),
)
BORN_IN_UPDATE = Rule(
    "GS805", "nan-in-update", Severity.ERROR, "The optimizer made NaN or Inf from finite gradients and parameters."
)

_HUGE = 1e15  # float32 squares of this overflow soon; nobody's data is so large
_LARGEST_HALF = 65504.0


class Born(NamedTuple):
    """Where a number that is not finite came to be."""

    step: Step
    moment: int
    tensor: int
    result: Stats
    inputs: Mapping[int, Stats]


@check(BORN_IN_FORWARD, BORN_IN_BACKWARD, BAD_DATA, DIVERGED, BORN_IN_UPDATE)
def first_bad_number(case: Case) -> Iterator[Finding]:
    """The birth of the first NaN or Inf that reached a loss, a gradient or a parameter."""
    row = next((row for row in case.rows if not row.finite), None)
    if row is None:
        return
    step = Step(case.trace, row)
    if row.detail is not Detail.FULL:
        yield from _unseen(case, step)
        return
    values = Statistics(case, step)
    for judge in (_in_forward, _in_backward, _in_update):
        found = judge(case, values)
        if found is not None:
            yield found
            return


def _unseen(case: Case, step: Step) -> Iterator[Finding]:
    """A step without statistics of its ops: the line where it shows."""
    for event in case.events(Backward, step):
        surfaced = case.place(event.moment.stack)
        what = "the loss is" if step.row.loss is not None and not math.isfinite(step.row.loss) else "gradients are"
        yield BORN_IN_FORWARD.finding(
            f"{what} not finite from step {step.number} on",
            culprit=surfaced,
            step=step.number,
            confidence=LIKELY,
            explanation=f"Step {step.number} was recorded without the statistics of its ops, so the op where this "
            f"began is not known.{' ' + step.unwatched.told.capitalize() + '.' if step.unwatched is not None else ''}",
            fix=f"{recorded_in_full(case.info, max(0, step.number))} records them; gradscope check SCRIPT those of all "
            "steps",
        )
        return


def _in_forward(case: Case, values: Statistics) -> Finding | None:
    """The first op of those that lead to a loss that is not finite."""
    step = values.step
    for moment, backward in backwards(case, step):
        known = values.last_before(moment)
        roots = [root for root in backward.roots if root in known and bad(known[root])]
        if roots:
            born = _birth(case, values, roots, moment)
            return _forward_finding(case, born, backward.stack) if born is not None else None
    return None


def _birth(case: Case, values: Statistics, tensors: Sequence[int], end: int) -> Born | None:
    """The op that made the first NaN or Inf that `tensors` were computed from; in an earlier step, if need be."""
    step = values.step
    for _ in range(1 + len(case.rows)):
        births = _births(case, values, Dataflow.of(case, step).behind(tensors, end)[1])
        if births:
            return _guilty(births)
        carried = _carried_bad(case, step, tensors, end)
        if carried is None:
            return None
        step, tensors, end = carried
        values = Statistics(case, step)
    return None


def _births(case: Case, values: Statistics, ops: set[int]) -> list[Born]:
    known = dict(values.at_start)
    births = []
    for event in case.events(OpCall, values.step):
        op, results = event.moment, values.results(event.position)
        if event.position in ops and results:
            inputs = {tensor: known[tensor] for tensor in op.inputs if tensor in known}
            for tensor, stats in results.items():
                nan_is_new = stats.nans and not any(one.nans for one in inputs.values())
                inf_is_new = stats.infs and not any(bad(one) for one in inputs.values())
                unknown = [number for number in op.inputs if number not in known and _carried(values.step, number)]
                if (nan_is_new or inf_is_new) and not unknown:
                    births.append(Born(values.step, event.position, tensor, stats, inputs))
        known.update(results)
    return births


def _carried(step: Step, tensor: int) -> bool:
    return any(item[0] == tensor and item[1] != step.number for item in step.row.carried)


def _guilty(births: Sequence[Born]) -> Born:
    """The first that was computed; a fill with inf is meant unless nothing else went wrong."""
    computed = [born for born in births if not _is_meant(born)]
    return (computed or list(births))[0]


def _is_meant(born: Born) -> bool:
    op = born.step.op(born.moment)
    if op is None or born.result.nans:
        return False
    return op.name in op_kinds.PASSES_INFINITY or arguments(op).infinite


def _carried_bad(case: Case, step: Step, tensors: Sequence[int], end: int) -> tuple[Step, list[int], int] | None:
    """Where the inputs from an earlier step come from: (that step, tensors there, its end)."""
    for tensor in sorted(Dataflow.of(case, step).behind(tensors, end)[0]):
        origin = case.origin(step, tensor)
        row = case.by_number.get(origin.step)
        if origin.step == step.number or row is None:
            continue
        home = Step(case.trace, row)
        there = Statistics(case, home).last_before(len(home.moments)).get(origin.tensor)
        if there is not None and bad(there):
            return home, [origin.tensor], len(home.moments)
    return None


def _finite(born: Born) -> bool:
    return not any(bad(one) for one in born.inputs.values())


def _forward_finding(case: Case, born: Born, backward_stack: int | None, hidden: bool = False) -> Finding:
    """`hidden`: the loss itself is finite."""
    step, op = born.step, born.step.op(born.moment)
    assert op is not None
    name = case.called(step, born.tensor)
    what = _what(born.result)
    place = case.place(op.stack)
    related = case.places((backward_stack, "where it shows"))
    nodes = (born.tensor, op_id(step.template, born.moment))
    if not op.inputs:
        return BAD_DATA.finding(
            f"{name} holds {what} from the start",
            culprit=place,
            step=step.number,
            confidence=SURE,
            related=related,
            explanation=f"{op.name} brought it in; everything computed from it is spoilt.",
            fix="clean the data first: drop or fill the rows where torch.isfinite(x) is False",
            nodes=nodes,
        )
    largest = max((max(abs(one.min), abs(one.max)) for one in born.inputs.values()), default=0.0)
    if _HUGE < largest < math.inf:
        return _diverged(case, born, largest)
    dtype = step.tensors[born.tensor].dtype
    trap = TRAPS.get(op.name)
    half = dtype == "float16" and born.result.infs > 0 and not born.result.nans
    if half:
        trap = Trap(
            f"The type float16 holds nothing above {_LARGEST_HALF:.0f}.",
            "compute this part in float32: x.float(), or inside torch.autocast, which keeps such ops in float32",
        )
    return BORN_IN_FORWARD.finding(
        f"{op.name} made {what} of {name}" + (": float16 overflowed" if half else ""),
        culprit=place,
        step=step.number,
        confidence=CERTAIN,
        related=related,
        explanation=(trap.why if trap else f"For these values {op.name} gives {what}.")
        + f" Its inputs were {'finite' if _finite(born) else 'infinite, not NaN'}: {_ranges(case, step, born.inputs)}."
        + (" A mask behind it hides them from the loss, not from the backward: 0 · NaN is NaN." if hidden else ""),
        fix=trap.fix if trap else "look at the values of its inputs, and keep them in the range where it is finite",
        fixes=case.fixes(*avoided(op.name, place, half=half, inputs=born.inputs.values()), *unmasked(case, step, op)),
        nodes=nodes,
    )


def _diverged(case: Case, born: Born, largest: float) -> Finding:
    """Inputs were astronomically large already: the training diverged before."""
    step = born.step
    update = next(case.events(OptimizerStep), None)
    losses = [row.loss for row in case.rows if row.loss is not None and row.number <= step.number][-6:]
    place = case.place(update.moment.stack) if update is not None else case.place(step.moments[born.moment].stack)
    return DIVERGED.finding(
        f"training diverged: values had grown to {largest:.1e} before they overflowed in step {step.number}",
        culprit=place,
        step=step.number,
        confidence=LIKELY,
        related=case.places((step.moments[born.moment].stack, "where it overflowed")),
        explanation="The losses before it: " + ", ".join(f"{loss:.3g}" for loss in losses) + ". Each update overshot "
        "further than the one before.",
        fix="lower the learning rate (ten times is a good first try), or clip the gradients",
        nodes=(born.tensor,),
    )


def _in_backward(case: Case, values: Statistics) -> Finding | None:
    """The first grad node that got finite gradients and gave others."""
    step = values.step
    scaled = next(case.events(ScalerCall, step), None) is not None
    if scaled and not any(norm is not None and not math.isfinite(norm) for _, norm, _ in step.row.norms):
        return None  # a GradScaler probes how far it can go, and skips such a step
    for run in values.runs:
        spoilt = {position: stats for position, stats in run.outgoing.items() if bad(stats)}
        if not spoilt or any(bad(stats) for stats in run.incoming.values()):
            continue
        op = step.op(run.node.op)
        if op is None:
            return None
        known = values.last_before(run.node.op or 0)
        inputs = {tensor: known[tensor] for tensor in op.inputs if tensor in known}
        hidden = [tensor for tensor, stats in inputs.items() if stats.nans]
        born = _birth(case, values, hidden, run.node.op or 0) if hidden else None
        maker = born.step.op(born.moment) if born is not None else None
        if born is not None and maker is not None and maker.inputs:  # data that lacks values is masked on purpose
            return _forward_finding(case, born, step.stack(run.moment), hidden=True)
        count, total = sum(bad(stats) for stats in spoilt.values()), sum(stats.numel for stats in spoilt.values())
        trap = TRAPS.get(op.name)
        backward = step.moments[run.moment]
        result = case.called(step, op.outputs[0]) if op.outputs else op.name
        return BORN_IN_BACKWARD.finding(
            f"the gradient became {_what(next(iter(spoilt.values())))} in the backward of {op.name} ({result})",
            culprit=case.place(op.stack),
            step=step.number,
            confidence=CERTAIN,
            related=case.places((backward.stack, "the backward in which it happened")),
            explanation=f"{run.node.name} got a finite gradient and gave {count} of {total} numbers that are not. "
            + (trap.why if trap else f"The derivative of {op.name} does not exist at these values.")
            + " A zero that comes in does not help: 0 · inf is NaN, also behind a mask."
            + (f" Its inputs: {_ranges(case, step, inputs)}." if inputs else ""),
            fix=trap.fix if trap else "keep its inputs away from the values where its derivative is infinite",
            fixes=case.fixes(
                *picked_before(op.name, case.place(op.stack), masked=any(one.nans for one in inputs.values())),
                *avoided(op.name, case.place(op.stack), half=False, inputs=inputs.values()),
            ),
            nodes=(grad_node_id(step.template, run.graph, run.node.index), *op.outputs),
        )
    return None


def _in_update(case: Case, values: Statistics) -> Finding | None:
    """Finite gradients and parameters, and not finite parameters after the optimizer's step."""
    step = values.step
    for event in case.events(OptimizerStep, step):
        after = {number: one for number, one in values.parameters(event.position, "value").items() if bad(one)}
        gradients: dict[int, Stats] = {}
        for change in case.events(GradChange, step):
            if change.position < event.position:
                gradients.update(values.parameters(change.position, "grad"))
        if not after or any(bad(one) for one in gradients.values()):
            continue
        names = ", ".join(case.parameters[number].name for number in list(after)[:3])
        return BORN_IN_UPDATE.finding(
            f"the update made {_what(next(iter(after.values())))} of {names}, from finite gradients",
            culprit=case.place(event.moment.stack),
            step=step.number,
            confidence=SURE,
            explanation="Gradients and parameters were finite before the optimizer's step and not after it.",
            fix="look at its settings: lr, eps (0 divides by zero), betas, weight_decay",
            nodes=event.moment.updated,
        )
    return None


# -- words ---------------------------------------------------------------------------------------------


def _what(stats: Stats) -> str:
    if stats.nans and stats.infs:
        return "NaN and Inf"
    return "NaN" if stats.nans else "Inf"


def _ranges(case: Case, step: Step, inputs: Mapping[int, Stats]) -> str:
    """`x from -5.9 to 5.3`, for each input."""
    return ", ".join(
        f"{case.called(step, tensor)} from {one.min:.4g} to {one.max:.4g}" for tensor, one in list(inputs.items())[:3]
    )


CHECKS = (first_bad_number,)
