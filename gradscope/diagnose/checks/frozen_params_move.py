"""Parameters that move although they are frozen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from ...model.findings import Finding, Place, Severity
from ...model.moments import GradChange, OptimizerStep
from ...model.trace import Step
from ...repair.changes.calls import without_keyword
from ...repair.changes.elsewhere import at_call
from ...repair.changes.leaves import gradient_dropped
from ...repair.ways import Way
from ...text import number
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import GradLifetimes
from ..evidence.index import Case, Event
from ..evidence.parameters import Fact, Ownership, When
from ..evidence.statistics import Statistics, same_values
from ..evidence.wording import call_at, optimizer_name, parameter_name, parameter_names
from ..rules import SURE, Rule, check

FROZEN_MOVES = Rule(
    "GS605", "frozen-still-moving", Severity.ERROR, "A parameter was frozen, but its optimizer goes on changing it."
)
# -- GS605 -----------------------------------------------------------------------------------------


class _Moved(NamedTuple):
    """A frozen parameter that an update changed: where it was frozen, and its norm before and after."""

    parameter: int
    frozen: Fact | None
    before: float
    after: float


@check(FROZEN_MOVES)
def frozen_still_moving(case: Case) -> Iterator[Finding]:
    """Updates that changed the value of a parameter that wants no gradient."""
    told: set[int | None] = set()
    for event in case.events(OptimizerStep):
        moved = _moved(case, event)
        by_line: dict[int | None, list[_Moved]] = defaultdict(list)
        for one in moved:
            by_line[one.frozen.stack if one.frozen is not None else event.moment.stack].append(one)
        for stack, together in by_line.items():
            if stack not in told:
                told.add(stack)
                yield _still_moving(case, event, together, stack)


def _moved(case: Case, event: Event[OptimizerStep]) -> list[_Moved]:
    step, position = event.step, event.position
    if step.row.light:
        return []  # a light step has the facts of its tensors as they were when it ended
    flow = Dataflow.of(case, step)
    frozen = {
        step.tensors[tensor].parameter for tensor in event.moment.updated if not flow.needs_grad(tensor, position)
    }
    if not frozen:
        return []
    values, owners = Statistics(case, step), Ownership.of(case)
    before, after = values.parameters(position - 1, "value"), values.parameters(position, "value")
    now = When(step.number, position)
    found = []
    for one in frozen:
        if one is None:
            continue
        if one in before and one in after:
            sizes = None if same_values(before[one], after[one]) else (before[one].norm, after[one].norm)
        else:
            sizes = _norms(case, step, one)
        if sizes is None:
            continue
        switches = [fact for fact in owners.wanted.get(one, ()) if fact.when < now]
        last = switches[-1] if switches and switches[-1].what == "False" else None
        found.append(_Moved(one, last, *sizes))
    return found


def _norms(case: Case, step: Step, parameter: int) -> tuple[float, float] | None:
    """The norms before this step's update and the next's, where no more was recorded; None if they are equal."""
    following = case.by_number.get(step.number + 1)
    norms = [
        next((norm for one, norm, _ in row.norms if one == parameter), None) if row is not None else None
        for row in (step.row, following)
    ]
    before, after = norms
    return (before, after) if before is not None and after is not None and before != after else None


def _still_moving(case: Case, event: Event[OptimizerStep], moved: list[_Moved], stack: int | None) -> Finding:
    first = moved[0]
    which = event.moment.optimizer
    optimizer, name = case.optimizers.get(which), parameter_name(case, first.parameter)
    names = parameter_names(case, (one.parameter for one in moved))
    update = call_at(case, event.moment.stack, "step()")
    uses = (use for use in GradLifetimes.of(case).of_optimizer(which) if use.step is event.step)
    old = next((use.slots[first.parameter] for use in uses), None)
    if old is not None and not old.empty:
        reason = "its .grad still holds the last gradient from before, and the update follows that one again and again"
    else:
        memory = ", ".join(optimizer.state) if optimizer is not None and optimizer.state else "weight decay"
        reason = f"its .grad is still there, as zeros, so the optimizer goes on with what it remembers ({memory})"
    clears = [e.moment.stack for e in case.events(GradChange, event.step) if e.moment.change == "zeroed"]
    return FROZEN_MOVES.finding(
        f"{names}: frozen, but {update} goes on changing {'it' if len(moved) == 1 else 'them'}",
        culprit=_freezing(case, stack, which),
        step=event.step.number,
        confidence=SURE,
        related=case.places(
            (stack, "frozen here"),
            (event.moment.stack, "changes it"),
            *((clear, "sets .grad to zeros, not to None") for clear in clears[:1]),
        ),
        explanation="requires_grad_(False) stops new gradients only. Optimizers skip parameters whose .grad is None: "
        f"here {reason}. {name} had norm {number(first.before, 6)} before this update and "
        f"{number(first.after, 6)} after it.",
        fix=f"also set .grad = None for the frozen parameters, or build {optimizer_name(case, which)} without them",
        fixes=case.fixes(
            *(
                Way("drop the old gradient, too", "the optimizer leaves it alone", case.place(stack), change)
                for change in (gradient_dropped(module=_by_module(case, stack)), gradient_dropped(module=False))
            ),
            Way(
                "let zero_grad() drop them",
                "what is frozen has no gradient once the next update clears them",
                case.place(stack),
                at_call(("zero_grad",), _dropping),
            ),
        ),
    )


_dropping = without_keyword("set_to_none")


def _by_module(case: Case, stack: int | None) -> bool:
    """Whether the line freezes several parameters in one go, as a module does."""
    facts = [fact.when for facts in Ownership.of(case).wanted.values() for fact in facts if fact.stack == stack]
    return any((when.step, when.moment + 1) == (other.step, other.moment) for when in facts for other in facts)


def _freezing(case: Case, stack: int | None, optimizer: int) -> Place | None:
    """The line that freezes. One that also unfreezes is a switch: then who calls it, where the optimizer is at hand."""
    owners, line = Ownership.of(case), case.sites(stack)[:1]
    switched = {fact.what for facts in owners.wanted.values() for fact in facts if case.sites(fact.stack)[:1] == line}
    return owners.beside(stack, optimizer) if "True" in switched else case.place(stack)


CHECKS = (frozen_still_moving,)
