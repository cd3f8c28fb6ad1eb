"""What happens once for each update, or should: the scheduler, the division of micro-batches, the optimizer itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, Mutation, OpCall, OptimizerStep, ScalerCall, SchedulerStep
from ...model.order import reached
from ...model.trace import Step
from ...repair.changes.statements import before_its_loop, moved
from ...repair.changes.values import divided
from ...repair.ways import Way
from ...text import number, plural
from ..evidence.arguments import arguments
from ..evidence.grad_lifetimes import FILLS, GradLifetimes, Use
from ..evidence.index import Case, shared_frames
from ..evidence.wording import call_at, optimizer_name
from ..rules import LIKELY, SURE, Rule, check

SCHEDULER_FIRST = Rule(
    "GS505",
    "scheduler-before-optimizer",
    Severity.WARNING,
    "The scheduler steps before the optimizer has: the first learning rate is skipped.",
)
NOT_AVERAGED = Rule(
    "GS508",
    "accumulation-not-averaged",
    Severity.WARNING,
    "The mean losses of several micro-batches are added up without being divided by their number.",
)
RECREATED = Rule(
    "GS509",
    "optimizer-recreated",
    Severity.WARNING,
    "The optimizer is built anew again and again, and forgets what it has learned about the gradients.",
)

# -- GS505 -----------------------------------------------------------------------------------------


@check(SCHEDULER_FIRST)
def scheduler_first(case: Case) -> Iterator[Finding]:
    """Schedulers whose first step comes before their optimizer's first, and goes on so."""
    if not any(True for _ in case.events(SchedulerStep)):
        return
    for optimizer, calls in _rhythm(case).items():
        first = calls[0]
        if first.scheduler is None or first.scheduler == "ReduceLROnPlateau":
            continue
        update = next((call for call in calls if call.scheduler is None), None)
        second = next((call for call in calls[1:] if call.stack == first.stack), None)
        if update is None or (second is not None and calls.index(second) < calls.index(update)):
            continue  # never an update, or the schedule is wound forward on purpose
        yield _skips_a_rate(case, optimizer, first, update)


class _Call:
    """A step of a scheduler (its class) or of its optimizer (None)."""

    __slots__ = ("number", "scheduler", "stack")

    def __init__(self, scheduler: str | None, stack: int | None, number: int) -> None:
        self.scheduler, self.stack, self.number = scheduler, stack, number


def _rhythm(case: Case, most: int = 8) -> Mapping[int, Sequence[_Call]]:
    """For each optimizer with a scheduler, the first steps of both, in order."""
    plans: dict[int, list[tuple[int, str | None, int | None]]] = {}
    found: dict[int, list[_Call]] = defaultdict(list)
    for row in case.rows:
        step = case.like(row.number)
        if step is None:
            continue
        if row.template not in plans:
            plans[row.template] = [call for moment in step.moments if (call := _call(moment)) is not None]
        for optimizer, scheduler, stack in plans[row.template]:
            if len(found[optimizer]) < most:
                found[optimizer].append(_Call(scheduler, stack, row.number))
    return {one: calls for one, calls in found.items() if any(call.scheduler for call in calls)}


def _call(moment: object) -> tuple[int, str | None, int | None] | None:
    if isinstance(moment, SchedulerStep) and moment.optimizer is not None:
        return moment.optimizer, moment.name, moment.stack
    if isinstance(moment, OptimizerStep):
        return moment.optimizer, None, moment.stack
    if isinstance(moment, ScalerCall) and moment.call == "step" and moment.optimizer is not None:
        return moment.optimizer, None, moment.stack  # its optimizer's step may have been skipped
    return None


def _skips_a_rate(case: Case, optimizer: int, first: _Call, update: _Call) -> Finding:
    call, step = call_at(case, first.stack, "scheduler.step()"), call_at(case, update.stack, "optimizer.step()")
    rates = case.by_number[update.number].learning_rates
    used = next((rate for one, group, rate in rates if (one, group) == (optimizer, 0)), None)
    initial = dict(case.optimizers[optimizer].settings).get("lr") if optimizer in case.optimizers else None
    proof = ""
    if used is not None and initial is not None and float(initial) != used:
        proof = f" The optimizer was built with lr={initial}, and its first update already has {number(used)}."
    return SCHEDULER_FIRST.finding(
        f"{call} runs before {step} has run once: the schedule's first learning rate is never used",
        culprit=case.meeting(first.stack, update.stack),
        step=first.number,
        confidence=SURE,
        related=case.places((update.stack, "the first update comes after it")),
        explanation=f"A scheduler's step sets the rate for the updates that follow, so the rate it begins with is for "
        f"the updates before its first step. Here there are none, and the whole schedule is one step early.{proof}",
        fix=f"call {call} after {step}",
        fixes=case.fixes(
            Way(
                "step the schedule after the update",
                "its first rate is used",
                case.meeting(first.stack, update.stack),
                moved(case.meeting(update.stack, first.stack), before=False),
            )
        ),
    )


# -- GS508 -----------------------------------------------------------------------------------------

_ADDS_UP = op_kinds.SHIFTS | op_kinds.SUMS | op_kinds.RESHAPES | op_kinds.CASTS


@check(NOT_AVERAGED)
def not_averaged(case: Case) -> Iterator[Finding]:
    """Updates with the sum of what several backwards of one line gave, each of a mean that nothing divides."""
    told: set[int | None] = set()
    for use in GradLifetimes.of(case).updates:
        filled = [slot for slot in use.slots.values() if slot.fills > 1]
        if not filled or use.optimizer is None or any(slot.rescaled or slot.stale for slot in filled):
            continue
        backwards = [event.position for event in case.events(Backward, use.step) if event.position < use.position]
        moments = [use.step.moments[position] for position in backwards]
        stacks = {moment.stack for moment in moments}
        if len(moments) != max(slot.fills for slot in filled) or len(stacks) != 1 or stacks & told:
            continue
        told |= stacks
        severity = _micro_batches(case, use, backwards)
        if severity is not None:
            yield _summed(case, use, len(backwards), moments[0].stack, severity)


def _micro_batches(case: Case, use: Use, backwards: Sequence[int]) -> Severity | None:
    """How sure it is that these backwards are of micro-batches whose mean losses are summed; None: they are not."""
    step = use.step
    reached = []
    for position in backwards:
        backward = step.moments[position]
        assert isinstance(backward, Backward)
        if backward.call != "backward" or backward.retain_graph or backward.create_graph or len(backward.roots) != 1:
            return None
        if not _plain_mean(case, step, backward.roots[0]):
            return None
        reached.append(_filled_by(step, position))
    if len(set(reached)) > 1:
        return None
    if _deeper(case, use.stack, step.moments[backwards[0]].stack) or _sliced(step, backwards):
        return Severity.WARNING
    return Severity.NOTE


def _filled_by(step: Step, backward: int) -> frozenset[int]:
    found: set[int] = set()
    for moment in step.moments[backward + 1 :]:
        if isinstance(moment, (Backward, OptimizerStep)):
            break
        if isinstance(moment, GradChange) and moment.change in FILLS:
            found.update(moment.tensors)
    return frozenset(found)


def _plain_mean(case: Case, step: Step, root: int) -> bool:
    """Whether `root` is the mean over a batch, or a sum with such a mean that nothing scales."""
    scalers = {event.moment.stack for event in case.events(ScalerCall, step) if event.moment.call == "scale"}

    def averages(call: OpCall) -> bool:
        return call.name in op_kinds.AVERAGES or arguments(call).named.get("reduction") == "mean"

    def terms(tensor: int) -> Sequence[int]:
        call = made_with_grad(tensor)
        scales = call is not None and call.name in op_kinds.SCALES and call.stack not in scalers
        if call is None or scales or averages(call):
            return ()
        return call.inputs if call.name in _ADDS_UP or call.stack in scalers else ()

    def made_with_grad(tensor: int) -> OpCall | None:
        one = step.tensors[tensor]
        return step.maker(tensor) if one.requires_grad and math.prod(one.shape) == 1 else None

    calls = (made_with_grad(term) for term in reached([root], terms))
    means = (call for call in calls if call is not None and averages(call))
    return any(math.prod(step.tensors[one].shape) > 1 for call in means for one in call.inputs)


def _deeper(case: Case, update: int | None, backward: int | None) -> bool:
    """Whether the update stands further in than the backward, in the same function: it is made now and then."""
    sites, others = case.sites(update), case.sites(backward)
    if not sites or not others:
        return False
    here = -1 - shared_frames(sites, others)  # the innermost function that both run in
    return sites[here].line > others[here].line and sites[here].column > others[here].column


def _sliced(step: Step, backwards: Sequence[int]) -> bool:
    """Whether each backward's forward starts from another slice of the same tensor."""
    slices: dict[int, set[int]] = defaultdict(set)
    begin = 0
    for round_, position in enumerate(backwards):
        for moment in step.moments[begin:position]:
            if isinstance(moment, OpCall) and moment.module is not None:
                for one in moment.inputs:
                    tensor = step.tensors[one]
                    if tensor.is_view and not tensor.requires_grad:
                        slices[tensor.storage].add(round_)
        begin = position
    return any(len(rounds) == len(backwards) for rounds in slices.values())


def _summed(case: Case, use: Use, count: int, backward: int | None, severity: Severity) -> Finding:
    call, update = call_at(case, backward, "backward()"), call_at(case, use.stack, "the update")
    return NOT_AVERAGED.finding(
        f"{call} adds up the mean losses of {count} micro-batches: the gradient is {count} times that of their mean",
        culprit=case.place(backward),
        step=use.number,
        confidence=LIKELY,
        severity=severity,
        related=case.places((use.stack, f"uses the sum of {count} backwards")),
        explanation=f"Each loss is already the mean over its own micro-batch. {update} follows the sum of {count} of "
        f"them, which acts like a learning rate {count} times as large as one batch of that size would have.",
        fix=f"divide the loss by the number of micro-batches ({count}) before {call}",
        fixes=case.fixes(
            Way(
                f"divide each loss by {count}",
                "the update follows the mean of the micro-batches",
                case.place(backward),
                divided(("backward",), count),
            )
        ),
    )


# -- GS509 -----------------------------------------------------------------------------------------


@check(RECREATED)
def recreated(case: Case) -> Iterator[Finding]:
    """Optimizers with a state that one line builds for the same parameters again and again."""
    slots = GradLifetimes.of(case)
    built: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for which, optimizer in case.optimizers.items():
        if optimizer.stack is not None and optimizer.state:
            built[optimizer.stack, optimizer.type, optimizer.groups].append(which)
    for (stack, *_), numbers in built.items():
        uses = [slots.of_optimizer(which) for which in numbers]
        if len(numbers) < 3 or not all(uses):
            continue
        members = set(uses[0][0].slots)
        if _written_between(case, members, uses):
            continue
        updates = sum(use.times for each in uses for use in each)
        yield _forgets(case, numbers, uses, updates, stack if isinstance(stack, int) else None)


def _forgets(
    case: Case, numbers: Sequence[int], uses: Sequence[Sequence[Use]], updates: int, stack: int | None
) -> Finding:
    each_time = updates < 2 * len(numbers)
    optimizer = case.optimizers[numbers[0]]
    name, state = optimizer_name(case, numbers[0]), ", ".join(optimizer.state)
    update = uses[0][0].stack
    every = "for every update" if each_time else f"every {plural(round(updates / len(numbers)), 'update')}"
    return RECREATED.finding(
        f"{name} is built anew {every}: {len(numbers)} times for {plural(updates, 'update')} of the same parameters",
        culprit=case.meeting(stack, update),
        step=uses[0][0].number,
        confidence=SURE if each_time else LIKELY,
        severity=Severity.ERROR if each_time else Severity.WARNING,
        related=case.places((update, "uses an optimizer without a past")),
        explanation=f"{optimizer.type} remembers {state} of each parameter from update to update. A new one starts "
        "without them, so what it should average over many updates is thrown away each time.",
        fix=f"build {name} once, before the loop",
        fixes=case.fixes(
            Way(
                f"build {name} before the loop",
                "it remembers from update to update",
                case.meeting(stack, update),
                before_its_loop(),
            )
        ),
    )


def _written_between(case: Case, members: set[int], uses: Sequence[Sequence[Use]]) -> bool:
    """Whether something else than updates wrote to the parameters meanwhile, such as loading other weights."""
    first, last = uses[0][0].number, uses[-1][-1].number
    for event in case.events(Mutation):
        if any(first <= row.number <= last for row in case.repeats(event.step)):
            sharing = event.step.lasting.get(event.step.tensors[event.moment.tensor].storage, ())
            if any(one.parameter in members for one in sharing):
                return True
    return False


CHECKS = (scheduler_first, not_averaged, recreated)
