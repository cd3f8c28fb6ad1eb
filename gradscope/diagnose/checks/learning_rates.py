"""Learning rates that move nothing: updates at rate 0, and schedules that are run down before the training is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from ...model.findings import Finding, Severity
from ...model.moments import OptimizerStep, SchedulerStep
from ...repair.changes.elsewhere import at_call
from ...repair.changes.loops import after_its_loop
from ...repair.changes.modules import counted_from_one
from ...repair.ways import Way
from ...text import number, plural
from ..evidence.index import Case, once_a_case
from ..evidence.wording import call_at, optimizer_name
from ..rules import LIKELY, SURE, Rule, check

RATE_ZERO = Rule("GS513", "learning-rate-zero", Severity.WARNING, "Updates run at a learning rate of 0, or next to it.")
SCHEDULE_TOO_FAST = Rule(
    "GS514",
    "schedule-too-fast",
    Severity.NOTE,
    "A schedule is stepped so often that it is over long before the training, or rises again.",
)
_NOTHING = 1e-6  # of the largest rate: float32 parameters of usual size do not change any more
_LOW, _EARLY = 0.02, 0.25  # of the largest rate, and of all updates
_ENOUGH = 2  # updates at rate 0: a warm-up's first is harmless


class _Update(NamedTuple):
    """An update at its rate, the largest of its groups, and the last step of a scheduler before it."""

    step: int
    stack: int | None
    rate: float
    schedule: int | None
    scheduler: str
    steps: int  # of the scheduler so far


@once_a_case
def _updates(case: Case) -> Mapping[int, Sequence[_Update]]:
    """All updates of each optimizer whose rates were recorded, in order."""
    found: dict[int, list[_Update]] = {}
    calls: dict[int, list[OptimizerStep | SchedulerStep]] = {}
    last: dict[int | None, tuple[int | None, str]] = {}
    count: dict[int | None, int] = {}
    for row in case.rows:
        step = case.like(row.number)
        if step is None:
            continue
        if row.template not in calls:
            calls[row.template] = [m for m in step.moments if isinstance(m, (OptimizerStep, SchedulerStep))]
        for moment in calls[row.template]:
            rates = [rate for one, _, rate in row.learning_rates if one == moment.optimizer]
            if isinstance(moment, SchedulerStep):
                last[moment.optimizer] = moment.stack, moment.name
                count[moment.optimizer] = count.get(moment.optimizer, 0) + 1
            elif rates:
                schedule, name = last.get(moment.optimizer, (None, ""))
                done = count.get(moment.optimizer, 0)
                one = _Update(row.number, moment.stack, max(rates), schedule, name, done)
                found.setdefault(moment.optimizer, []).append(one)
    return found


_LAMBDA = ("LambdaLR",)


@check(RATE_ZERO)
def rate_zero(case: Case) -> Iterator[Finding]:
    """Several updates on end that change nothing, because the rate is 0 or has become as good as 0."""
    for optimizer, updates in _updates(case).items():
        largest = max(update.rate for update in updates)
        stills = [(one.rate <= largest * _NOTHING, one) for one in updates]
        runs = [[one for _, one in run] for still, run in groupby(stills, lambda pair: pair[0]) if still]
        idle = max(runs, key=len, default=[])
        if len(idle) >= _ENOUGH:
            yield _rate_zero(case, optimizer, idle, updates)


def _rate_zero(case: Case, optimizer: int, idle: Sequence[_Update], updates: Sequence[_Update]) -> Finding:
    name, first = optimizer_name(case, optimizer), idle[0]
    built = case.optimizers[optimizer].stack if optimizer in case.optimizers else None
    schedules = [event.moment for event in case.events(SchedulerStep) if event.moment.optimizer == optimizer]
    stack = schedules[0].stack if schedules else built
    rate = "0" if first.rate == 0 else number(first.rate)
    at_first, always = idle[0] is updates[0], len(idle) == len(updates)
    if not schedules and at_first:
        why = f"{name} was built with that rate, and no scheduler changes it."
        fix = f"give {name} a learning rate above 0"
    elif not schedules:
        stack = first.stack
        why = f"The rate of {name} was above that before, and no scheduler changed it: the script set it."
        fix = f"give the groups of {name} a learning rate above 0"
    elif at_first and not always:
        call = call_at(case, stack, "the scheduler's step()")
        why = f"The schedule begins at {rate}, and {call} runs only after {plural(len(idle), 'update')}."
        fix = "begin the warm-up above 0 ((step + 1) / warmup), or step the scheduler after each update"
    else:
        call = call_at(case, stack, "the scheduler's step()")
        why = f"{call} ran {first.steps} times before: the schedule has come to its end, the training has not."
        fix = f"call {call} as often as the schedule counts on: once an epoch, or with its length in updates"
    return RATE_ZERO.finding(
        f"{plural(len(idle), 'update')} of {name} from step {first.step} on change nothing: the rate is {rate}",
        culprit=case.place(stack),
        step=first.step,
        confidence=SURE if at_first or first.rate else LIKELY,
        related=case.places((first.stack, "an update that changes nothing"), (built, "the optimizer is built here")),
        explanation=f"An update moves parameters by the rate times their gradients. {why}",
        fix=fix,
        fixes=case.fixes(
            Way("begin above 0", "the first update moves, too", case.place(stack), at_call(_LAMBDA, counted_from_one()))
            if at_first
            else Way("call it once for all batches", "the schedule counts these", case.place(stack), after_its_loop())
        )
        if schedules and not always
        else (),
    )


@check(SCHEDULE_TOO_FAST)
def cosine_turns(case: Case) -> Iterator[Finding]:
    """A cosine that falls to its end and rises again, because it is stepped more often than T_max says."""
    for optimizer, updates in _updates(case).items():
        falls = next((i for i in range(1, len(updates)) if updates[i].rate < updates[i - 1].rate), None)
        rises = next((i for i in range(falls or 0, len(updates)) if updates[i].rate > updates[i - 1].rate), None)
        if falls is None or rises is None or updates[rises].scheduler != "CosineAnnealingLR":
            continue
        turn, name = updates[rises], optimizer_name(case, optimizer)
        call = call_at(case, turn.schedule, "the scheduler's step()")
        yield SCHEDULE_TOO_FAST.finding(
            f"the cosine of {name} reaches its end after {turn.steps - 1} calls of {call} and rises again: is it to?",
            culprit=case.place(turn.schedule),
            step=turn.step,
            confidence=LIKELY,
            related=case.places((turn.stack, "an update at the rising rate")),
            explanation="T_max counts the scheduler's own steps. They are more than that here, and a cosine goes up "
            f"again after its lowest point: from step {turn.step} on the rate grows.",
            fix="call the scheduler once an epoch if T_max is in epochs, or give T_max in batches",
            fixes=case.fixes(
                Way(
                    "call it once for all batches",
                    "T_max counts the turns of the outer loop",
                    case.place(turn.schedule),
                    after_its_loop(),
                )
            ),
        )


@check(SCHEDULE_TOO_FAST)
def run_down_early(case: Case) -> Iterator[Finding]:
    """Schedules that are stepped with each update, and have come down for good after a small part of them."""
    for optimizer, updates in _updates(case).items():
        top = max(range(len(updates)), key=lambda i: updates[i].rate)
        low = next((i for i in range(top, len(updates)) if updates[i].rate <= updates[top].rate * _LOW), None)
        if low is None or low > _EARLY * len(updates) or updates[low].steps < low:
            continue
        if all(_NOTHING * updates[top].rate < one.rate <= updates[top].rate * _LOW for one in updates[low:]):
            yield _run_down(case, optimizer, updates, top, low)


def _run_down(case: Case, optimizer: int, updates: Sequence[_Update], top: int, low: int) -> Finding:
    turn, name = updates[low], optimizer_name(case, optimizer)
    call = call_at(case, turn.schedule, "the scheduler's step()")
    return SCHEDULE_TOO_FAST.finding(
        f"the rate of {name} is down from {number(updates[top].rate)} to {number(turn.rate)} after {low} of "
        f"{plural(len(updates), 'update')}, and stays there: is the schedule in epochs?",
        culprit=case.place(turn.schedule),
        step=turn.step,
        confidence=LIKELY,
        related=case.places((turn.stack, "the updates that follow hardly move anything")),
        explanation=f"{call} runs with each update. A schedule that counts in epochs is over after as many batches.",
        fix="call the scheduler once an epoch, or give its steps in batches",
    )


CHECKS = (rate_zero, cosine_turns, run_down_early)
