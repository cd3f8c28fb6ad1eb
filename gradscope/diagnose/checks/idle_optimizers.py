"""Optimizers and schedulers whose work is for nothing: a copy has the gradients, another optimizer the parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...model.findings import Finding, Severity
from ...model.moments import OptimizerStep, SchedulerStep
from ...model.trace import Step
from ...text import plural
from ..evidence.grad_lifetimes import GradLifetimes
from ..evidence.index import Case, once_a_step
from ..evidence.parameters import Ownership
from ..evidence.wording import call_at, optimizer_name, parameter_names
from ..rules import SURE, Rule, check

COPY_TRAINED = Rule(
    "GS611",
    "copy-has-the-gradients",
    Severity.WARNING,
    "An optimizer never finds a gradient: the losses are computed with copies of its parameters.",
)
OLD_OPTIMIZER = Rule(
    "GS515",
    "scheduler-of-old-optimizer",
    Severity.WARNING,
    "A scheduler goes on stepping for an optimizer that another one has replaced.",
)
_ENOUGH = 3  # updates that found nothing


@check(COPY_TRAINED)
def copy_has_the_gradients(case: Case) -> Iterator[Finding]:
    """Optimizers whose parameters no backward reaches in the whole run, while copies of them get gradients."""
    owners, lives = Ownership.of(case), GradLifetimes.of(case)
    for which, members in case.members.items():
        uses = lives.of_optimizer(which)
        idle = all(slot.empty and not slot.unseen for use in uses for slot in use.slots.values())
        if not members or sum(use.times for use in uses) < _ENOUGH or not idle or owners.reached & set(members):
            continue
        copies = [one for one in owners.filled if one not in members and owners.copied(one, members)]
        if copies:
            yield _copied(case, which, copies[0], sum(use.times for use in uses))


def _copied(case: Case, optimizer: int, copy: int, times: int) -> Finding:
    owners, name = Ownership.of(case), optimizer_name(case, optimizer)
    uses = GradLifetimes.of(case).of_optimizer(optimizer)
    names = parameter_names(case, case.members[optimizer])
    return COPY_TRAINED.finding(
        f"{name} steps {plural(times, 'time')} without a gradient: copies of {names} get them",
        culprit=case.place(owners.stack_of(copy)),
        step=uses[0].number,
        confidence=SURE,
        related=case.places((uses[0].stack, "finds no gradient")),
        explanation="A deep copy is another set of parameters, and no graph leads from it back to what it was copied "
        f"from. The backward ends in the copy; {name} has nothing to follow.",
        fix="compute the loss with the parameters themselves: torch.func.functional_call(model, {name: p - lr * g}, x) "
        "keeps the graph of an inner update; or give the gradients over: p.grad = copy.grad",
    )


@check(OLD_OPTIMIZER)
def scheduler_of_an_old_optimizer(case: Case) -> Iterator[Finding]:
    """Schedulers that step on after the last update of their optimizer, while another updates the same parameters."""
    last: dict[int, int] = {}
    since: dict[int, Counter[int | None]] = {}  # the scheduler's steps after the last update, by their stack
    for row in case.rows:
        step = case.like(row.number)
        for moment in _calls(case, step) if step is not None else ():
            if isinstance(moment, OptimizerStep):
                last[moment.optimizer], since[moment.optimizer] = row.number, Counter()
            elif moment.optimizer in since:
                since[moment.optimizer][moment.stack] += 1
    for optimizer, calls in since.items():
        newer = [one for one, when in last.items() if when > last[optimizer] and _shares(case, one, optimizer)]
        if newer and sum(calls.values()) > 1:
            yield _replaced(case, optimizer, newer[0], calls)


@once_a_step
def _calls(_case: Case, step: Step) -> Sequence[OptimizerStep | SchedulerStep]:
    return [moment for moment in step.moments if isinstance(moment, (OptimizerStep, SchedulerStep))]


def _shares(case: Case, one: int, other: int) -> bool:
    return one != other and not set(case.members.get(one, ())).isdisjoint(case.members.get(other, ()))


def _replaced(case: Case, old: int, new: int, calls: Counter[int | None]) -> Finding:
    owners, stack = Ownership.of(case), calls.most_common(1)[0][0]
    built = owners.built[new].stack if new in owners.built else None
    call = call_at(case, stack, "the scheduler's step()")
    return OLD_OPTIMIZER.finding(
        f"{call} goes on for an optimizer that steps no more: the rate of its successor stays as it is",
        culprit=case.place(stack),
        confidence=SURE,
        related=case.places((built, "the optimizer that updates the parameters now")),
        explanation="A scheduler changes the rate of the optimizer that it was built with. Since the last update of "
        f"that one its step ran {sum(calls.values())} times; another optimizer has the parameters, and no scheduler.",
        fix=f"build a new scheduler with the new optimizer, or keep the old one and add to it: "
        f"{optimizer_name(case, old)}.add_param_group(…)",
    )


CHECKS = (copy_has_the_gradients, scheduler_of_an_old_optimizer)
