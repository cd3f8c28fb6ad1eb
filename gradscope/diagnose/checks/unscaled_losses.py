"""Losses whose backward a GradScaler does not know of, beside one that it scales: they count for next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, ScalerCall
from ...model.trace import Step
from ..evidence.amp_fixes import scaled_as_well
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import FILLS
from ..evidence.index import Case
from ..evidence.wording import call_at, parameter_names
from ..rules import SURE, Rule, check

NOT_SCALED = Rule(
    "GS516",
    "loss-not-scaled",
    Severity.WARNING,
    "One of several losses is not scaled, and the scaler's step divides the gradients of all.",
)


class _Pair(NamedTuple):
    """Two backwards whose gradients are added up for one step of a scaler; `plain` is the one that is not scaled."""

    plain: Backward
    scaled: Backward
    update: ScalerCall
    parameters: frozenset[int]


@check(NOT_SCALED)
def loss_not_scaled(case: Case) -> Iterator[Finding]:
    """Steps in which a scaler divides gradients that come from a scaled loss and from one that is not."""
    told: set[int | None] = set()
    for step in case.training() if any(True for _ in case.events(ScalerCall)) else ():
        pair = _pair(case, step)
        if pair is not None and pair.plain.stack not in told:
            told.add(pair.plain.stack)
            yield _not_scaled(case, step, pair)


def _pair(case: Case, step: Step) -> _Pair | None:
    calls = [event for event in case.events(ScalerCall, step) if event.moment.enabled]
    factors = {event.moment.stack for event in calls if event.moment.call == "scale"}
    update = next((event for event in calls if event.moment.call == "step"), None)
    if not factors or update is None:
        return None
    unscaled = [event.position for event in calls if event.moment.call == "unscale_"]
    end = min([update.position, *unscaled])
    flow = Dataflow.of(case, step)
    plain: dict[int, Backward] = {}
    scaled: dict[int, Backward] = {}
    for position, backward in flow.backwards:
        if position < end and backward.call == "backward":
            by_scaler = any(flow.ops[op].stack in factors for op in flow.behind(backward.roots, position)[1])
            into = scaled if by_scaler else plain
            into.update(dict.fromkeys(_filled(case, step, position), backward))
    optimizer = update.moment.optimizer
    members = case.members.get(optimizer, ()) if optimizer is not None else ()
    both = frozenset(plain) & frozenset(scaled) & frozenset(members)
    one = next(iter(both), None)
    return _Pair(plain[one], scaled[one], update.moment, both) if one is not None else None


def _filled(case: Case, step: Step, position: int) -> list[int]:
    """The parameters that the backward at a moment gave a gradient."""
    following = next((event.position for event in case.events(Backward, step) if event.position > position), None)
    return [
        one
        for event in case.events(GradChange, step)
        if event.position > position and (following is None or event.position < following)
        if event.moment.change in FILLS
        for one in step.parameters_of(event.moment.tensors)
    ]


def _not_scaled(case: Case, step: Step, pair: _Pair) -> Finding:
    plain, scaled = (call_at(case, one.stack, "backward()") for one in (pair.plain, pair.scaled))
    return NOT_SCALED.finding(
        f"{plain} is not scaled, and {call_at(case, pair.update.stack, 'scaler.step()')} divides its gradients by the "
        "loss scale",
        culprit=case.place(pair.plain.stack),
        step=step.number,
        confidence=SURE,
        related=case.places((pair.scaled.stack, "this one is scaled"), (pair.update.stack, "divides the sum of both")),
        explanation=f"The gradients of {parameter_names(case, pair.parameters)} are those of both losses, added up. "
        f"The scaler's step divides them all by its factor: what {scaled} gave comes out right, what {plain} gave is "
        "thousands of times too small.",
        fix="scale every loss: scaler.scale(loss).backward()",
        fixes=case.fixes(*scaled_as_well(case.place(pair.plain.stack), case.place(pair.update.stack))),
    )


CHECKS = (loss_not_scaled,)
