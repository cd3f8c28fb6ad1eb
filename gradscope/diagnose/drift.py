"""Parameters that move although they are frozen, and copies that were meant to be one parameter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from ..model.findings import Finding, Severity
from ..model.records import GradChange, LeafChange, OpCall, OptimizerStep, Registration, Stats
from ..model.trace import Step
from ..text import number
from .case import Case, Event
from .check import LIKELY, SURE, Rule, check
from .owners import Fact, Owners, When
from .slots import Slots
from .wording import call_at, optimizer_name, parameter_name, parameter_names

FROZEN_MOVES = Rule(
    "GS605",
    "frozen-still-moving",
    Severity.ERROR,
    "A parameter was frozen, but its optimizer goes on changing it.",
)
TIE_COPIED = Rule(
    "GS606",
    "tied-weights-copied",
    Severity.WARNING,
    "A parameter was made from a copy of another one: they start equal and drift apart.",
)

# -- GS605 -----------------------------------------------------------------------------------------


class _Moved(NamedTuple):
    """A frozen parameter that an update changed: where it was frozen, and its statistics before and after."""

    parameter: int
    frozen: Fact | None
    before: Stats
    after: Stats


@check(FROZEN_MOVES)
def frozen_still_moving(case: Case) -> Iterator[Finding]:
    """Updates that changed the value of a parameter that wants no gradient."""
    told: set[int | None] = set()
    for event in case.events(OptimizerStep):
        moved = _moved(case, event)
        for frozen in dict.fromkeys(one.frozen for one in moved):
            together = [one for one in moved if one.frozen == frozen]
            stack = frozen.stack if frozen is not None else event.moment.stack
            if stack not in told:
                told.add(stack)
                yield _still_moving(case, event, together, stack)


def _moved(case: Case, event: Event[OptimizerStep]) -> list[_Moved]:
    step, position = event.step, event.position
    frozen = {
        step.tensors[tensor].parameter for tensor in event.moment.updated if not step.tensors[tensor].requires_grad
    }
    if not frozen:
        return []
    samples, owners = case.samples(step), Owners.of(case)
    before = {s.subject: s.stats for s in samples.get((position - 1, "value"), ()) if s.of_parameter and s.stats}
    after = {s.subject: s.stats for s in samples.get((position, "value"), ()) if s.of_parameter and s.stats}
    now = When(step.number, position)
    found = []
    for one in frozen:
        if one is None or one not in before or one not in after or _same(before[one], after[one]):
            continue
        switches = [fact for fact in owners.wanted.get(one, ()) if fact.when < now]
        last = switches[-1] if switches and switches[-1].what == "False" else None
        found.append(_Moved(one, last, before[one], after[one]))
    return found


def _same(one: Stats, other: Stats) -> bool:
    return (one.norm, one.sum, one.min, one.max) == (other.norm, other.sum, other.min, other.max)


def _still_moving(case: Case, event: Event[OptimizerStep], moved: list[_Moved], stack: int | None) -> Finding:
    first = moved[0]
    which = event.moment.optimizer
    optimizer, name = case.optimizers.get(which), parameter_name(case, first.parameter)
    names = parameter_names(case, (one.parameter for one in moved))
    update = call_at(case, event.moment.stack, "step()")
    old = next((u.slots[first.parameter] for u in Slots.of(case).of_optimizer(which) if u.step is event.step), None)
    if old is not None and not old.empty:
        reason = "its .grad still holds the last gradient from before, and the update follows that one again and again"
    else:
        memory = ", ".join(optimizer.state) if optimizer is not None and optimizer.state else "weight decay"
        reason = f"its .grad is still there, as zeros, so the optimizer goes on with what it remembers ({memory})"
    clears = [e.moment.stack for e in case.events(GradChange, event.step) if e.moment.change == "zeroed"]
    return FROZEN_MOVES.finding(
        f"{names}: frozen, but {update} goes on changing {'it' if len(moved) == 1 else 'them'}",
        culprit=case.place(stack),
        step=event.step.number,
        confidence=SURE,
        related=case.places(
            (event.moment.stack, "changes it"), *((clear, "sets .grad to zeros, not to None") for clear in clears[:1])
        ),
        explanation="requires_grad_(False) stops new gradients only. Optimizers skip parameters whose .grad is None: "
        f"here {reason}. {name} had norm {number(first.before.norm, 6)} before this update and "
        f"{number(first.after.norm, 6)} after it.",
        fix=f"also set .grad = None for the frozen parameters, or build {optimizer_name(case, which)} without them",
    )


# -- GS606 -----------------------------------------------------------------------------------------

_COPIES = frozenset({"clone", "detach", "data", "contiguous", "t", "T", "mT", "transpose", "permute", "to", "numpy"})


class _Copy(NamedTuple):
    """A parameter made from the value of another; `copied`: the call that copied it, None for the same memory."""

    parameter: int
    source: int
    stack: int | None
    step: Step
    copied: OpCall | None


@check(TIE_COPIED)
def tie_copied(case: Case) -> Iterator[Finding]:
    """Parameters that the script made from a copy of another parameter of the same model, both trained."""
    slots = Slots.of(case)
    trained = {one for use in slots.updates for one, slot in use.slots.items() if not slot.empty}
    copies = [copy for copy in _copies(case) if {copy.parameter, copy.source} <= trained]
    times = Counter(copy.source for copy in copies)
    for copy in copies:
        mine, other = case.parameters[copy.parameter], case.parameters[copy.source]
        if mine.root and mine.root == other.root and times[copy.source] == 1:
            yield _copied(case, copy)


def _copies(case: Case) -> Iterator[_Copy]:
    assigned = {
        (event.step.tensors[tensor].parameter, event.moment.stack)
        for event in case.events(Registration)
        for tensor in event.moment.tensors
    }
    lines = {(one, _line(case, stack)) for one, stack in assigned}
    for step, _, moment in case.events(LeafChange):
        one = step.tensors[moment.tensor].parameter
        if moment.cause != "Parameter" or moment.source is None or one is None:
            continue
        origin, copied = _origin(step, moment.source)
        by_hand = copied is None or copied.stack != moment.stack or (one, _line(case, moment.stack)) in lines
        if origin is not None and origin != one and by_hand:
            yield _Copy(one, origin, moment.stack, step, copied)


def _line(case: Case, stack: int | None) -> tuple[str, int] | None:
    sites = case.sites(stack)
    return (sites[0].file, sites[0].line) if sites else None


def _origin(step: Step, tensor: int) -> tuple[int | None, OpCall | None]:
    """The parameter whose value a tensor has, and the call that copied it."""
    copied = None
    for _ in range(8):
        record = step.tensors[tensor]
        if record.parameter is not None:
            return record.parameter, copied
        call = step.moments[record.made_by] if record.made_by is not None else None
        if not isinstance(call, OpCall) or call.name not in _COPIES or len(call.inputs) != 1:
            return None, None
        copied = call if call.name == "clone" else copied
        tensor = call.inputs[0]
    return None, None


def _copied(case: Case, copy: _Copy) -> Finding:
    mine, other = parameter_name(case, copy.parameter), parameter_name(case, copy.source)
    how = "a copy of" if copy.copied is not None else "another parameter on the memory of"
    if copy.copied is not None:
        why = "They start with equal values, but each gets its own gradient and its own updates, so they drift apart."
    else:
        why = "They share memory, but each has its own .grad and state: every update writes the same values twice."
    return TIE_COPIED.finding(
        f"{mine} is {how} {other}, not the same parameter: the two are trained apart",
        culprit=case.place(copy.stack),
        step=copy.step.number,
        confidence=LIKELY,
        related=case.places((Owners.of(case).stack_of(copy.source), f"{other} is made here")),
        explanation=f"nn.Parameter makes a new parameter. {why} Tied weights must be one and the same object.",
        fix=f"assign the parameter itself instead of nn.Parameter(…): {mine} = {other}",
    )


CHECKS = (frozen_still_moving, tie_copied)
