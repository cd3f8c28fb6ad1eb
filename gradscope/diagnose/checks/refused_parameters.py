"""Optimizers and modules that refuse what they are given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...model.findings import Finding, Place, Severity
from ...model.moments import Failure, LeafChange, Registration
from ...model.trace import Step
from ...repair.changes.calls import kept_in_a_list
from ...repair.changes.functions import super_first
from ...repair.changes.leaves import as_parameter, registered
from ...repair.ways import Way
from ..evidence.index import Case, Event
from ..evidence.parameters import Ownership
from ..evidence.source_lines import bound_before
from ..evidence.torch_errors import ErrorKind
from ..evidence.wording import call_at
from ..rules import CERTAIN, SURE, Rule, check

OPTIMIZER_REFUSES = Rule(
    "GS607",
    "optimizer-refuses-parameters",
    Severity.ERROR,
    "An optimizer was given no parameters, or one of them twice.",
)
MODULE_NOT_READY = Rule(
    "GS608",
    "module-not-initialised",
    Severity.ERROR,
    "A module got a layer or a parameter before its own __init__ had run.",
)


_FOUND = "the optimizer, .to() and state_dict() find it"


@check(OPTIMIZER_REFUSES, MODULE_NOT_READY)
def refused(case: Case) -> Iterator[Finding]:
    """The script died because an optimizer or a module refused what it was given."""
    failure = case.failure
    if failure is None:
        return
    if case.error.kind is ErrorKind.OPTIMIZER_WITHOUT_PARAMETERS:
        yield _empty(case, failure)
    elif case.error.kind is ErrorKind.PARAMETER_IN_TWO_GROUPS:
        yield _twice(case, failure)
    elif case.error.kind is ErrorKind.MODULE_NOT_INITIALISED:
        yield _not_ready(case, failure)


def _empty(case: Case, failure: Event[Failure]) -> Finding:
    """An empty list: either nothing is registered, or what gives the parameters was used up before."""
    here = case.place(failure.moment.stack)
    unregistered = _unregistered(case, failure)
    if unregistered is not None:
        return OPTIMIZER_REFUSES.finding(
            "the model has layers, but none is registered: model.parameters() is empty",
            culprit=unregistered,
            step=failure.step.number,
            confidence=CERTAIN,
            related=case.places((failure.moment.stack, "the optimizer finds no parameters")),
            explanation="A module finds the layers and parameters that are attributes of it, or are in nn.ModuleList, "
            "nn.ModuleDict and the like. In a plain list or dict, or a plain tensor, they are invisible.",
            fix="keep layers in nn.ModuleList or nn.ModuleDict, and parameters in attributes that are nn.Parameter",
            fixes=case.fixes(
                Way("register it", _FOUND, unregistered, registered()),
                Way("make it a parameter", _FOUND, unregistered, as_parameter()),
            ),
        )
    given = re.match(r"[\w.]+\(\s*([A-Za-z_]\w*)\s*[,)]", here.expression) if here is not None else None
    bound = bound_before(case, here, given[1]) if given is not None else None
    return OPTIMIZER_REFUSES.finding(
        f"{call_at(case, failure.moment.stack, 'the optimizer')} gets no parameters at all",
        culprit=bound or here,
        step=failure.step.number,
        confidence=CERTAIN,
        related=case.places((failure.moment.stack, "the optimizer finds no parameters")) if bound is not None else (),
        explanation="model.parameters() is a generator, which is empty once something has gone through it; and a "
        "filter by requires_grad leaves none if everything is frozen.",
        fix="call model.parameters() again here, or keep list(model.parameters())",
        fixes=case.fixes(
            Way("keep them in a list", "all of them are trained", here, kept_in_a_list(_optimizer_called(here)))
        ),
    )


def _optimizer_called(place: Place | None) -> tuple[str, ...]:
    """The last name of the call at a place."""
    called = place.expression.partition("(")[0] if place is not None else ""
    return (called.rpartition(".")[2],)


def _unregistered(case: Case, failure: Event[Failure]) -> Place | None:
    """The line that made the last parameter, if the failing line itself asks a module for its parameters."""
    sites = case.sites(failure.moment.stack)
    if not sites or ".parameters()" not in sites[0].expression or "requires_grad" in sites[0].expression:
        return None
    owners = Ownership.of(case)
    wanting = [one for one in owners.made if case.parameters[one].requires_grad and one not in owners.registered]
    return owners.assignment(wanting[-1]) if wanting else None


def _twice(case: Case, failure: Event[Failure]) -> Finding:
    """A parameter that has two names, if one of the refused group has; else the groups overlap."""
    event = case.refusal or failure
    refused = set(event.moment.inputs)
    ties = [one for one in case.events(Registration, event.step) if refused & set(one.moment.tensors)]
    ties = [one for one in ties if not any(_made_there(event.step, number, one) for number in one.moment.tensors)]
    tie = ties[-1].moment if ties else None
    name = f"{tie.name} of {tie.owner}" if tie is not None else "a parameter"
    shape = _shape(event.step, refused & set(tie.tensors)) if tie is not None else ""
    return OPTIMIZER_REFUSES.finding(
        f"{name}{shape} is in two groups of the optimizer"
        + (": it is one parameter under two names, tied here" if tie is not None else ""),
        culprit=case.place(tie.stack if tie is not None else failure.moment.stack),
        step=failure.step.number,
        confidence=CERTAIN if tie is None else SURE,
        related=case.places((failure.moment.stack, "the optimizer refuses the second of its groups")),
        explanation="Each parameter belongs to one group only, else it would be updated twice. Tied weights appear "
        "under two names but are one parameter.",
        fix="leave out of each group what another has: seen = {id(p) for p in first}; "
        "[p for p in second if id(p) not in seen]",
    )


def _made_there(step: Step, tensor: int, registered: Event[Registration]) -> bool:
    """Whether a parameter was made in the call that registered it, as a layer's own is."""
    changes = (moment for moment in step.moments[: registered.position + 1] if isinstance(moment, LeafChange))
    return any(one.tensor == tensor and one.stack == registered.moment.stack for one in changes)


def _shape(step: Step, tensors: Iterable[int]) -> str:
    """The shape of the first of some tensors, in brackets."""
    return next((f" (shape {tuple(step.tensors[number].shape)})" for number in sorted(tensors)), "")


def _not_ready(case: Case, failure: Event[Failure]) -> Finding:
    line = call_at(case, failure.moment.stack, "the assignment")
    return MODULE_NOT_READY.finding(
        "a module gets a layer or parameter before super().__init__() has run",
        culprit=case.place(failure.moment.stack),
        step=failure.step.number,
        confidence=CERTAIN,
        explanation="nn.Module.__init__ makes the places where layers and parameters are registered; before it, "
        f"{line} has nowhere to put them.",
        fix="call super().__init__() first in __init__",
        fixes=case.fixes(Way("begin with super().__init__()", _FOUND, case.place(failure.moment.stack), super_first())),
    )


CHECKS = (refused,)
