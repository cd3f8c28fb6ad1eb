"""What an update finds in the gradients: those of another player's loss as well, or none that any loss gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, OptimizerStep
from ...model.trace import Step
from ...repair.changes.modules import done_first
from ...repair.changes.statements import inserted
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import FILLS, GradLifetimes, Use, backward_reach
from ..evidence.index import Case, Event, at, once_a_case
from ..evidence.parameters import Ownership
from ..evidence.wording import call_at, is_code, optimizer_name, parameter_names
from ..rules import LIKELY, SURE, Rule, check

OTHER_LOSS = Rule(
    "GS511",
    "gradients-of-another-loss",
    Severity.WARNING,
    "An update uses the gradients that another network's loss left on its parameters.",
    frozenset({"GS412"}),
)
TRAINS_NOBODY = Rule(
    "GS512",
    "backward-trains-nobody",
    Severity.WARNING,
    "A backward gives no parameter a gradient, and an update follows.",
    frozenset({"GS601", "GS602", "GS603", "GS604"}),
)


# -- GS511 -----------------------------------------------------------------------------------------


class _Mixed(NamedTuple):
    """An update whose gradients are of its own loss and of another's that came through its parameters.

    `other`: the optimizer whose parameters only the second of them trains. `own` and `alien`: stacks of backwards.
    """

    use: Use
    other: int
    own: int | None
    alien: int | None


@check(OTHER_LOSS)
def gradients_of_another_loss(case: Case) -> Iterator[Finding]:
    """Updates with what another network's loss left on the way through theirs: a generator's, an actor's."""
    told: set[tuple[int | None, int | None]] = set()
    for use in GradLifetimes.of(case).updates:
        mixed = _mixed(case, use) if use.optimizer is not None else None
        if mixed is not None and (mixed.alien, mixed.own) not in told:
            told.add((mixed.alien, mixed.own))
            yield _another_loss(case, mixed)


def _mixed(case: Case, use: Use) -> _Mixed | None:
    sources = dict.fromkeys(source for slot in use.slots.values() for source in slot.sources if len(slot.sources) > 1)
    if len(sources) < 2:
        return None
    reach, mine = backward_reach(case), set(use.slots)
    for other, members in case.members.items():
        theirs = set(members) - mine
        if other == use.optimizer or not theirs or not GradLifetimes.of(case).of_optimizer(other):
            continue
        aliens = [source for source in sources if reach.get(source, frozenset()) & theirs]
        owns = [source for source in sources if source not in aliens]
        for alien in aliens:
            if owns and _trains_only(case, other, alien) and _passes_through(case, alien, owns[0], theirs, mine):
                return _Mixed(use, other, owns[0], alien)
    return None


def _trains_only(case: Case, optimizer: int, backward: int | None) -> bool:
    """Whether this backward alone gives the optimizer what it steps with."""
    uses = GradLifetimes.of(case).of_optimizer(optimizer)
    return all(set(slot.sources) <= {backward} for use in uses for slot in use.slots.values())


def _passes_through(case: Case, alien: int | None, own: int | None, theirs: set[int], mine: set[int]) -> bool:
    """Whether `alien` reaches `theirs` through layers of `mine` that `own` is computed with by other calls of them.

    So it is with two players. A part that two losses share is in front of both, or is run once for both.
    """
    known = _backwards(case)
    if alien not in known or own not in known:
        return False
    step, position, backward = known[alien]
    flow = Dataflow.of(case, step)
    _, ops = flow.behind(backward.roots, position)
    leaves = [tensor.number for tensor in step.tensors if tensor.parameter in theirs]
    _, after = flow.ahead(leaves, with_grad=True)
    through = {op for op in ops & after if mine.intersection(step.parameters_of(flow.ops[op].inputs))}
    before = {op for op in ops if theirs.intersection(step.parameters_of(flow.ops[op].inputs))}
    if not through or not before or min(through) < max(before):
        return False
    there, when, root = known[own]
    others = Dataflow.of(case, there)
    apart = others.behind(root.roots, when)[1]
    if there is step and apart & through:
        return False
    layers = {flow.ops[op].module for op in through}
    return any(others.ops[op].module in layers for op in apart)


@once_a_case
def _backwards(case: Case) -> Mapping[int | None, tuple[Step, int, Backward]]:
    """The last distinct backward of each stack, with its step and moment."""
    return {
        event.moment.stack: (event.step, event.position, event.moment)
        for event in case.events(Backward)
        if event.moment.call == "backward" and event.moment.error is None
    }


def _another_loss(case: Case, mixed: _Mixed) -> Finding:
    use = mixed.use
    alien, own = call_at(case, mixed.alien, "another backward"), call_at(case, mixed.own, "its own backward")
    name, other = optimizer_name(case, use.optimizer), optimizer_name(case, mixed.other)
    left = [one for one, slot in use.slots.items() if mixed.alien in slot.sources]
    return OTHER_LOSS.finding(
        f"{name} steps with gradients that {alien} left on its parameters, added to those of {own}",
        culprit=case.place(mixed.alien),
        step=use.number,
        confidence=LIKELY,
        related=case.places((mixed.own, "the loss of these parameters"), (use.stack, "uses the sum of both")),
        explanation=f"{alien} is the loss that {other} trains with. On its way it passes through "
        f"{parameter_names(case, left)} and adds to their .grad; nothing clears that before {name} steps, so they also "
        "move to please the other network.",
        fix=f"call {name}.zero_grad() between {alien} and {own}",
        fixes=case.fixes(
            Way(
                "clear them before its own backward",
                f"{name} follows its own loss alone",
                case.place(mixed.own),
                inserted(f"{name}.zero_grad()", before=True),
            )
        )
        if is_code(name)
        else (),
    )


# -- GS512 -----------------------------------------------------------------------------------------


@check(TRAINS_NOBODY)
def backward_trains_nobody(case: Case) -> Iterator[Finding]:
    """Backwards that end in no parameter, followed by an update that finds nothing to use."""
    told: set[int | None] = set()
    for use in GradLifetimes.of(case).updates:
        if use.optimizer is None or not use.slots or not all(slot.empty for slot in use.slots.values()):
            continue
        backward = _last_backward(use)
        if backward is None or backward.moment.stack in told or _fills_any(case, use.step, backward, use.position):
            continue
        flow = Dataflow.of(case, use.step)
        behind, _ = flow.behind(backward.moment.roots, backward.position)
        met = [one for one in use.step.parameters_of(sorted(behind)) if one in use.slots]
        if met:
            told.add(backward.moment.stack)
            yield _trains_nobody(case, use, backward, met)


def _last_backward(use: Use) -> Event[Backward] | None:
    """The backward before an update, if no other update lies between."""
    for position in range(use.position - 1, -1, -1):
        moment = use.step.moments[position]
        if isinstance(moment, OptimizerStep):
            return None
        if isinstance(moment, Backward) and moment.call == "backward":
            return Event(use.step, position, moment) if moment.error is None else None
    return None


def _fills_any(case: Case, step: Step, backward: Event[Backward], end: int) -> bool:
    """Whether it gave a gradient to a parameter that an optimizer has."""
    return any(
        case.is_optimized(step, tensor)
        for event in case.events(GradChange, step)
        if backward.position < event.position < end and event.moment.change in FILLS
        for tensor in event.moment.tensors
    )


def _trains_nobody(case: Case, use: Use, backward: Event[Backward], met: list[int]) -> Finding:
    call, update = call_at(case, backward.moment.stack, "backward()"), call_at(case, use.stack, "the update")
    owners = Ownership.of(case)
    frozen = [facts[-1].stack for one in met if (facts := owners.wanted.get(one)) and facts[-1].what == "False"]
    related = [(use.stack, "an update of nothing"), *[(stack, "told to want no gradient") for stack in frozen[:1]]]
    return TRAINS_NOBODY.finding(
        f"{call} gives no parameter a gradient, and {update} then finds none",
        culprit=case.place(backward.moment.stack),
        step=use.number,
        confidence=SURE,
        related=case.places(*related),
        explanation=f"{parameter_names(case, met)} went into this loss, but they want no gradient while it is "
        f"computed, so the backward ends elsewhere. {optimizer_name(case, use.optimizer)} has nothing to follow.",
        fix="let them want gradients before this loss is computed: requires_grad_(True)",
        fixes=case.fixes(*_asked_again(case, backward, met)),
    )


def _asked_again(case: Case, backward: Event[Backward], met: Sequence[int]) -> Iterator[Way]:
    """What let them want gradients elsewhere is done here as well."""
    owners = Ownership.of(case)
    given = [fact for one in met for fact in owners.wanted.get(one, ()) if fact.what == "True"]
    for site in case.sites(given[-1].stack) if given else ():
        yield Way(
            "let them want gradients first",
            "this loss trains them",
            case.place(backward.moment.stack),
            done_first(at(site)),
        )


CHECKS = (gradients_of_another_loss, backward_trains_nobody)
