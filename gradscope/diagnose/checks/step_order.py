"""The order of a training step: zero_grad, backward, step. What each update finds in the gradients tells."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward, GradChange, ZeroGrad
from ...model.records import Stats
from ...model.trace import Step
from ...repair.changes.statements import inserted, moved
from ...repair.ways import Way
from ...text import number, plural
from ..evidence.grad_lifetimes import CLEARS, FILLS, GradLifetimes, Slot, Use, Waste, backward_reach
from ..evidence.index import Case, once_a_case
from ..evidence.players import players
from ..evidence.statistics import Statistics
from ..evidence.wording import call_at, optimizer_name, parameter_names
from ..rules import LIKELY, SURE, Rule, check

MISSING_ZERO_GRAD = Rule(
    "GS501", "missing-zero-grad", Severity.ERROR, "A backward adds to gradients that an update has already used."
)
ZERO_GRAD_BEFORE_STEP = Rule(
    "GS502",
    "zero-grad-before-step",
    Severity.ERROR,
    "Gradients are cleared after the backward and before the update that needs them.",
)
STEP_BEFORE_BACKWARD = Rule(
    "GS503", "step-before-backward", Severity.ERROR, "The optimizer steps before the backward has given it gradients."
)
NEVER_STEPS = Rule(
    "GS510", "optimizer-never-steps", Severity.WARNING, "An optimizer's parameters get gradients, but it never steps."
)


# -- GS501 -----------------------------------------------------------------------------------------


class _Sizes(NamedTuple):
    """A gradient to which a backward added: its norm, the norm of what the backward gave, and what was left."""

    parameter: int
    whole: float
    own: float
    left: float


@check(MISSING_ZERO_GRAD)
def missing_zero_grad(case: Case) -> Iterator[Finding]:
    """Updates that read a gradient which an earlier update had read before the backward added to it."""
    told: set[tuple[int | None, int | None]] = set()
    for use in GradLifetimes.of(case).updates:
        stale = {one: slot for one, slot in use.slots.items() if slot.stale is not None}
        backward = next((slot.filled for slot in stale.values()), None)
        if not stale or (backward, use.optimizer) in told:
            continue
        sizes = _sizes(case, use, stale)
        if sizes is not None and sizes.left <= 1e-6 * sizes.own:
            continue  # what was in it was zero: it was cleared where nothing was recorded
        told.add((backward, use.optimizer))
        yield _not_cleared(case, use, stale, backward, sizes)


def _not_cleared(
    case: Case, use: Use, stale: Mapping[int, Slot], backward: int | None, sizes: _Sizes | None
) -> Finding:
    call, update = call_at(case, backward, "backward()"), call_at(case, use.stack, "the update")
    wrong = _wrong_zero_grad(case, use)
    clear = "zero_grad()" if use.optimizer is None else f"{optimizer_name(case, use.optimizer)}.zero_grad()"
    proof = ""
    if sizes is not None:
        name = parameter_names(case, [sizes.parameter])
        proof = f" Here {name}.grad has norm {number(sizes.whole)}; this batch alone gives {number(sizes.own)}."
    instead = f" {call_at(case, wrong, 'The clearing')} clears other parameters." if wrong is not None else ""
    return MISSING_ZERO_GRAD.finding(
        f"{call} adds to gradients that {update} has already used: nothing clears them in between",
        culprit=case.place(backward if wrong is None else wrong),
        step=use.number,
        confidence=SURE,
        related=case.places(
            *([(backward, "adds to the old gradients")] if wrong is not None else []), (use.stack, "uses the sum")
        ),
        explanation=f"A backward adds to what is in .grad. {parameter_names(case, stale)} still held the gradients of "
        f"the last update, so each update follows the sum of all batches so far.{proof}{instead}",
        fix=f"call {clear} before {call}",
        fixes=case.fixes(
            Way(
                f"call {clear} first",
                "each update follows its own batch",
                case.meeting(backward, use.stack),
                inserted(clear, before=True),
            )
        )
        if use.optimizer is not None
        else (),
    )


def _sizes(case: Case, use: Use, stale: Mapping[int, Slot]) -> _Sizes | None:
    """The sizes of the gradient in which most was left, where the statistics of a single backward tell."""
    step, values = use.step, Statistics(case, use.step)
    arrived: dict[int, list[Stats]] = defaultdict(list)
    whole: dict[int, Stats] = {}
    for run in values.runs:
        one = step.tensors[run.node.tensor].parameter if run.node.tensor is not None else None
        if run.moment < use.position and one is not None and one in stale and 0 in run.incoming:
            arrived[one].append(run.incoming[0])
    for event in case.events(GradChange, step):
        if event.position < use.position and event.moment.change == "accumulated":
            whole.update(values.parameters(event.position, "grad"))
    sizes = [_size_of(one, whole[one], own[0]) for one, own in arrived.items() if len(own) == 1 and one in whole]
    return max(sizes, key=lambda each: each.left, default=None)


def _size_of(parameter: int, whole: Stats, own: Stats) -> _Sizes:
    left = max(abs(whole.norm - own.norm), abs(whole.sum - own.sum))
    return _Sizes(parameter, whole.norm, own.norm, left)


def _wrong_zero_grad(case: Case, use: Use) -> int | None:
    """The stack of a zero_grad of another owner that has nothing to clear, or clears what is cleared again."""
    events = list(case.events(ZeroGrad, use.step))
    if use.optimizer is None or any(event.moment.optimizer == use.optimizer for event in events):
        return None
    owners = Counter((event.moment.owner, event.moment.optimizer) for event in events)
    before = [event for event in events if event.position < use.position]
    for event in reversed(before):
        after = use.step.moments[event.position + 1] if event.position + 1 < len(use.step.moments) else None
        idle = not isinstance(after, GradChange) or after.change not in CLEARS
        if idle or owners[event.moment.owner, event.moment.optimizer] > 1:
            return event.moment.stack
    return None


# -- GS502, GS503 ----------------------------------------------------------------------------------


@check(ZERO_GRAD_BEFORE_STEP, STEP_BEFORE_BACKWARD)
def cleared_before_use(case: Case) -> Iterator[Finding]:
    """Updates that find nothing, because what a backward gave was cleared before them."""
    told: set[tuple[int | None, int | None]] = set()
    for use in GradLifetimes.of(case).updates:
        lost = {one: slot for one, slot in use.slots.items() if slot.lost is not None}
        if not lost or not all(slot.empty for slot in use.slots.values()):
            continue
        slot = next(iter(lost.values()))
        if (use.stack, slot.cleared) in told:
            continue
        told.add((use.stack, slot.cleared))
        later = None if slot.here else _later_backward(use)
        if later is None:
            yield _cleared_too_early(case, use, slot, lost)
        else:
            yield _stepped_too_early(case, use, later, lost)


def _later_backward(use: Use) -> int | None:
    """The stack of a backward after this update, in the same step, that gives its parameters gradients."""
    step = use.step
    for index in range(use.position + 1, len(step.moments)):
        moment = step.moments[index]
        if not isinstance(moment, GradChange) or moment.change not in FILLS:
            continue
        if any(step.tensors[tensor].parameter in use.slots for tensor in moment.tensors):
            return moment.stack
    return None


def _cleared_too_early(case: Case, use: Use, slot: Slot, lost: Iterable[int]) -> Finding:
    clear, update = call_at(case, slot.cleared, "zero_grad()"), call_at(case, use.stack, "the update")
    call = call_at(case, slot.lost, "backward()")
    return ZERO_GRAD_BEFORE_STEP.finding(
        f"{clear} clears the gradients between {call} and {update}: the update finds none",
        culprit=case.place(slot.cleared),
        step=use.number,
        confidence=SURE,
        related=case.places((slot.lost, "makes the gradients"), (use.stack, "finds no gradients")),
        explanation=f"{call} fills .grad of {parameter_names(case, lost)}, {clear} throws that away, and {update} "
        "then has nothing to follow: the parameters do not learn from this loss.",
        fix=f"move {clear} in front of {call}",
        fixes=case.fixes(
            Way(
                "clear before the backward",
                "the update finds what the backward gave",
                case.meeting(slot.cleared, slot.lost),
                moved(case.meeting(slot.lost, slot.cleared), before=True),
            )
        ),
    )


def _stepped_too_early(case: Case, use: Use, later: int, lost: Iterable[int]) -> Finding:
    update, call = call_at(case, use.stack, "the update"), call_at(case, later, "backward()")
    return STEP_BEFORE_BACKWARD.finding(
        f"{update} runs before {call}: at that point there are no gradients, so nothing is learned",
        culprit=case.place(use.stack),
        step=use.number,
        confidence=SURE,
        related=case.places((later, "makes the gradients, too late")),
        explanation=f"The gradients of {parameter_names(case, lost)} come from {call}. The update before it finds them "
        "empty, and they are cleared before the next one.",
        fix=f"move {update} behind {call}",
        fixes=case.fixes(
            Way(
                "update after the backward",
                "the update finds what the backward gave",
                case.meeting(use.stack, later),
                moved(case.meeting(later, use.stack), before=False),
            )
        ),
    )


@check(ZERO_GRAD_BEFORE_STEP)
def cleared_between_backwards(case: Case) -> Iterator[Finding]:
    """Each update sees some backwards only: as many or more were cleared before it, and nothing had read them."""
    slots = GradLifetimes.of(case)
    wasted = {(waste.lost, waste.step.moments[waste.position].stack) for waste in slots.wastes}
    for optimizer in case.optimizers:
        uses = [use for use in slots.of_optimizer(optimizer) if not all(slot.empty for slot in use.slots.values())]
        times = sum(use.times for use in uses)
        hit = [use for use in uses if _outnumbered(case, use)]
        if times < 2 or sum(use.times for use in hit) < times - 1 or not hit:
            continue
        use = hit[0]
        members = _outnumbered(case, use)
        slot = next(iter(members.values()))
        if (slot.lost, slot.cleared) in wasted:
            yield _partly_lost(case, use, slot, members)


def _outnumbered(case: Case, use: Use) -> dict[int, Slot]:
    """The slots in which as many backwards were lost before an update as it then used."""
    found = {one: slot for one, slot in use.slots.items() if slot.losses >= slot.fills > 0}
    others = _followed_by(case)
    return {
        one: slot
        for one, slot in found.items()
        if not _evaluated_anew(case, use, slot) and others.get(slot.lost, use.optimizer) == use.optimizer
    }


@once_a_case
def _followed_by(case: Case) -> Mapping[int | None, int | None]:
    """Whose update comes right after the backwards of each stack: another optimizer's loss is not lost to this one."""
    found: dict[int | None, int | None] = {}
    for event in case.events(Backward):
        owners = players(case, event)
        if event.moment.call == "backward" and len(owners) == 1:
            found.setdefault(event.moment.stack, next(iter(owners)))
    return found


def _evaluated_anew(case: Case, use: Use, slot: Slot) -> bool:
    """Whether the update's own closure cleared what its evaluation before had given, to give the same anew."""
    update, clear = case.sites(use.stack), case.sites(slot.cleared)
    inside = 0 < len(update) < len(clear) and clear[-len(update) :] == update
    return inside and case.sites(slot.lost)[:1] == case.sites(slot.filled)[:1]


def _partly_lost(case: Case, use: Use, slot: Slot, members: Mapping[int, Slot]) -> Finding:
    clear, update = call_at(case, slot.cleared, "zero_grad()"), call_at(case, use.stack, "the update")
    lost = call_at(case, slot.lost, "backward()")
    return ZERO_GRAD_BEFORE_STEP.finding(
        f"{clear} throws away the gradients of {lost} before {update} has used them",
        culprit=case.place(slot.cleared),
        step=use.number,
        confidence=LIKELY,
        severity=Severity.WARNING,
        related=case.places((slot.lost, "makes gradients that are lost"), (use.stack, "uses only what came later")),
        explanation=f"Before each {update}, what {plural(slot.losses, 'backward')} put into .grad of "
        f"{parameter_names(case, members)} is cleared again; only the last {plural(slot.fills, 'backward')} counts.",
        fix=f"clear the gradients once for each update: right after {update}, or before the first backward",
        fixes=case.fixes(
            Way(
                "clear after each update",
                "every backward counts",
                case.meeting(slot.cleared, use.stack),
                moved(case.meeting(use.stack, slot.cleared), before=False),
            )
        ),
    )


@check(ZERO_GRAD_BEFORE_STEP)
def last_part_lost(case: Case) -> Iterator[Finding]:
    """Backwards of an accumulation that were cleared, because the update comes after a full number of them only."""
    slots = GradLifetimes.of(case)
    told: set[int | None] = set()
    for waste in slots.wastes:
        full = next((use for use in slots.updates if _rest_of(waste, use)), None)
        clear = waste.step.moments[waste.position].stack
        if full is None or clear in told:
            continue
        told.add(clear)
        yield _rest_lost(case, waste, full, clear)


def _rest_of(waste: Waste, use: Use) -> bool:
    """Whether an update uses several backwards of the line whose last few were wasted."""
    fills = max(slot.fills for slot in waste.slots.values())
    return any(
        one in use.slots and use.slots[one].sources == (waste.lost,) and 1 < use.slots[one].fills > fills
        for one in waste.slots
    )


def _rest_lost(case: Case, waste: Waste, full: Use, clear: int | None) -> Finding:
    rest = max(slot.fills for slot in waste.slots.values())
    whole = max(slot.fills for slot in full.slots.values())
    cleared, update = call_at(case, clear, "zero_grad()"), call_at(case, full.stack, "the update")
    backward = call_at(case, waste.lost, "backward()")
    return ZERO_GRAD_BEFORE_STEP.finding(
        f"{cleared} throws away {plural(rest, 'backward')} that {update} never used: it comes after every {whole}",
        culprit=case.place(clear),
        step=waste.number,
        confidence=LIKELY,
        severity=Severity.WARNING,
        related=case.places((full.stack, f"uses {whole} backwards at once"), (waste.lost, "makes the gradients")),
        explanation=f"{update} waits for {whole} calls of {backward}. The batches that were left over at the end, "
        f"{rest} here, gave gradients to {parameter_names(case, waste.slots)}, and these are cleared unused.",
        fix=f"call {update} after the last batch, too, whatever its number",
    )


# -- GS510 -----------------------------------------------------------------------------------------


@check(NEVER_STEPS)
def never_steps(case: Case) -> Iterator[Finding]:
    """Optimizers whose gradients are made and cleared again and again, without an update."""
    slots = GradLifetimes.of(case)
    updated = {one for use in slots.updates for one in use.slots}
    for which, optimizer in case.optimizers.items():
        members = set(case.members[which])
        if not members or members & updated or any(use.optimizer == which for use in slots.updates):
            continue
        fills = _fills(case, members)
        rounds = sum(len(case.repeats(step)) for step, _ in fills)
        clears = sum(
            len(case.repeats(event.step)) for event in case.events(ZeroGrad) if event.moment.optimizer == which
        )
        others = sum(use.times for use in slots.updates if use.optimizer is not None)
        if rounds < 2 or max(clears, others) < 2:
            continue
        name = optimizer_name(case, which)
        again = _idle(case, slots)
        backward = _own_backward(case, fills, members)
        yield NEVER_STEPS.finding(
            f"{name} never steps: {plural(rounds, 'backward')} gave its parameters gradients that no update used",
            culprit=again or case.place(backward),
            step=fills[0][0].number,
            confidence=LIKELY,
            related=case.places((backward, "makes the gradients"), (optimizer.stack, "the optimizer is built here")),
            explanation=f"{parameter_names(case, members)} get gradients, and {name} clears them, but its step() is "
            "never called: the parameters keep their first values.",
            fix=f"call {name}.step() after {call_at(case, backward, 'the backward')}",
            fixes=case.fixes(
                Way(
                    f"let {name} step after its own backward",
                    "its parameters follow their gradients",
                    case.place(fills[0][1]),
                    inserted(f"{name}.step()", before=False),
                )
            ),
        )


def _fills(case: Case, members: set[int]) -> list[tuple[Step, int | None]]:
    """The distinct backwards that gave some of these parameters a gradient: step and stack."""
    return [
        (event.step, event.moment.stack)
        for event in case.events(GradChange)
        if event.moment.change in FILLS and members & set(event.step.parameters_of(event.moment.tensors))
    ]


def _own_backward(case: Case, fills: Sequence[tuple[Step, int | None]], members: set[int]) -> int | None:
    """Of the backwards that fill these parameters, the last of those that fill the fewest others: it is for them."""
    reach = backward_reach(case)
    return min(reversed(fills), key=lambda fill: len(reach.get(fill[1], frozenset()) - members))[1]


def _idle(case: Case, slots: GradLifetimes) -> Place | None:
    """An update that again and again reads only what another update has read: perhaps the wrong optimizer's."""
    for use in slots.updates:
        filled = [slot for slot in use.slots.values() if not slot.empty]
        if use.optimizer is not None and filled and all(slot.used is not None for slot in filled):
            return case.place(use.stack)
    return None


CHECKS = (missing_zero_grad, cleared_before_use, cleared_between_backwards, last_part_lost, never_steps)
