"""Weights that were meant to be tied, and are copies of each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import LeafChange, Mutation, OpCall, Registration
from ...model.trace import Step
from ...repair.changes.calls import same_object, without_keyword
from ...repair.ways import Way
from ..evidence.grad_lifetimes import GradLifetimes
from ..evidence.index import Case
from ..evidence.parameters import Ownership, When
from ..evidence.wording import parameter_name
from ..evidence.writes import op_before
from ..rules import LIKELY, Rule, check

TIE_COPIED = Rule(
    "GS606",
    "tied-weights-copied",
    Severity.WARNING,
    "A parameter is a copy of another one, or was untied from it: they drift apart.",
)

_SAME_VALUES = op_kinds.COPIES | op_kinds.DETACHES | op_kinds.TRANSPOSES | op_kinds.CASTS | {"numpy"}


class _Copy(NamedTuple):
    """A parameter with the value of another; `copied`: whether it has memory of its own. `made`: by nn.Parameter."""

    parameter: int
    source: int
    stack: int | None
    step: Step
    copied: bool
    made: bool


# -- copies ----------------------------------------------------------------------------------------


@check(TIE_COPIED)
def tie_copied(case: Case) -> Iterator[Finding]:
    """Parameters that the script gave the value of another parameter of the same model, both trained."""
    trained = GradLifetimes.of(case).trained
    copies = [*_made(case), *_written(case)]
    copies = [copy for copy in copies if {copy.parameter, copy.source} <= trained]
    times = Counter(copy.source for copy in copies)
    for copy in copies:
        mine, other = case.parameters[copy.parameter], case.parameters[copy.source]
        if mine.root and mine.root == other.root and times[copy.source] == 1:
            yield _copied(case, copy)


def _made(case: Case) -> Iterator[_Copy]:
    """Parameters made from another one's value by the script's own line, not as part of a copied module."""
    assigned = {
        (event.step.tensors[tensor].parameter, _line(case, event.moment.stack))
        for event in case.events(Registration)
        for tensor in event.moment.tensors
    }
    for step, _, moment in case.events(LeafChange):
        one = step.tensors[moment.tensor].parameter
        if moment.cause != "Parameter" or moment.source is None or one is None:
            continue
        source, clone = _origin(step, moment.source)
        by_hand = clone is None or clone.stack != moment.stack or (one, _line(case, moment.stack)) in assigned
        if source is not None and source != one and by_hand:
            yield _Copy(one, source, moment.stack, step, clone is not None, True)


def _written(case: Case) -> Iterator[_Copy]:
    """Parameters that were overwritten with the value of one of a layer of another kind, before any training.

    Between layers of one kind that is an initialisation; an embedding and the output layer are tied so.
    """
    first = min((use.number for use in GradLifetimes.of(case).updates), default=0)
    for step, position, moment in case.events(Mutation):
        if step.number > first or moment.cause not in ("copy_", "data ="):
            continue
        one, value = _target(step, moment), _value_written(step, position, moment)
        source, _ = _origin(step, value) if value is not None else (None, None)
        if one is None or source is None or source == one:
            continue
        mine, other = case.parameters[one], case.parameters[source]
        if sorted(mine.shape) == sorted(other.shape) and _kind(case, one) != _kind(case, source):
            yield _Copy(one, source, moment.stack, step, True, False)


def _target(step: Step, write: Mutation) -> int | None:
    """The parameter that a write went to, through an alias or not."""
    tensor = step.tensors[write.tensor]
    owners = (tensor, *step.lasting.get(tensor.storage, ()))
    return next((one.parameter for one in owners if one.parameter is not None), None)


def _value_written(step: Step, position: int, write: Mutation) -> int | None:
    """The tensor whose value the write at `position` gave: copy_'s argument, or what that line made last."""
    op = step.op(op_before(step, position))
    if op is None:
        return None
    if write.cause == "copy_":
        return op.inputs[1] if op.name == "copy_" and len(op.inputs) == 2 else None
    return op.outputs[0] if op.outputs and op.name in _SAME_VALUES else None


def _kind(case: Case, parameter: int) -> str:
    """The class of the layer that has the parameter."""
    known = case.parameters[parameter]
    path = case.names.path(parameter).rpartition(".")[0]
    layer = next((one for one in case.modules.values() if (one.root, one.path) == (known.root, path)), None)
    return layer.type if layer is not None else ""


def _line(case: Case, stack: int | None) -> tuple[str, int] | None:
    sites = case.sites(stack)
    return (sites[0].file, sites[0].line) if sites else None


def _origin(step: Step, tensor: int) -> tuple[int | None, OpCall | None]:
    """The parameter whose value a tensor has, and the call that copied it."""
    clone = None
    for _ in range(8):
        record = step.tensors[tensor]
        if record.parameter is not None:
            return record.parameter, clone
        call = step.maker(tensor)
        if call is None or call.name not in _SAME_VALUES or len(call.inputs) != 1:
            return None, None
        clone = call if call.name == "clone" else clone
        tensor = call.inputs[0]
    return None, None


def _copied(case: Case, copy: _Copy) -> Finding:
    mine, other = parameter_name(case, copy.parameter), parameter_name(case, copy.source)
    how = "a copy of" if copy.copied else "another parameter on the memory of"
    if copy.copied:
        why = "They start with equal values, but each gets its own gradient and its own updates, so they drift apart."
    else:
        why = "They share memory, but each has its own .grad and state: every update writes the same values twice."
    makes = "nn.Parameter makes a new parameter. " if copy.made else ""
    return TIE_COPIED.finding(
        f"{mine} is {how} {other}, not the same parameter: the two are trained apart",
        culprit=case.place(copy.stack),
        step=copy.step.number,
        confidence=LIKELY,
        related=case.places((Ownership.of(case).stack_of(copy.source), f"{other} is made here")),
        explanation=f"{makes}{why} Tied weights must be one and the same object.",
        fix=f"if they shall be tied, assign the parameter itself: {mine} = {other}",
        fixes=case.fixes(
            Way("assign the parameter itself", "one weight, trained by both", case.place(copy.stack), same_object())
        )
        if copy.made
        else (),
    )


# -- ties undone -------------------------------------------------------------------------------------


@check(TIE_COPIED)
def tie_undone(case: Case) -> Iterator[Finding]:
    """A layer's parameter was given to a second layer, and then the first got another one."""
    owners, trained = Ownership.of(case), GradLifetimes.of(case).trained
    for one, facts in owners.registered.items():
        made = owners.made.get(one)
        if made is None or one not in trained or owners.made_by_the_script(one):
            continue
        own = made.when._replace(moment=made.when.moment + 1)  # what made it keeps it in the same breath
        tied = next((fact for fact in facts if fact.when > own and fact.stack != made.stack), None)
        if tied is not None and tied.what.rpartition(".")[2] in case.names.path(one).split(".")[:-1]:
            continue  # its layer was put into a container, under that name
        if tied is None or len(_layers(case, one)) != 1:
            continue
        other = _successor(case, owners, one, tied.when, trained)
        by_library = case.in_library(tied.stack) and other is not None and case.in_library(owners.stack_of(other))
        if other is not None and not by_library:
            yield _undone(case, owners, one, other, tied.stack)


def _layers(case: Case, parameter: int) -> set[int | None]:
    """The modules whose ops use the parameter where gradients are on."""
    return {
        event.moment.module
        for event in case.events(OpCall)
        if event.moment.grad_enabled and event.moment.module is not None
        if any(event.step.tensors[one].parameter == parameter for one in event.moment.inputs)
    }


def _successor(case: Case, owners: Ownership, parameter: int, since: When, trained: frozenset[int]) -> int | None:
    """A parameter of the same model and shape that was made after that time, and is trained too."""
    mine = case.parameters[parameter]
    for one in trained:
        made, known = owners.made.get(one), case.parameters[one]
        if one == parameter or made is None or made.when < since:
            continue
        if mine.root and (known.root, known.shape) == (mine.root, mine.shape):
            return one
    return None


def _undone(case: Case, owners: Ownership, one: int, other: int, tied: int | None) -> Finding:
    mine, new = parameter_name(case, one), parameter_name(case, other)
    stack = owners.stack_of(other)
    return TIE_COPIED.finding(
        f"{new} was made after {mine} had been tied: the two are different parameters now",
        culprit=case.place(stack),
        step=owners.made[other].when.step,
        confidence=LIKELY,
        related=case.places(
            (tied, "the weights are tied here"), (owners.stack_of(one), "the tied parameter is made here")
        ),
        explanation="Tying makes two layers use one parameter. A new parameter for one of them leaves the other with "
        f"the old one: {mine} and {new} are trained apart.",
        fix="tie the weights after this line",
    )


@check(TIE_COPIED)
def tie_undone_by_loading(case: Case) -> Iterator[Finding]:
    """A state that is loaded with assign=True puts two tensors where one parameter was: copies of one tensor."""
    trained = GradLifetimes.of(case).trained
    made: dict[tuple[int, int | None, int], list[int]] = defaultdict(list)
    for step, _, moment in case.events(LeafChange):
        one, place = step.tensors[moment.tensor].parameter, case.place(moment.stack)
        loads = place is not None and place.expression.partition("(")[0].endswith("load_state_dict")
        if moment.cause == "Parameter" and moment.source is not None and loads and one in trained:
            made[step.number, moment.stack, _first(step, moment.source)].append(one)
    for (number, stack, _), pair in made.items():
        if len(pair) == 2:
            yield _loaded_apart(case, number, stack, *pair)


def _first(step: Step, tensor: int) -> int:
    """The tensor whose values another one has."""
    for _ in range(8):
        call = step.maker(tensor)
        if call is None or call.name not in _SAME_VALUES or len(call.inputs) != 1:
            break
        tensor = call.inputs[0]
    return tensor


def _loaded_apart(case: Case, number: int, stack: int | None, one: int, other: int) -> Finding:
    mine, theirs = parameter_name(case, one), parameter_name(case, other)
    return TIE_COPIED.finding(
        f"{mine} and {theirs} were one weight in what is loaded; assign=True makes two parameters of them",
        culprit=case.place(stack),
        step=number,
        confidence=LIKELY,
        explanation="A state has a tensor for each name. Loaded with assign=True, each becomes a parameter of its own, "
        f"whatever was tied in the model: {mine} and {theirs} get their own gradients and drift apart.",
        fix="load without assign=True, which writes into the parameters that are there, or tie the weights again after "
        "this line",
        fixes=case.fixes(
            Way(
                "write into the parameters that are there",
                "what is tied stays tied",
                case.place(stack),
                without_keyword("assign"),
            )
        ),
    )


CHECKS = (tie_copied, tie_undone, tie_undone_by_loading)
