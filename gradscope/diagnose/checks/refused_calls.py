"""Calls that torch refuses because a tensor is, or is not, a leaf: what the error means and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.records import Failure
from ..evidence.ancestry import copy_of_leaf, made
from ..evidence.index import Case, Event
from ..evidence.writes import out_of_place as _out_of_place
from ..rules import CERTAIN, Rule, check

LEAF_WRITTEN = Rule(
    "GS305", "leaf-written-in-place", Severity.ERROR, "A leaf that wants a gradient was changed in place."
)
EXPANDED_WRITTEN = Rule(
    "GS306",
    "expanded-tensor-written",
    Severity.ERROR,
    "A tensor whose elements share one memory cell was written to.",
)
VIEW_WRITTEN = Rule(
    "GS307", "view-not-writable", Severity.ERROR, "A view that autograd cannot follow was changed in place."
)
INTEGER_GRAD = Rule(
    "GS308", "integer-wants-gradient", Severity.ERROR, "A tensor of whole numbers was asked to have a gradient."
)
PARAMETER_REPLACED = Rule(
    "GS310", "parameter-replaced", Severity.ERROR, "A computed tensor was assigned where a module has a parameter."
)
NEEDS_LEAF = Rule(
    "GS311", "needs-a-leaf", Severity.ERROR, "A result was used where only a leaf can be: its flag, or a deep copy."
)


class _Words(NamedTuple):
    """What a finding says of one kind of refusal."""

    rule: Rule
    told: re.Pattern[str]  # in torch's message
    tell: Callable[[Case, Event[Failure], str], tuple[str, str, str]]  # message, explanation, fix


def _leaf_written(case: Case, event: Event[Failure], name: str) -> tuple[str, str, str]:
    view = "view of a leaf" in event.moment.message
    what = f"a view of the leaf {name}" if view else f"the leaf {name}"
    place = case.place(event.moment.stack)
    code = place.code if place is not None else ""
    updates = "grad" in re.sub(r"requires_grad|no_grad", "", code)
    return (
        f"{what} was changed in place while gradients are recorded",
        f"{name} is a leaf that wants a gradient: backward() leaves the gradient in {name}.grad. Were this write part "
        f"of the graph, {name} would be a result and no leaf any more, so torch refuses it.",
        f"write under torch.no_grad(): with torch.no_grad(): {_bare(code)}"
        if updates
        else f"set the value without recording it: with torch.no_grad(): {_bare(code)}; "
        "or change it before it asks for a gradient (before nn.Parameter or requires_grad_)",
    )


def _expanded_written(case: Case, event: Event[Failure], name: str) -> tuple[str, str, str]:
    place = case.place(event.moment.stack)
    return (
        f"{name} was written to, but several of its elements are one and the same memory cell",
        "expand (and broadcasting) repeats a tensor without copying it: each repeated row is the same memory. "
        "A write in place would hit the same cell several times, so torch refuses it.",
        f"compute out of place: {_out_of_place(place)}"
        if _out_of_place(place)
        else f"make a real copy first: {name}.clone(), or repeat() instead of expand()",
    )


def _view_written(case: Case, event: Event[Failure], name: str) -> tuple[str, str, str]:
    message, place = event.moment.message, case.place(event.moment.stack)
    better = _out_of_place(place)
    fix = f"make a new tensor: {better}" if better else "work out of place, and put the parts together with torch.stack"
    if "created in no_grad" in message:
        return (
            f"{name} is a view that was made under no_grad, and is changed in place with gradients on",
            "Autograd was off when the view was made, so it does not know which tensor the write belongs to.",
            f"move the view and the write to the same side of torch.no_grad(), or {fix}",
        )
    if "custom Function" in message:
        return (
            f"{name} is a view that a custom Function returned, and was changed in place",
            "The write would replace the Function's own backward, so torch refuses it.",
            f"return a copy from the Function's forward (x.clone()), or {fix}",
        )
    return (
        f"{name} is one of several views of the same tensor, and was changed in place",
        "unbind, split, chunk and a loop over a tensor return several views at once. Autograd follows a write "
        "through one view of a tensor, not through one of many, so torch refuses it.",
        f"{fix}; or write through an index, x[i] = ...",
    )


def _integer(case: Case, event: Event[Failure], name: str) -> tuple[str, str, str]:
    del case
    dtype = event.step.tensors[event.moment.inputs[0]].dtype if event.moment.inputs else ""
    return (
        f"{name} holds whole numbers{f' ({dtype})' if dtype else ''} and cannot have a gradient",
        "A gradient needs values that can change a little. torch takes the dtype from the numbers: [1, 2] makes int64, "
        "[1.0, 2.0] makes float32.",
        "write the numbers with a decimal point (1.0), or name the dtype: dtype=torch.float32, or .float()",
    )


def _parameter_replaced(case: Case, event: Event[Failure], name: str) -> tuple[str, str, str]:
    del case
    told = re.search(r"parameter '([^']*)'", event.moment.message)
    parameter = told[1] if told else name
    return (
        f"a computed tensor was assigned to {parameter}, which is a parameter of the module",
        f"{parameter} must stay a leaf, for the optimizer and for its gradient. What an expression computes is a "
        "result of the graph, so the module refuses it.",
        f"keep the parameter and change its values: with torch.no_grad(): module.{parameter}.copy_(...); "
        "or compute the changed weight in forward, under another name",
    )


def _needs_leaf(case: Case, event: Event[Failure], name: str) -> tuple[str, str, str]:
    del case
    if "deepcopy" in event.moment.message:
        return (
            "a deep copy met a tensor that is the result of other tensors",
            "Only leaves can be copied deeply: a result belongs to its graph. A module or object that is copied holds "
            "such a result as an attribute.",
            "store a copy without the graph instead: self.x = x.detach(), or build a new model and load_state_dict()",
        )
    return (
        f"the requires_grad flag of {name} was set, but {name} is a result of other tensors",
        f"{name} has a grad_fn: whether it has a gradient follows from what it was computed from.",
        f"to stop the gradient here, use {name}.detach(); to start one here, {name}.detach().requires_grad_()",
    )


_REFUSALS = tuple(
    _Words(rule, re.compile(told), tell)
    for rule, told, tell in (
        (LEAF_WRITTEN, "leaf Variable that requires grad is being used in an in-place", _leaf_written),
        (EXPANDED_WRITTEN, "more than one element of the written-to tensor", _expanded_written),
        (VIEW_WRITTEN, "is a view and is being modified inplace|view was created in no_grad mode", _view_written),
        (INTEGER_GRAD, "nly Tensors of floating point .*dtype can require grad", _integer),
        (PARAMETER_REPLACED, "cannot assign '[^']*'.* (as|to) parameter '", _parameter_replaced),
        (NEEDS_LEAF, "only change requires_grad flags of leaf|support the deepcopy protocol", _needs_leaf),
    )
)


@check(*(words.rule for words in _REFUSALS))
def refused_call(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if torch refused a call for what kind of tensor it was given."""
    event = case.refusal
    if event is None:
        return
    for words in _REFUSALS:
        if words.told.search(event.moment.message):
            inputs = event.moment.inputs
            name = _subject(case, event)
            message, explanation, fix = words.tell(case, event, name)
            yield words.rule.finding(
                message,
                culprit=case.place(event.moment.stack),
                step=event.step.number,
                confidence=CERTAIN,
                related=_origins(case, event),
                explanation=explanation,
                fix=fix,
                nodes=tuple(tensor_id(event.step.template, number) for number in inputs[:1]),
            )
            return


def _subject(case: Case, event: Event[Failure]) -> str:
    if event.moment.inputs:
        return case.called(event.step, event.moment.inputs[0])
    place = case.place(event.moment.stack)
    return place.expression if place is not None and place.expression else "the tensor"


def _origins(case: Case, event: Event[Failure]) -> tuple[Place, ...]:
    """Where the tensor came from."""
    if not event.moment.inputs:
        return ()
    first = event.moment.inputs[0]
    copy = copy_of_leaf(case, event.step, first)
    stack = made(case, event.step, first).stack if copy is None else copy.first.stack
    return case.places((stack, "made here"))


def _bare(code: str) -> str:
    return re.sub(r"\s+#.*$", "", code)


CHECKS = (refused_call,)
