"""Optimizer and model that do not match: parameters that get gradients and are never updated, and the like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Finding, Place, Severity
from ...model.moments import OpCall
from ...model.trace import Step
from ...repair.changes.calls import of_the_whole
from ...repair.changes.leaves import as_parameter, registered
from ...repair.changes.modules import values_taken_over
from ...repair.changes.statements import group_added, moved
from ...repair.ways import Way
from ...text import plural
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import GradLifetimes
from ..evidence.index import Case, once_a_case
from ..evidence.loss_terms import leaves
from ..evidence.model_runs import followers
from ..evidence.parameters import BEFORE_ALL, Fact, Ownership, first_uses
from ..evidence.wording import optimizer_name, parameter_names
from ..rules import LIKELY, POSSIBLE, SURE, Rule, check

_COPIED = frozenset({"GS301", "GS951"})  # what is used is a copy of it, and that is what must be changed
NOT_IN_OPTIMIZER = Rule(
    "GS601",
    "parameter-not-in-optimizer",
    Severity.WARNING,
    "A parameter gets gradients, but no optimizer was given it.",
    yields_to=_COPIED,
)
AFTER_OPTIMIZER = Rule(
    "GS602",
    "parameter-after-optimizer",
    Severity.ERROR,
    "A parameter was made, put in place or unfrozen after the optimizer was built, which does not know it.",
)
NOT_REGISTERED = Rule(
    "GS603",
    "parameter-not-registered",
    Severity.ERROR,
    "A weight is kept where model.parameters() does not find it, so no optimizer has it.",
    yields_to=_COPIED,
)
STRANGERS = Rule(
    "GS604",
    "optimizer-of-other-parameters",
    Severity.ERROR,
    "An optimizer holds parameters that no loss reaches.",
    frozenset({"GS602", "GS603"}),
)


class _Orphan(NamedTuple):
    """A parameter that gets gradients in steps where an optimizer updates others, and is in none itself."""

    parameter: int
    optimizer: int
    step: Step


def _orphans(case: Case, owners: Ownership) -> Iterator[_Orphan]:
    for one, parameter in case.parameters.items():
        if one in owners.updated or one not in owners.filled or _thrown_away(owners, one) or one in followers(case):
            continue
        for step in owners.filled[one]:
            acting = owners.acting.get(step.number, ())
            if parameter.role == "leaf" and not _is_weight(case, owners, one, step):
                break
            if acting:
                yield _Orphan(one, _nearest(case, one, acting), step)
                break


def _thrown_away(owners: Ownership, parameter: int) -> bool:
    """Whether it lives in the step that made it alone, as one line makes others in other steps: a net for one use."""
    made = owners.made.get(parameter)
    if made is None or parameter in owners.inside or any(s.number != made.when.step for s in owners.filled[parameter]):
        return False
    alike = {fact.when.step for fact in owners.made.values() if fact.stack == made.stack}
    members = owners.acting.get(made.when.step, ())
    fed = any(one in owners.reached for optimizer in members for one in owners.case.members[optimizer])
    return len(alike) > 1 and fed


def _is_weight(case: Case, owners: Ownership, leaf: int, step: Step) -> bool:
    """Whether a plain leaf is meant to be trained, and is no input that happens to want a gradient.

    A module was built with it, or it joins what leaves beside it, which are trained, have made; or it weighs the
    results of a model that never saw it.
    """
    if leaf in owners.differentiated:
        return False
    if owners.holder(leaf):
        return True
    outer = case.sites(owners.stack_of(leaf))[1:]
    free = [one for one in owners.updated if not case.parameters[one].root and owners.stack_of(one) is not None]
    siblings = [one for one in free if case.sites(owners.stack_of(one))[1:] == outer]
    uses = first_uses(step)
    beside = leaf in uses and any(one in uses and uses[one] < uses[leaf] for one in siblings)
    return beside or (owners.rounds(leaf) > 1 and _weighs(case, owners, leaf, step))


def _weighs(case: Case, owners: Ownership, leaf: int, step: Step) -> bool:
    """Whether a product has the leaf on one side, and on the other what trained parameters made without it."""
    flow = Dataflow.of(case, step)
    mine, ops = flow.ahead([tensor.number for tensor in step.tensors if tensor.parameter == leaf], with_grad=True)
    for op in ops:
        others = [tensor for tensor in flow.ops[op].inputs if tensor not in mine]
        product = flow.ops[op].name in op_kinds.SCALES and others and flow.needs_grad(others[0], op)
        if product and leaves(flow, others[0], op) & owners.updated:
            return True
    return False


def _nearest(case: Case, parameter: int, acting: Sequence[int]) -> int:
    """Of the optimizers that act, the one that has most of the parameter's root module."""
    root = case.parameters[parameter].root

    def shared(optimizer: int) -> int:
        return sum(case.parameters[one].root == root for one in case.members[optimizer])

    return max(acting, key=shared)


@check(NOT_IN_OPTIMIZER, AFTER_OPTIMIZER, NOT_REGISTERED, STRANGERS)
def not_in_optimizer(case: Case) -> Iterator[Finding]:
    """Parameters in no optimizer, each with what kept it out."""
    owners = Ownership.of(case)
    groups: dict[tuple[str, Place | None, int], list[_Orphan]] = defaultdict(list)
    for orphan in _orphans(case, owners):
        kind, place = _cause(case, owners, orphan)
        groups[kind, place, orphan.optimizer].append(orphan)
    for (kind, place, _), orphans in groups.items():
        yield from _TELLERS[kind](owners, orphans, place)


def _cause(case: Case, owners: Ownership, orphan: _Orphan) -> tuple[str, Place | None]:
    """(what kept a parameter out of the optimizer, the line to change)."""
    one, optimizer = orphan.parameter, orphan.optimizer
    built = owners.built.get(optimizer, Fact(BEFORE_ALL, None)).when
    made = owners.made.get(one)
    late = [fact for fact in owners.registered.get(one, ()) if fact.when > built]
    if optimizer in owners.built and made is not None and made.when > built:
        if one in owners.inside:
            return "in forward", case.place(made.stack)
        stack = late[0].stack if late else made.stack
        copied = owners.copied(one, case.members[optimizer])
        return "made late", case.place(stack) if copied else owners.beside(stack, optimizer)
    late = [fact for fact in late if not owners.wraps(fact, optimizer)]
    if optimizer in owners.built and late:
        return "placed late", owners.beside(late[0].stack, optimizer)
    thawed = _unfrozen(owners, orphan)
    if thawed is not None:
        return "unfrozen", owners.beside(thawed.stack, optimizer)
    alone = not case.parameters[one].root or case.parameters[one].role != "parameter"
    beside_a_model = not owners.holder(one) and any(case.parameters[other].root for other in case.members[optimizer])
    if alone and not beside_a_model:
        return "not registered", owners.assignment(one)
    stack = owners.built[optimizer].stack if optimizer in owners.built else None
    return "left out", case.place(stack)


def _unfrozen(owners: Ownership, orphan: _Orphan) -> Fact | None:
    """Where the parameter was unfrozen, if it was frozen when the optimizer was built."""
    built = owners.built.get(orphan.optimizer)
    facts = owners.wanted.get(orphan.parameter, ())
    if built is None:
        return None
    before = [fact for fact in facts if fact.when < built.when]
    after = [fact for fact in facts if fact.when > built.when and fact.what == "True"]
    return after[0] if after and before and before[-1].what == "False" else None


# -- what is told ------------------------------------------------------------------------------------


class _Told(NamedTuple):
    names: str
    optimizer: str
    built: int | None
    them: str  # "it" or "them"
    proof: str


def _told(owners: Ownership, orphans: Sequence[_Orphan]) -> _Told:
    case = owners.case
    optimizer = orphans[0].optimizer
    rounds = max(owners.rounds(orphan.parameter) for orphan in orphans)
    built = owners.built.get(optimizer)
    them = "it" if len(orphans) == 1 else "them"
    proof = f"In {plural(rounds, 'step')} a backward gives {them} gradients, and no update changes {them}."
    names = parameter_names(case, (orphan.parameter for orphan in orphans))
    return _Told(names, optimizer_name(case, optimizer), built.stack if built else None, them, proof)


def _late(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None, how: str, fix: str) -> Finding:
    case = owners.case
    told = _told(owners, orphans)
    made = case.place(owners.stack_of(orphans[0].parameter), "made here")
    related = case.places((told.built, "the optimizer takes the parameters there are now"))
    if made is not None and (place is None or (made.file, made.line) != (place.file, place.line)):
        related = (*related, made)
    return AFTER_OPTIMIZER.finding(
        f"{told.names}: {how} after {told.optimizer} was built, which does not know {told.them}",
        culprit=place,
        step=orphans[0].step.number,
        confidence=SURE,
        related=related,
        explanation=f"An optimizer updates the parameters that it was given; {told.names} came later. {told.proof}",
        fix=fix.format(optimizer=told.optimizer),
        fixes=case.fixes(
            Way(
                f"build {told.optimizer} after this line",
                "it gets the parameters that are in use",
                case.place(told.built),
                moved(place, before=False),
            ),
            Way("take over the values alone", "the optimizer knows that module", place, values_taken_over()),
            Way(
                f"give them to {told.optimizer} here",
                "they are updated from now on",
                place,
                group_added(told.optimizer, _full_names(case, orphans)),
            ),
        ),
    )


def _full_names(case: Case, orphans: Sequence[_Orphan]) -> list[str]:
    known = (case.parameters[orphan.parameter] for orphan in orphans)
    return [f"{one.root}.{one.name}" for one in known]


def _made_late(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None) -> Iterator[Finding]:
    fix = "build {optimizer} after this line, give it the new ones: {optimizer}.add_param_group({{'params': …}}), "
    fix += "or load the new values into the module that it knows: load_state_dict(…)"
    yield _late(owners, orphans, place, "made", fix)


def _placed_late(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None) -> Iterator[Finding]:
    yield _late(owners, orphans, place, "put into the model", "build {optimizer} after this line")


def _thawed(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None) -> Iterator[Finding]:
    fix = "add them here: {optimizer}.add_param_group({{'params': …}}), or give {optimizer} all parameters at first"
    yield _late(owners, orphans, place, "unfrozen", fix)


def _in_forward(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None) -> Iterator[Finding]:
    case = owners.case
    told = _told(owners, orphans)
    yield AFTER_OPTIMIZER.finding(
        f"{told.names}: made while the model runs, so {told.optimizer} does not know {told.them}",
        culprit=place,
        step=orphans[0].step.number,
        confidence=SURE,
        related=case.places((told.built, "the optimizer takes the parameters there are now")),
        explanation=f"A layer made in forward() comes after the optimizer was built, and one made in each call has new "
        f"random weights each time. {told.proof}",
        fix="make the layer in __init__",
    )


def _not_registered(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None) -> Iterator[Finding]:
    case = owners.case
    told = _told(owners, orphans)
    first = case.parameters[orphans[0].parameter]
    if first.role != "parameter":
        why = "model.parameters() finds nn.Parameter attributes only; a plain tensor with requires_grad=True is none."
        fix = "wrap it: nn.Parameter(…), as an attribute of the module"
    elif owners.made_by_the_script(first.id):
        why = "Only a parameter that is itself an attribute of a module is found by model.parameters()."
        fix = "assign it to an attribute of the module, or use nn.ParameterList or nn.ParameterDict"
    else:
        why = "Modules in a plain list or dict are invisible to model.parameters(), .to() and state_dict()."
        fix = "keep them in nn.ModuleList or nn.ModuleDict"
    yield NOT_REGISTERED.finding(
        f"{told.names}: not registered in any module, so {told.optimizer} never got {told.them}",
        culprit=place,
        step=orphans[0].step.number,
        confidence=SURE,
        related=case.places((told.built, "the optimizer is built without")),
        explanation=f"{why} {told.proof}",
        fix=fix,
        fixes=case.fixes(
            Way("register it", "the optimizer, .to() and state_dict() find it", place, registered()),
            Way("make it a parameter", "the optimizer, .to() and state_dict() find it", place, as_parameter()),
        ),
    )


def _left_out(owners: Ownership, orphans: Sequence[_Orphan], place: Place | None) -> Iterator[Finding]:
    case = owners.case
    told = _told(owners, orphans)
    members = case.members[orphans[0].optimizer]
    if not any(one in owners.reached for one in members):
        yield STRANGERS.finding(
            f"{told.optimizer} holds other parameters than the ones that are trained: none of its own gets a gradient",
            culprit=place,
            step=orphans[0].step.number,
            confidence=SURE,
            related=case.places((owners.stack_of(orphans[0].parameter), "the parameters in use are made here")),
            explanation=f"It was given {parameter_names(case, members)}, which no loss reaches. The gradients go to "
            f"{told.names}. {told.proof}",
            fix="build the optimizer with the parameters of the model that is trained",
        )
        return
    severity = _how_bad(case, orphans, members)
    if severity is not None:
        yield NOT_IN_OPTIMIZER.finding(
            f"{told.names}: a backward gives {told.them} gradients, but no optimizer was given {told.them}",
            culprit=place,
            step=orphans[0].step.number,
            confidence=LIKELY if severity is Severity.WARNING else POSSIBLE,
            severity=severity,
            related=case.places((owners.stack_of(orphans[0].parameter), "made here")),
            explanation=f"{told.optimizer} was built with {plural(len(members), 'parameter')}, these not among them. "
            f"{told.proof}",
            fix="give the optimizer all parameters, or freeze those on purpose: requires_grad_(False)",
            fixes=case.fixes(
                Way("give it the parameters of the whole", "the others are trained, too", place, of_the_whole())
            ),
        )


def _how_bad(case: Case, orphans: Sequence[_Orphan], members: Sequence[int]) -> Severity | None:
    """How likely it is that the parameters were forgotten; None where leaving them out is the usual thing.

    Someone who trains an input, or a part in front of a model in eval mode, means to leave the model alone. Parameters
    that come before all trained ones may be a pretrained part, left out on purpose.
    """
    step = orphans[0].step
    if not any(case.parameters[one].root for one in members):
        return None
    if all(case.parameters[orphan.parameter].role == "leaf" for orphan in orphans):
        return Severity.WARNING  # of leaves only weights are orphans
    roots = {case.parameters[orphan.parameter].root for orphan in orphans}
    names = {module.id for module in case.modules.values() if module.root in roots and not module.path}
    if any(call.module in names and not call.training for call in step.template.calls):
        return None
    uses = first_uses(step)
    trained = [uses[one] for one in members if one in uses]
    forgotten = [uses[orphan.parameter] for orphan in orphans if orphan.parameter in uses]
    if not trained or not forgotten or max(forgotten) < min(trained):
        return Severity.NOTE
    return Severity.WARNING


_TELLERS: dict[str, Callable[[Ownership, Sequence[_Orphan], Place | None], Iterator[Finding]]] = {
    "made late": _made_late,
    "placed late": _placed_late,
    "unfrozen": _thawed,
    "in forward": _in_forward,
    "not registered": _not_registered,
    "left out": _left_out,
}


@check(STRANGERS)
def never_reached(case: Case) -> Iterator[Finding]:
    """Parameters that an optimizer steps again and again without ever getting a gradient for them: worth a look."""
    owners = Ownership.of(case)
    slots = GradLifetimes.of(case)
    for which, members in case.members.items():
        uses = slots.of_optimizer(which)
        idle = [one for one in members if one not in owners.reached and case.parameters[one].requires_grad]
        if sum(use.times for use in uses) < 3 or not idle or len(idle) == len(members):
            continue
        unread = [one for one in idle if owners.made_by_the_script(one) and one not in _read(case)]
        built = case.place(owners.built[which].stack) if which in owners.built else None
        yield STRANGERS.finding(
            f"{parameter_names(case, idle)} in {optimizer_name(case, which)} never got a gradient",
            culprit=owners.assignment(unread[0]) if unread else built,
            step=uses[0].number,
            confidence=POSSIBLE,
            severity=Severity.NOTE,
            explanation="The optimizer keeps them, but no loss of this recording reached them: they are unused, or "
            "belong to a part that was replaced.",
            fix="see whether these parameters should take part in the loss",
        )


@once_a_case
def _read(case: Case) -> frozenset[int]:
    """The parameters that anything is computed with once the setup is over."""
    calls = (event for step in case.distinct if step.number >= 0 for event in case.events(OpCall, step))
    return frozenset(one for step, _, op in calls for one in step.parameters_of(op.inputs))


CHECKS = (not_in_optimizer, never_reached)
