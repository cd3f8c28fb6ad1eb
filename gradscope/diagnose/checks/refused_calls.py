"""Calls that torch refuses because a tensor is, or is not, a leaf: what the error means and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...model.moments import Failure
from ...repair.changes.attributes import kept_for_looking
from ...repair.changes.heads import without_grad
from ...repair.changes.leaves import floating, leaf_begun
from ...repair.changes.results import local_instead, value_copied
from ...repair.changes.values import followed_by, rebound, side_followed_by
from ...repair.changes.writes import out_of_place, taken_one_by_one
from ...repair.ways import Way
from ..evidence.ancestry import copy_of_leaf, made
from ..evidence.index import Case, Event
from ..evidence.refusals import subject
from ..evidence.source_lines import put_away
from ..evidence.torch_errors import ErrorKind, TorchError
from ..evidence.wording import is_code, variable
from ..rules import CERTAIN, Rule, check

LEAF_WRITTEN = Rule(
    "GS305", "leaf-written-in-place", Severity.ERROR, "A leaf that wants a gradient was changed in place."
)
EXPANDED_WRITTEN = Rule(
    "GS306", "expanded-tensor-written", Severity.ERROR, "A tensor whose elements share one memory cell was written to."
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


_Words = tuple[str, str, str]  # message, explanation, fix


class _Refused(NamedTuple):
    """What was refused: the error, the tensor's name and dtype ("" where it was not recorded), and the line."""

    error: TorchError
    name: str
    dtype: str
    place: Place | None


def _leaf_written(told: _Refused) -> _Words:
    what = f"{told.name}, a view of a leaf," if told.error.parts["view"] else f"the leaf {told.name}"
    code = told.place.code if told.place is not None else ""
    updates = "grad" in re.sub(r"requires_grad|no_grad", "", code)
    return (
        f"{what} was changed in place while gradients are recorded",
        "backward() leaves the gradient of a leaf in its .grad. Were this write part of the graph, the leaf would be "
        "a result and no leaf any more, so torch refuses it.",
        f"write under torch.no_grad(): with torch.no_grad(): {_bare(code)}"
        if updates
        else f"set the value without recording it: with torch.no_grad(): {_bare(code)}; "
        "or change it before it asks for a gradient (before nn.Parameter or requires_grad_)",
    )


def _expanded_written(told: _Refused) -> _Words:
    return (
        f"{told.name} was written to, but several of its elements are one and the same memory cell",
        "expand (and broadcasting) repeats a tensor without copying it: each repeated row is the same memory. "
        "A write in place would hit the same cell several times, so torch refuses it.",
        "compute out of place, or make a real copy first with clone() (or repeat() instead of expand())",
    )


def _view_written(told: _Refused) -> _Words:
    fix = "work out of place, and put the parts together with torch.stack"
    if told.error.kind is ErrorKind.VIEW_OF_NO_GRAD_WRITTEN:
        return (
            f"{told.name} is a view that was made under no_grad, and is changed in place with gradients on",
            "Autograd was off when the view was made, so it does not know which tensor the write belongs to.",
            f"move the view and the write to the same side of torch.no_grad(), or {fix}",
        )
    if told.error.kind is ErrorKind.VIEW_OF_FUNCTION_WRITTEN:
        return (
            f"{told.name} is a view that a custom Function returned, and was changed in place",
            "The write would replace the Function's own backward, so torch refuses it.",
            f"return a copy from the Function's forward (x.clone()), or {fix}",
        )
    return (
        f"{told.name} is one of several views of the same tensor, and was changed in place",
        "unbind, split, chunk and a loop over a tensor return several views at once. Autograd follows a write "
        "through one view of a tensor, not through one of many, so torch refuses it.",
        f"{fix}; or write through an index, x[i] = ...",
    )


def _integer(told: _Refused) -> _Words:
    dtype = told.dtype
    return (
        f"{told.name} holds whole numbers{f' ({dtype})' if dtype else ''} and cannot have a gradient",
        "A gradient needs values that can change a little. torch takes the dtype from the numbers: [1, 2] makes int64, "
        "[1.0, 2.0] makes float32.",
        "write the numbers with a decimal point (1.0), or name the dtype: dtype=torch.float32, or .float()",
    )


def _parameter_replaced(told: _Refused) -> _Words:
    parameter = told.error.parts["parameter"] or told.name
    return (
        f"a computed tensor was assigned to {parameter}, which is a parameter of the module",
        f"{parameter} must stay a leaf, for the optimizer and for its gradient. What an expression computes is a "
        "result of the graph, so the module refuses it.",
        f"keep the parameter and change its values: with torch.no_grad(): module.{parameter}.copy_(...); "
        "or compute the changed weight in forward, under another name",
    )


def _needs_leaf(told: _Refused) -> _Words:
    if told.error.kind is ErrorKind.RESULT_DEEP_COPIED:
        return (
            f"a deep copy met {told.name}, which is the result of other tensors",
            f"Only leaves can be copied deeply: a result belongs to its graph. What is copied holds {told.name}.",
            "store it without its graph where it is kept: .detach(); or build a new model and load_state_dict()",
        )
    code = _bare(told.place.code) if told.place is not None else ""
    written = code.rpartition("=")[0].partition(".requires_grad")[0].strip()  # as the line calls it
    name = written if is_code(written) else variable(told.name, "x")
    off = "False" in code.partition("requires_grad")[2]
    return (
        f"the requires_grad flag of {told.name} was set, but {told.name} is a result of other tensors",
        f"{told.name} has a grad_fn: whether it has a gradient follows from what it was computed from.",
        f"hand on {name}.detach() in its place, where it is used from here on: the gradient stops there"
        if off
        else f"to stop the gradient here, use {name}.detach(); to start one here, {name}.detach().requires_grad_()",
    )


# What a finding says of each kind of refusal: its rule, and what makes the words.
_REFUSALS: Mapping[ErrorKind, tuple[Rule, Callable[[_Refused], _Words]]] = {
    ErrorKind.LEAF_WRITTEN: (LEAF_WRITTEN, _leaf_written),
    ErrorKind.REPEATED_MEMORY_WRITTEN: (EXPANDED_WRITTEN, _expanded_written),
    ErrorKind.VIEW_OF_NO_GRAD_WRITTEN: (VIEW_WRITTEN, _view_written),
    ErrorKind.VIEW_OF_FUNCTION_WRITTEN: (VIEW_WRITTEN, _view_written),
    ErrorKind.ONE_OF_VIEWS_WRITTEN: (VIEW_WRITTEN, _view_written),
    ErrorKind.INTEGER_WANTS_GRAD: (INTEGER_GRAD, _integer),
    ErrorKind.PARAMETER_REPLACED: (PARAMETER_REPLACED, _parameter_replaced),
    ErrorKind.FLAG_OF_RESULT_SET: (NEEDS_LEAF, _needs_leaf),
    ErrorKind.RESULT_DEEP_COPIED: (NEEDS_LEAF, _needs_leaf),
}


@check(LEAF_WRITTEN, EXPANDED_WRITTEN, VIEW_WRITTEN, INTEGER_GRAD, PARAMETER_REPLACED, NEEDS_LEAF)
def refused_call(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if torch refused a call for what kind of tensor it was given."""
    event, kind = case.refusal, case.error.kind
    if event is None or kind is None or kind not in _REFUSALS:
        return
    rule, tell = _REFUSALS[kind]
    place = case.place(event.moment.stack)
    dtype = event.step.tensors[event.moment.inputs[0]].dtype if event.moment.inputs else ""
    message, explanation, fix = tell(_Refused(case.error, _subject(case, event), dtype, place))
    fixes = case.fixes(*_ways(case, event, kind, place))
    kept = _kept(case, event) if kind is ErrorKind.RESULT_DEEP_COPIED else None
    copied = case.places((event.moment.stack, "the copy meets it here")) if kept is not None else ()
    yield rule.finding(
        message,
        culprit=kept or place,
        step=event.step.number,
        confidence=CERTAIN,
        related=(*_origins(case, event), *copied),
        explanation=explanation,
        fix=said(fixes, fix),
        fixes=fixes,
        nodes=tuple(tensor_id(event.step.template, number) for number in event.moment.inputs[:1]),
    )


def _ways(case: Case, event: Event[Failure], kind: ErrorKind, place: Place | None) -> Iterator[Way]:
    """The ways to do what was refused, so that what was written is seen by all who wait for it."""
    if kind is ErrorKind.LEAF_WRITTEN:
        meaning = "the leaf has the new value and stays a leaf"
        yield from _not_on_the_leaf(case, event, place)
        if not any(event.step.tensors[one].requires_grad for one in event.moment.inputs[1:]):
            yield Way("write without recording it", meaning, place, without_grad(writes_only=True))
        yield Way("give the op a copy", "the leaf stays as it is", place, side_followed_by(0, ".clone()"))
    elif kind is ErrorKind.REPEATED_MEMORY_WRITTEN:
        origin = next(iter(_origins(case, event)), None)
        meaning = "all that follows sees the new values"
        yield Way("make a new tensor", meaning, place, out_of_place(attributes=False))
        yield Way("make a real copy first", "each element has memory of its own", origin, followed_by(".clone()"))
    elif kind is ErrorKind.ONE_OF_VIEWS_WRITTEN:
        origin = next(iter(_origins(case, event)), None)
        yield Way("take the parts one by one", "each write reaches the whole", origin, taken_one_by_one())
    elif kind is ErrorKind.INTEGER_WANTS_GRAD:
        yield Way("make it floating-point numbers", "they can be trained", place, floating())
    elif kind is ErrorKind.PARAMETER_REPLACED:
        meaning = "the parameter stays as it is and is trained through what is computed of it"
        yield Way("give what is computed a name of its own", meaning, place, local_instead())
        yield Way("change the values of the parameter", "it stays the one that is trained", place, value_copied())
    elif kind is ErrorKind.RESULT_DEEP_COPIED:
        yield Way("keep it without its graph", "what is kept is for looking at", place, kept_for_looking())
    elif kind is ErrorKind.FLAG_OF_RESULT_SET:
        off = place is not None and "False" in place.code.partition("requires_grad")[2]
        words = "cut it off from what lies before" if off else "begin anew with a leaf"
        yield Way(words, "what lies before it gets no gradient", place, leaf_begun())


def _not_on_the_leaf(case: Case, event: Event[Failure], place: Place | None) -> Iterator[Way]:
    """The ways for a write that was not meant for the leaf: one into a view that was made apart, or into an argument
    that another function made a leaf.
    """
    if not event.moment.inputs:
        return
    first = event.moment.inputs[0]
    here = next(iter(case.sites(event.moment.stack)), None)
    birth = next(iter(case.sites(made(case, event.step, first).stack)), None)
    name = subject(here.expression) or _written(here.expression or here.code) if here is not None else ""
    if here is None or birth is None or case.is_optimized(event.step, first) or not name.isidentifier():
        return
    if case.error.parts["view"]:
        apart = (birth.file, birth.line) != (here.file, here.line)
        meaning = "the leaf stays as it is, and is trained through what is left of it"
    else:
        apart = (birth.file, birth.function) != (here.file, here.function)
        meaning = "the caller's leaf stays as it is, and gets its gradient"
    if apart:
        yield Way("write into a copy", meaning, place, rebound(name, ".clone()", before=True))


def _written(expression: str) -> str:
    """The name that `state[done]` or `x -= mean` writes to."""
    return re.split(r"\[|\s", expression.strip(), maxsplit=1)[0]


def _subject(case: Case, event: Event[Failure]) -> str:
    if event.moment.inputs and case.error.kind is ErrorKind.RESULT_DEEP_COPIED:  # there it goes by what is copied
        home = made(case, event.step, event.moment.inputs[0])
        return case.called(home.step, home.number)
    if event.moment.inputs:
        return case.called(event.step, event.moment.inputs[0])
    if case.error.kind is ErrorKind.RESULT_DEEP_COPIED:
        return "a tensor"
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


def _kept(case: Case, event: Event[Failure]) -> Place | None:
    """The line that keeps a result where a deep copy meets it: in an attribute, a list."""
    if not event.moment.inputs:
        return None
    number = event.moment.inputs[0]
    origin, home = case.origin(event.step, number), made(case, event.step, number)
    told = (one for row in case.rows for one in row.kept if (one.step, one.tensor) == origin and one.stack is not None)
    kept = next(told, None)
    if kept is not None:
        return case.place(kept.stack)
    name = home.tensor.name
    return put_away(case, home.stack, name) if name.isidentifier() else case.place(home.stack)


def _bare(code: str) -> str:
    return re.sub(r"\s+#.*$", "", code)


CHECKS = (refused_call,)
