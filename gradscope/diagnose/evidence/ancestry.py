"""What a tensor was computed from, across the steps that carried it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.moments import Backward, LeafChange, Mutation, OpCall
from ...model.order import reached
from ...model.records import Tensor
from ...model.trace import Step
from .index import Case, once_a_step
from .torch_errors import ErrorKind
from .writes import op_of

# What may lie between a leaf and a copy of it, and an update that makes a new tensor.
_RELABELS = op_kinds.CASTS | op_kinds.COPIES | op_kinds.VIEWS | op_kinds.SCALES | op_kinds.SHIFTS
_UPDATES = op_kinds.SHIFTS | op_kinds.INTERPOLATES
_FAR = 2_000  # tensors that a search looks at, at most
_NEAR = 64


class Made(NamedTuple):
    """A tensor where it was first met, and the op that made it there (None: a leaf, or not seen)."""

    step: Step
    number: int
    op: OpCall | None
    moment: int
    stack: int | None

    @property
    def tensor(self) -> Tensor:
        return self.step.tensors[self.number]

    @property
    def key(self) -> tuple[int, int]:
        return self.step.number, self.number


def made(case: Case, step: Step, tensor: int) -> Made:
    """Where a tensor of `step` comes from. `stack` is the call that made it, if that was seen."""
    parameter = step.tensors[tensor].parameter
    if parameter is not None:
        home, number = case.first_met[parameter]
        record = home.tensors[number]
    else:
        home, record = case.original(step, tensor)
    op = home.maker(record.number)
    op = op if op is not None and record.number not in op.inputs else None
    stack = op.stack if op is not None else None
    if op is None and parameter is not None:
        changes = case.events(LeafChange, home)
        wraps = (c.moment for c in changes if c.moment.tensor == record.number and c.moment.cause == "Parameter")
        stack = next((wrap.stack for wrap in wraps), None)
    return Made(home, record.number, op, record.made_by if op is not None and record.made_by is not None else -1, stack)


def ancestors(case: Case, step: Step, tensor: int) -> Sequence[Made]:
    """The tensor and all that it was computed from, nearest first, each once."""
    return reached([made(case, step, tensor)], lambda one: _made_of(case, one), _FAR)


def _made_of(case: Case, one: Made) -> Iterator[Made]:
    return (made(case, one.step, number) for number in (one.op.inputs if one.op is not None else ()))


class Copy(NamedTuple):
    """A result that was made of one leaf alone, by ops that took nothing else that wants a gradient.

    `ops` lead from the leaf to the copy: the first is the one that made it no leaf.
    """

    leaf: Made
    first: Made
    ops: tuple[OpCall, ...]


def copy_of_leaf(case: Case, step: Step, tensor: int) -> Copy | None:
    """The leaf that a non-leaf was made of by moving, scaling or reshaping it alone; None for other results."""
    one = made(case, step, tensor)
    ops: list[OpCall] = []
    while one.op is not None and one.op.name in _RELABELS and len(ops) < 8:
        wanting = [number for number in one.op.inputs if one.step.tensors[number].requires_grad]
        if len(set(wanting)) != 1:
            return None
        ops.append(one.op)
        source = made(case, one.step, wanting[0])
        if source.op is None or source.tensor.is_leaf:
            return Copy(source, one, tuple(reversed(ops))) if source.tensor.is_leaf else None
        one = source
    return None


def comes_of_gradient(case: Case, step: Step, tensor: int, leaf: int) -> bool:
    """Whether a tensor of `step` was computed from the gradient of `leaf`, a tensor of the same step.

    A buffer that a gradient was added to (momentum) comes of it too.
    """
    wanted, shape = step.tensors[leaf].storage, step.tensors[leaf].shape
    waiting, seen = [tensor], {tensor}
    writers = _writers(case, step)
    for number in waiting:
        record = step.tensors[number]
        if record.gradient_of is not None and step.tensors[record.gradient_of].storage == wanted:
            return True
        made = step.maker(number)
        if made is not None and made.name == "grad" and record.shape == shape:  # torch.autograd.grad
            return any(step.tensors[other].storage == wanted for other in made.inputs)
        for op in (*([made] if made is not None else ()), *writers.get(number, ())):
            fresh = [other for other in op.inputs if other not in seen]
            if len(seen) < _NEAR:
                seen.update(fresh)
                waiting += fresh
    return False


@once_a_step
def _writers(case: Case, step: Step) -> Mapping[int, Sequence[OpCall]]:
    """The ops of a step that worked in place, by the tensor that they wrote."""
    found: dict[int, list[OpCall]] = defaultdict(list)
    for event in case.events(Mutation, step):
        op = step.op(op_of(step, event.position))
        if op is not None and event.moment.tensor in op.inputs:
            found[event.moment.tensor].append(op)
    return found


@once_a_step
def _knows_gradients(case: Case, step: Step) -> bool:
    """Whether the script itself got hold of a gradient in the step."""
    asked = (event.moment for event in case.calls("grad", step=step))
    return any(tensor.gradient_of is not None for tensor in step.tensors) or any(call.outputs for call in asked)


def is_update(case: Case, step: Step, op: OpCall) -> int | None:
    """The leaf that an op such as `w - lr * w.grad` takes one step of, a number of `step`; None for other ops."""
    makes_one = len(op.outputs) == 1 and op.outputs[0] not in op.inputs
    if op.name not in _UPDATES or not makes_one or not _knows_gradients(case, step):
        return None
    result = step.tensors[op.outputs[0]]
    for number in op.inputs:
        record = step.tensors[number]
        if record.shape == result.shape and (record.is_leaf or record.requires_grad):
            others = [other for other in op.inputs if other != number]
            if any(comes_of_gradient(case, step, other, number) for other in others):
                return number
    return None


def update_behind(case: Case, step: Step, tensor: int) -> tuple[Made, int] | None:
    """The nearest update under no_grad that a tensor was computed from, and the leaf that it is one step of."""
    for one in ancestors(case, step, tensor):
        leaf = is_update(case, one.step, one.op) if one.op is not None else None
        if leaf is not None and not one.tensor.requires_grad:
            return one, leaf
    return None


def root_without_graph(case: Case) -> int | None:
    """What the backward that ended the script started from, if it raised because there is no graph behind it."""
    event = case.refusal
    if event is None or case.error.kind is not ErrorKind.NO_GRAPH:
        return None
    failed = next((b.moment for b in reversed(list(case.events(Backward, event.step))) if b.moment.error), None)
    return failed.roots[0] if failed is not None and failed.roots else None
