"""Where NaN and Inf are in a step: at which moments, or between which where its results were not measured."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..model.moments import Backward, OpCall, OptimizerStep
from ..model.op_kinds import PASSES_INFINITY
from ..model.records import Phase, Sample
from ..model.samples import not_finite
from ..model.trace import Step
from ..model.watching import recorded_in_full
from ..model.writers import op_of

BEFORE = "a parameter, when the step began"


class Range(NamedTuple):
    """The first number of a step that is not finite was born at one of the moments `first` to `last`."""

    first: int
    last: int
    what: str  # where it is seen: "the loss", …


def bad_moments(step: Step) -> tuple[int, ...]:
    """The moments whose samples hold NaN or Inf, but for -inf that masks on purpose; of a step where only the row has
    such numbers, the moment by which they must have been born.
    """
    masked = _masked(step)
    found = {
        sample.moment
        for sample in step.samples
        if not_finite(sample) and (sample.what != "value" or sample.of_parameter or sample.subject not in masked)
    }
    if not found and (born := born_between(step)) is not None:
        found = {born.last}
    return tuple(sorted(found))


def born_between(step: Step) -> Range | None:
    """What the row tells of where the step's first NaN or Inf was born; None where its numbers are finite.

    A parameter that an optimizer updates was measured before its update: what is not finite there came into the step.
    """
    row = step.row
    if row.finite:
        return None
    start, end = next((at for at, one in enumerate(step.moments) if isinstance(one, OpCall)), 0), len(step.moments) - 1
    end, backwards = max(end, 0), step.positions(Backward)
    if not all(_finite(norm) for _, norm, _ in row.norms):
        updated = bool(step.positions(OptimizerStep))
        return Range(0, 0, BEFORE) if updated else Range(start, end, "a parameter")
    if not _finite(row.loss):
        made = [at for at in (_made(step, at) for at in backwards) if at is not None]
        return Range(start, max(made, default=backwards[-1] if backwards else end), "the loss")
    last = max((at for at, one in enumerate(step.moments) if one.phase is Phase.BACKWARD), default=end)
    return Range(backwards[0] if backwards else start, last, "a gradient")


def told(step: Step) -> str:
    """One sentence for the user where a step's bad numbers are only known by its row; else "".

    Where they were measured, the moments themselves tell.
    """
    born = born_between(step)
    if born is None or any(not_finite(sample) for sample in step.samples):
        return ""
    if born.what == BEFORE:
        return f"A parameter is not finite when step {step.number} begins: an update before it made it so."
    where = f"moments {born.first + 1} to {born.last + 1}" if born.first < born.last else f"moment {born.last + 1}"
    what = f"{born.what.capitalize()} of step {step.number} is not finite: it was born in {where}"
    return f"{what}, whose results were not measured. {recorded_in_full(step.trace.info, max(step.number, 0))} does."


def _made(step: Step, backward: int) -> int | None:
    """The moment that made the first root of a backward."""
    record = step.moments[backward]
    return step.tensors[record.roots[0]].made_by if isinstance(record, Backward) and record.roots else None


def _masked(step: Step) -> set[int]:
    """The tensors with -inf that a mask brought in, and what was made of these without NaN or +inf."""
    found: set[int] = set()
    for sample in sorted(step.samples, key=lambda sample: sample.moment):
        if sample.what != "value" or sample.of_parameter or not _only_minus_infinity(sample):
            continue
        call = _call(step, sample.moment) if 0 <= sample.moment < len(step.moments) else None
        if call is None or call.name in PASSES_INFINITY or found.intersection(call.inputs):
            found.add(sample.subject)
    return found


def _only_minus_infinity(sample: Sample) -> bool:
    stats = sample.stats
    return stats is not None and bool(stats.infs) and not stats.nans and stats.max != math.inf


def _call(step: Step, place: int) -> OpCall | None:
    """The call that a moment is, or by which it wrote."""
    moment = step.moments[place]
    return moment if isinstance(moment, OpCall) else step.op(op_of(step.moments, place))


def _finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)
