"""The data flow of a step: which call read which tensor, in which state, and what it returned.

A `Value` is one tensor between two writes to its memory: `y = x * 2; y.mul_(3)` gives two values of `y`.
So every call reads older values and makes newer ones, and the flow has no cycle, views included.
Parameters and buffers stay one value; the writes to them are notes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .leaf import AutogradStatus
from .moments import Backward, LeafChange, Moment, Move, Mutation, OpCall, OptimizerStep, changed
from .op_kinds import DETACHES, LEAVES_TORCH, read_inputs
from .recorded import RecordedStep
from .records import Tensor
from .writers import op_of

_NONE: frozenset[str] = frozenset()
_MUTATED, _MOVED = frozenset({"mutated"}), frozenset({"moved"})


@dataclass(slots=True)
class Value:
    """A tensor between two writes. `call` made it (a position in `Flow.calls`), at `moment`.

    `born` counts the calls before it, `order` the tensor's values before it; `tracked` says that a
    parameter or a tensor that needs a gradient lies upstream (or is it); `used` that a call made
    something from it. `filled` is the moment of the last write before any use: its initialisation.
    """

    id: int
    tensor: int
    call: int | None
    moment: int | None
    born: int
    status: AutogradStatus
    version: int | None
    tracked: bool
    order: int = 0
    used: bool = False
    filled: int | None = None
    notes: tuple[str, ...] = ()
    marks: frozenset[str] = _NONE


@dataclass(slots=True)
class Call:
    """One call: the values (positions in `Flow.values`) it read and made.

    `cut` says why no gradient passes: detach, no_grad, inference_mode, readout, no derivative; "" if
    it does pass or none could.
    """

    moment: int
    name: str
    inputs: tuple[int, ...]
    outputs: list[int]
    cut: str = ""


@dataclass(frozen=True, slots=True)
class _Write:
    """The last write to a storage: the tensor and the call that wrote, the version it left, and the note about it."""

    tensor: int
    call: int
    after: int | None
    counted: bool
    note: str


class Flow:
    """The flow of a step's moments before `end`. `place(stack)` words a line, as in "train.py:12".

    `roots` are the values that each backward started at, by its moment.
    """

    def __init__(self, step: RecordedStep, end: int, place: Callable[[int | None], str], first_id: int) -> None:
        self.moments: Sequence[Moment] = step.moments
        self.tensors: Sequence[Tensor] = step.tensors
        self.values: list[Value] = []
        self.calls: list[Call] = []
        self.roots: dict[int, tuple[int, ...]] = {}
        self.of_tensor: dict[int, list[int]] = {}
        self._absolute = step.absolute
        self._optimizer_name = step.trace.optimizer_name
        self._place = place
        self._next_id = first_id
        self._writes: dict[int, _Write] = {}
        self._shared: dict[int, int] = {}
        self._rewrites: dict[tuple[int, int], int] = {}
        for index in range(end):
            self._follow(index, self.moments[index])

    def last(self, tensor: int) -> int:
        """The tensor's newest value; one is made for a tensor that no moment mentioned."""
        return self._read(tensor)

    def made_by(self, tensor: int, op: int | None) -> int:
        """The tensor's value that the op of moment `op` made, else its newest."""
        found = self.of_tensor.get(tensor)
        if op is not None and found:
            if self.values[found[0]].moment == op:
                return found[0]
            if len(found) > 1 and (tensor, op) in self._rewrites:
                return self._rewrites[tensor, op]
        return self._read(tensor)

    # -- moments -----------------------------------------------------------------------------------

    def _follow(self, index: int, moment: Moment) -> None:
        if isinstance(moment, OpCall):
            self._op(index, moment)
        elif isinstance(moment, Mutation):
            self._mutation(index, moment)
        elif isinstance(moment, LeafChange):
            self._leaf_change(index, moment)
        elif isinstance(moment, Move):
            self._move(moment)
        elif isinstance(moment, OptimizerStep):
            self._updated(moment)
        elif isinstance(moment, Backward):
            self.roots[index] = tuple(self._read(root) for root in moment.roots)

    def _op(self, index: int, op: OpCall) -> None:
        inputs = tuple(self._read(tensor) for tensor in read_inputs(op))
        position = len(self.calls)
        call = Call(index, op.name, inputs, [])
        self.calls.append(call)
        tracked = any(self.values[value].tracked for value in inputs)
        for tensor in op.outputs:
            if tensor not in self.of_tensor:  # else it is returned as it was, or a Mutation follows
                call.outputs.append(self._new(tensor, position, index, tracked))
        if call.outputs:
            for value in inputs:
                self.values[value].used = True
        if op.name in DETACHES and len(op.inputs) == 1 == len(call.outputs):
            self._shared[op.outputs[0]] = self._storage(op.inputs[0])
        if any(self.values[value].status.requires_grad for value in inputs):
            call.cut = self._cut(op, call)

    def _cut(self, op: OpCall, call: Call) -> str:
        if not op.outputs:
            return "readout" if op.name in LEAVES_TORCH else ""
        if not call.outputs or any(self.values[value].status.requires_grad for value in call.outputs):
            return ""
        if op.name in DETACHES:
            return "detach"
        if any(self.tensors[tensor].is_inference for tensor in op.outputs):
            return "inference_mode"
        return "no derivative" if op.grad_enabled else "no_grad"

    def _mutation(self, index: int, moment: Mutation) -> None:
        tensor = self.tensors[moment.tensor]
        old = self.values[self._read(moment.tensor)]
        writer = self._writer_of(index)
        if writer is not None and old.call == writer:
            return  # the call made the tensor, or wrote it through an alias
        if writer is None and moment.after is not None and old.version == self._absolute(moment.tensor, moment.after):
            return  # what was noticed late is told already: an alias was written
        if not old.used and self._initialises(moment, old, writer):
            old.filled = index if writer is None else self.calls[writer].moment
            old.version = self._absolute(moment.tensor, moment.after)
            return
        note = self._mutation_note(moment)
        old.marks |= _MUTATED
        old.notes += (note,)
        after = self._absolute(moment.tensor, moment.after)
        if writer is None or tensor.parameter is not None:
            old.version = after if after is not None else old.version
            return
        write = _Write(moment.tensor, writer, after, moment.counted, note)
        self._writes[self._storage(moment.tensor)] = write
        self._rewritten(moment.tensor, write)

    def _initialises(self, moment: Mutation, value: Value, writer: int | None) -> bool:
        """Whether a write fills memory that nothing has used yet: `torch.empty(3).uniform_()`, a layer's weights."""
        if value.filled is not None:
            return True
        if self.tensors[moment.tensor].parameter is not None:
            return self._absolute(moment.tensor, moment.before) == 0
        made_from_nothing = value.call is not None and not self.calls[value.call].inputs
        return made_from_nothing and (writer is None or len(set(self.calls[writer].inputs)) <= 1)

    def _updated(self, moment: OptimizerStep) -> None:
        """An optimizer's update before a later backward of the step: what that backward saved may be stale."""
        where = f"{self._optimizer_name(moment.optimizer)}.step at {self._place(moment.stack)}"
        for tensor, (before, after) in zip(moment.updated, moment.versions, strict=False):
            value = self.values[self._current(tensor)]
            value.version = self._absolute(tensor, after)
            if not value.used:
                continue
            value.marks |= _MUTATED
            value.notes += (f"version {self._absolute(tensor, before)} -> {value.version} by {where}",)

    def _writer_of(self, mutation: int) -> int | None:
        """The call that wrote, one of the last; None where the memory was written by something that is no call."""
        op = op_of(self.moments, mutation)
        position = len(self.calls) - 1
        while position >= 0 and op is not None and self.calls[position].moment > op:
            position -= 1
        return position if op is not None and position >= 0 and self.calls[position].moment == op else None

    def _mutation_note(self, moment: Mutation) -> str:
        where = f"{moment.cause} at {self._place(moment.stack)}"
        if not moment.counted:
            return f"written by {where}, unseen by autograd: no version counts it"
        before, after = (self._absolute(moment.tensor, version) for version in (moment.before, moment.after))
        return f"version {before} -> {after} by {where}" if after is not None else f"written by {where}"

    def _leaf_change(self, index: int, moment: LeafChange) -> None:
        source = self._read(moment.source) if moment.source not in (None, moment.tensor) else None
        position = self._read(moment.tensor)
        value = self.values[position]
        unexplained = value.call is None or not self.calls[value.call].inputs
        if source is not None and source < position and unexplained:
            detaches = moment.cause in DETACHES or moment.cause == "Parameter"
            cut = "detach" if detaches and self.values[source].status.requires_grad else ""
            value.call, value.moment = len(self.calls), index
            value.tracked = value.tracked or self.values[source].tracked
            self.calls.append(Call(index, moment.cause, (source,), [position], cut))
        value.status = changed(value.status, moment)
        value.tracked = value.tracked or moment.requires_grad
        if moment.cause in ("requires_grad_", "retain_grad"):
            value.notes += (f"{moment.cause} at {self._place(moment.stack)}",)

    def _move(self, moment: Move) -> None:
        if moment.target is None:
            return
        value = self.values[self._read(moment.target)]
        value.marks |= _MOVED
        devices = moment.from_device != moment.to_device
        before, after = (moment.from_device, moment.to_device) if devices else (moment.from_dtype, moment.to_dtype)
        value.notes += (f"{before} -> {after} at {self._place(moment.stack)}",)

    # -- values ------------------------------------------------------------------------------------

    def _new(self, tensor: int, call: int | None, moment: int | None, tracked: bool) -> int:
        """The first value of a tensor, with the facts it was met with."""
        facts = self.tensors[tensor]
        self.of_tensor[tensor] = [len(self.values)]
        self.values.append(
            Value(
                tensor,
                tensor,
                call,
                moment,
                len(self.calls),
                facts,
                self._absolute(tensor, facts.version),
                tracked or facts.requires_grad or facts.role == "parameter",
            )
        )
        return len(self.values) - 1

    def _current(self, tensor: int) -> int:
        found = self.of_tensor.get(tensor)
        return found[-1] if found else self._new(tensor, None, self.tensors[tensor].made_by, False)

    def _read(self, tensor: int) -> int:
        """The tensor's value as a call now finds it: an alias may have written to its memory."""
        position = self._current(tensor)
        facts = self.tensors[tensor]
        write = self._writes.get(self._storage(tensor)) if self._writes else None
        if write is None or facts.parameter is not None or self.values[position].born > write.call:
            return position
        old = self.values[position]
        old.marks |= _MUTATED
        old.notes += (write.note,)
        if self._views(tensor, write.tensor):
            return self._rewritten(tensor, write)
        old.born = len(self.calls)  # an alias that autograd does not follow (detach, .data): only a note
        old.version = write.after if write.counted and old.version is not None else old.version
        return position

    def _storage(self, tensor: int) -> int:
        """The memory a tensor lies in; what `detach` and `.data` return shares their input's, whatever its number."""
        return self._shared.get(tensor, self.tensors[tensor].storage)

    def _views(self, one: int, other: int) -> bool:
        """Whether one tensor is a view of the other, or both are of a third: autograd follows writes through them."""
        base, other_base = self.tensors[one].base, self.tensors[other].base
        return base == other or other_base == one or (base is not None and base == other_base)

    def _rewritten(self, tensor: int, write: _Write) -> int:
        """The tensor's value after `write`, one more output of the call that wrote."""
        old = self.values[self.of_tensor[tensor][-1]]
        call = self.calls[write.call]
        position = len(self.values)
        bumped = write.counted and old.version is not None
        tracked = old.tracked or any(self.values[value].tracked for value in call.inputs)
        self.values.append(
            Value(
                self._next_id,
                tensor,
                write.call,
                call.moment,
                len(self.calls),
                old.status,
                write.after if bumped else old.version,
                tracked,
                old.order + 1,
            )
        )
        self._next_id += 1
        self.of_tensor[tensor].append(position)
        self._rewrites[tensor, call.moment] = position
        call.outputs.append(position)
        return position
