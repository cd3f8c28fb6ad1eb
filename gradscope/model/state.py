"""`State`: what held right after one moment of a step, rebuilt from the step's start.

`State.at` replays; `advance` adds one moment. Both give equal states, so a cursor may step either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import reduce
from types import MappingProxyType

from .before import Grads
from .leaf import AutogradStatus
from .moments import (
    Backward,
    Failure,
    GradChange,
    LeafChange,
    ModeChange,
    Moment,
    Move,
    Mutation,
    NodeRun,
    OpCall,
    OptimizerStep,
    changed,
)
from .recorded import RecordedStep
from .records import Phase, Tensor

_OFF = ("off", "False", "")


@dataclass(frozen=True, slots=True)
class TensorState(AutogradStatus):
    """One tensor at a moment. `version` is as torch counts it.

    `exists` is False before the moment that makes it. `has_grad` is None where it is not known: neither the steps
    before nor a moment up to now tells (see `GradsBefore`).
    """

    version: int | None
    device: str
    dtype: str
    exists: bool
    has_grad: bool | None


@dataclass(frozen=True, slots=True)
class Modes:
    """The switches that change what a call does. `training` is by module id, where a change was seen.

    `outside`: what `grad` is again once inference mode ends.
    """

    grad: bool = True
    inference: bool = False
    autocast: str | None = None
    training: Mapping[int, bool] = field(default_factory=lambda: MappingProxyType({}))
    outside: bool = True


@dataclass(frozen=True)
class State:
    """The state right after `moment` of a step; moment -1 is the step's start.

    `ops` are the moments of the calls that have run, `ran` the (graph, node) pairs of grad nodes that
    have, `backward` the grad graph of the backward that is running, or None.
    """

    step: int
    moment: int
    phase: Phase | None
    tensors: Mapping[int, TensorState]
    modes: Modes
    ops: AbstractSet[int]
    ran: AbstractSet[tuple[int, int]]
    backward: int | None
    failed: bool

    @classmethod
    def at(cls, step: RecordedStep, moment: int) -> State:
        """The state right after `moment`. Raises ValueError when the step has no such moment."""
        if not -1 <= moment < len(step.moments):
            raise ValueError(f"step {step.number} has moments 0 to {len(step.moments) - 1}, there is no {moment}")
        draft = Draft(cls.start(step), step)
        for index in range(moment + 1):
            draft.apply(index, step.moments[index])
        return draft.done()

    @classmethod
    def start(cls, step: RecordedStep) -> State:
        """The state before the step's first moment."""
        bases, grads = step.versions, step.grads_before
        tensors = {tensor.number: _met(tensor, bases, grads) for tensor in step.tensors}
        mapping = MappingProxyType(tensors)
        return cls(step.number, -1, None, mapping, _modes_before(step), frozenset(), frozenset(), None, False)

    def advance(self, step: RecordedStep) -> State:
        """The state one moment later. Raises ValueError at the step's end."""
        following = self.moment + 1
        if following >= len(step.moments):
            raise ValueError(f"step {step.number} ends at moment {self.moment}")
        draft = Draft(self, step)
        draft.apply(following, step.moments[following])
        return draft.done()


def replay(step: RecordedStep, moment: int) -> State:
    """`State.at`, by the law: the start advanced moment by moment. Slow; for tests."""
    return reduce(lambda state, _: state.advance(step), range(moment + 1), State.start(step))


def _modes_before(step: RecordedStep) -> Modes:
    """The modes at a step's start: what its first change of each mode changed, or its first call ran under."""
    modes = Modes()
    call = next((moment for moment in step.moments if isinstance(moment, OpCall)), None)
    if call is not None:
        modes = replace(modes, grad=call.grad_enabled, autocast=call.autocast)
    first: dict[str, ModeChange] = {}
    for moment in step.moments:
        if isinstance(moment, ModeChange):
            first.setdefault(moment.mode, moment)
    if "grad" in first:
        modes = replace(modes, grad=not _is_on(first["grad"].value))
    if "inference" in first:
        modes = replace(modes, inference=not _is_on(first["inference"].value))
    if "autocast" in first and first["autocast"].value not in _OFF:
        modes = replace(modes, autocast=None)
    return modes


def _is_on(value: str) -> bool:
    return value.lower() in ("on", "true", "1", "train")


def _met(tensor: Tensor, bases: Mapping[int, int], grads: Grads) -> TensorState:
    version = tensor.version
    if version is not None and tensor.parameter is not None:
        version += bases.get(tensor.parameter, 0)
    before = tensor.made_by is None
    may_have = before and tensor.requires_grad and tensor.is_leaf
    return TensorState(
        exists=before,
        version=version,
        requires_grad=tensor.requires_grad,
        is_leaf=tensor.is_leaf,
        grad_fn=tensor.grad_fn,
        retains_grad=tensor.retains_grad,
        has_grad=grads.of(tensor) if may_have else False,
        device=tensor.device,
        dtype=tensor.dtype,
    )


class Draft:
    """A state being changed, moment by moment: `apply` adds one, `done` is the state.

    A mapping is copied when it is first written to, so that advancing is cheap.
    """

    def __init__(self, state: State, step: RecordedStep) -> None:
        self.state = state
        self.step = step
        self.moment = state.moment
        self.phase = state.phase
        self.modes = state.modes
        self.backward = state.backward
        self.failed = state.failed
        self._tensors: dict[int, TensorState] | None = None
        self._ops: set[int] = set()
        self._ran: set[tuple[int, int]] = set()
        self._bases = step.versions

    def done(self) -> State:
        state = self.state
        return State(
            state.step,
            self.moment,
            self.phase,
            state.tensors if self._tensors is None else MappingProxyType(self._tensors),
            self.modes,
            state.ops | self._ops if self._ops else state.ops,
            state.ran | self._ran if self._ran else state.ran,
            self.backward,
            self.failed,
        )

    def apply(self, index: int, moment: Moment) -> None:
        self.moment = index
        self.phase = moment.phase
        if not isinstance(moment, (NodeRun, GradChange, Backward)):
            self.backward = None
        if isinstance(moment, OpCall):
            self._ops.add(index)
            self._made(moment.outputs)
            if moment.grad_enabled is not self.modes.grad:
                self.modes = replace(self.modes, grad=moment.grad_enabled)
        elif isinstance(moment, Mutation):
            self._written(moment)
        elif isinstance(moment, LeafChange):
            self._made((moment.tensor,))
            self._put(moment.tensor, changed(self._tensor(moment.tensor), moment))
        elif isinstance(moment, Move):
            self._moved(moment)
        elif isinstance(moment, GradChange):
            for tensor in moment.tensors:
                self._change(tensor, has_grad=moment.has_grad)
        else:
            self._apply_rare(moment)

    def _apply_rare(self, moment: Moment) -> None:
        if isinstance(moment, ModeChange):
            self._mode(moment)
        elif isinstance(moment, Backward):
            self.backward = moment.graph
        elif isinstance(moment, NodeRun):
            self.backward = moment.graph
            self._ran.add((moment.graph, moment.node))
        elif isinstance(moment, OptimizerStep):
            self._updated(moment)
        elif isinstance(moment, Failure):
            self.failed = self.failed or not moment.caught

    def _updated(self, moment: OptimizerStep) -> None:
        bases = self.step.versions
        for tensor, (_, after) in zip(moment.updated, moment.versions):
            parameter = self.step.tensors[tensor].parameter
            self._change(tensor, version=after + (bases.get(parameter, 0) if parameter is not None else 0))

    def _tensor(self, tensor: int) -> TensorState:
        return (self._tensors if self._tensors is not None else self.state.tensors)[tensor]

    def _change(self, tensor: int, **facts: object) -> None:
        self._put(tensor, replace(self._tensor(tensor), **facts))  # type: ignore[arg-type]

    def _put(self, tensor: int, now: TensorState) -> None:
        if self._tensors is None:
            self._tensors = dict(self.state.tensors)
        self._tensors[tensor] = now

    def _made(self, tensors: Iterable[int]) -> None:
        for tensor in tensors:
            if not self._tensor(tensor).exists:
                self._change(tensor, exists=True)

    def _written(self, moment: Mutation) -> None:
        if moment.after is None:
            return
        parameter = self.step.tensors[moment.tensor].parameter
        base = self._bases.get(parameter, 0) if parameter is not None else 0
        self._change(moment.tensor, version=moment.after + base)
        for alias in moment.aliases:
            version = self._tensor(alias).version
            if version is not None and moment.before is not None:
                self._change(alias, version=version + moment.after - moment.before)

    def _moved(self, moment: Move) -> None:
        if moment.target is not None:
            self._made((moment.target,))
            self._change(moment.target, device=moment.to_device, dtype=moment.to_dtype, is_leaf=moment.is_leaf)

    def _mode(self, moment: ModeChange) -> None:
        if moment.mode == "grad":
            self.modes = replace(self.modes, grad=_is_on(moment.value))
        elif moment.mode == "inference":
            now = self.modes
            begins = _is_on(moment.value)
            grad, outside = (now.grad, now.grad) if begins else (now.outside, now.outside)
            self.modes = replace(now, inference=begins, grad=grad, outside=outside)
        elif moment.mode == "autocast":
            self.modes = replace(self.modes, autocast=None if moment.value in _OFF else moment.value)
        elif moment.mode == "training" and moment.module is not None:
            training = {**self.modes.training, moment.module: _is_on(moment.value)}
            self.modes = replace(self.modes, training=MappingProxyType(training))
