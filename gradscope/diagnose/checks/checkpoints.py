"""Checkpoints that compute something else the second time: random numbers that are drawn anew in the backward."""

from __future__ import annotations

from collections.abc import Iterator

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import OpCall
from ...model.trace import Step
from ...repair.changes.calls import without_keyword
from ...repair.ways import Way
from ..evidence.arguments import arguments
from ..evidence.index import Case, Event
from ..evidence.model_runs import acts_as_training
from ..evidence.wording import call_at
from ..rules import SURE, Rule, check

DRAWS_ANEW = Rule(
    "GS422",
    "checkpoint-draws-anew",
    Severity.WARNING,
    "A checkpoint draws other random numbers when it runs again: its gradient is of another forward.",
)


@check(DRAWS_ANEW)
def draws_anew(case: Case) -> Iterator[Finding]:
    """Random ops in checkpoints that do not put the random state back, or that it does not know of."""
    told: set[int | None] = set()
    for step in case.training():
        for event in case.calls("checkpoint", step=step):
            given = arguments(event.moment).named
            keeps = given.get("preserve_rng_state") is not False
            random = next((op for op in _inside(case, step, event) if _is_random(op, own=keeps)), None)
            stack = random.stack if random is not None and keeps else event.moment.stack
            if (random is not None or given.get("draws") is True) and stack not in told:
                told.add(stack)
                yield (
                    _own_generator(case, step, event, random)
                    if keeps and random
                    else _not_kept(case, step, event, random)
                )


def _inside(case: Case, step: Step, event: Event[OpCall]) -> Iterator[OpCall]:
    """The ops that a checkpoint's function ran: those called through its line, up to its next call there."""
    outer = case.sites(event.moment.stack)
    for later in case.events(OpCall, step):
        op, sites = later.moment, case.sites(later.moment.stack)
        if later.position > event.position and sites[len(sites) - len(outer) :] == outer:
            if op.name == event.moment.name and sites == outer:
                return
            if len(sites) > len(outer) or not op.direct:
                yield op


def _is_random(op: OpCall, *, own: bool) -> bool:
    """Whether an op draws random numbers; `own`: from a generator that the script made."""
    if own:
        return op.name in op_kinds.RANDOM and arguments(op).named.get("generator") is not None
    return op.name in op_kinds.RANDOM or (op.name != "batch_norm" and acts_as_training(op) is True)


def _not_kept(case: Case, step: Step, event: Event[OpCall], random: OpCall | None) -> Finding:
    place = case.place(event.moment.stack)
    what = random.name if random is not None else "what it runs"
    return DRAWS_ANEW.finding(
        f"{what} draws other random numbers when the checkpoint runs again: preserve_rng_state is False",
        culprit=place,
        step=step.number,
        confidence=SURE,
        related=case.places((random.stack if random is not None else None, "draws random numbers here")),
        explanation="A checkpoint computes its part a second time in the backward. Without the random state of the "
        "first time another mask or noise is drawn, and the gradient is that of another forward than the loss.",
        fix="leave preserve_rng_state as it is (True)",
        fixes=case.fixes(
            Way("put the random state back", "both runs are the same", place, without_keyword("preserve_rng_state"))
        ),
    )


def _own_generator(case: Case, step: Step, event: Event[OpCall], random: OpCall) -> Finding:
    call = call_at(case, event.moment.stack, "the checkpoint")
    return DRAWS_ANEW.finding(
        f"{random.name} draws from a generator of its own, whose state {call} does not put back",
        culprit=case.place(random.stack),
        step=step.number,
        confidence=SURE,
        related=case.places((event.moment.stack, "run again in the backward")),
        explanation="A checkpoint computes its part a second time in the backward. It puts torch's own random state "
        "back, and knows nothing of other generators: these go on, so the gradient is that of another forward.",
        fix="draw without generator=…, or draw before the checkpoint and pass the values in",
    )


CHECKS = (draws_anew,)
