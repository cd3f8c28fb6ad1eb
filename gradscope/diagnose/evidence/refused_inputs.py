"""What a call that torch refused was given: the data, the layer whose weights they met, and where both came from."""

from __future__ import annotations

from typing import NamedTuple

from ...model.findings import Place
from ...model.moments import Backward, Failure
from ...model.records import Module, Tensor
from ...text import elide_list
from .ancestry import Made, made
from .dataflow import Dataflow
from .index import Case, Event
from .wording import call_at, shape_of


class Refused(NamedTuple):
    """A call that raised: what the script wrote, the op, and the tensors that it was given.

    `weights` are those that are parameters or buffers of `layer`, the module that was called; `data` the others.
    """

    event: Event[Failure]
    written: str
    op: str
    data: tuple[int, ...]
    weights: tuple[int, ...]
    layer: Module | None

    def tensor(self, number: int) -> Tensor:
        return self.event.step.tensors[number]


def refused_call(case: Case) -> Refused | None:
    """The call of torch's that raised the error which ended the script; None if it was no such call."""
    event = case.refusal
    if event is None or case.failure is None or not event.moment.inputs:
        return None
    return given_to(case, event, case.failure.moment.stack)


def mixed_before(case: Case) -> Refused | None:
    """The last op behind the failing backward that was given real numbers of several dtypes: forward let it pass."""
    last = case.failure
    backward = next((one for one in reversed(list(case.events(Backward))) if one.moment.error is not None), None)
    if last is None or backward is None or backward.step.number != last.step.number:
        return None
    step, flow = backward.step, Dataflow.of(case, backward.step)
    for number in sorted(flow.behind(backward.moment.roots)[1], reverse=True):
        op = flow.ops[number]
        if len({step.tensors[one].dtype for one in op.inputs if _is_real(step.tensors[one])}) > 1:
            there = Failure(op.phase, op.stack, last.moment.type, last.moment.message, op.name, True, op.inputs)
            return given_to(case, Event(step, number, there), op.stack)
    return None


def _is_real(tensor: Tensor) -> bool:
    return tensor.dtype.startswith(("float", "bfloat"))


def given_to(case: Case, event: Event[Failure], stack: int | None) -> Refused:
    """The call at a stack, with what it was given."""
    step, inputs = event.step, tuple(dict.fromkeys(event.moment.inputs))
    kept = {number: case.parameter(step, number) for number in inputs}
    weights = tuple(number for number, one in kept.items() if one is not None and one.role != "leaf" and one.root)
    layer = next((home for number in weights if (home := _layer(case, step.tensors[number].parameter))), None)
    data = tuple(number for number in inputs if layer is None or number not in weights)
    written = call_at(case, stack, f"the call of {event.moment.call}")
    return Refused(event, written, event.moment.call, data, weights if layer is not None else (), layer)


def _layer(case: Case, parameter: int | None) -> Module | None:
    """The module that has a parameter as its own attribute."""
    module = case.names.module_of(parameter)
    return case.modules[module] if module is not None else None


def source(case: Case, refused: Refused, number: int) -> Made:
    """Where a tensor of the call came from."""
    return made(case, refused.event.step, number)


def source_line(case: Case, refused: Refused, number: int, note: str) -> tuple[Place, ...]:
    """The line that made a tensor of the call, if that was seen."""
    return case.places((source(case, refused, number).stack, note))


def layer_line(case: Case, refused: Refused, note: str = "") -> Place | None:
    """The line that made the layer."""
    return case.place(refused.layer.stack, note) if refused.layer is not None else None


def shapes(case: Case, refused: Refused) -> str:
    """The tensors of the call with their shapes, in a sentence."""
    return elide_list([shaped(case, refused, number) for number in (*refused.data, *refused.weights[:1])], 4)


def shaped(case: Case, refused: Refused, number: int) -> str:
    """A tensor of the call with its shape: `x (3, 4)`."""
    return f"{case.called(refused.event.step, number)} {shape_of(refused.tensor(number))}"


def dtypes(case: Case, refused: Refused) -> str:
    """The same with their dtypes."""
    named = [
        f"{case.called(refused.event.step, number)} {refused.tensor(number).dtype}"
        for number in (*refused.data, *refused.weights[:1])
    ]
    return elide_list(named, 4)


def born_as(case: Case, refused: Refused, number: int) -> Made:
    """Where a tensor's dtype came in: the first of what it was computed from that has this dtype."""
    one = source(case, refused, number)
    dtype = one.tensor.dtype
    for _ in range(_FAR):
        inputs = one.op.inputs if one.op is not None else ()
        before = (made(case, one.step, other) for other in inputs)
        earlier = next((other for other in before if other.tensor.dtype == dtype and other.key != one.key), None)
        if earlier is None or (earlier.stack is None and earlier.op is None):
            return one
        one = earlier
    return one


_FAR = 200
