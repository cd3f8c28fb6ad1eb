"""What happens in a step: its moments, one class a kind, and the template that they make up.

As in `records`, all is made of JSON values and other records only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar, Union, get_args

from .arguments import Given
from .leaf import AutogradStatus
from .records import GradGraph, Phase, Tensor

NOT_TOLD = -1  # the op of a mutation, where the trace does not tell it


@dataclass(frozen=True, slots=True)
class _Moment:
    kind: ClassVar[str] = ""
    phase: Phase
    stack: int | None


@dataclass(frozen=True, slots=True)
class OpCall(_Moment):
    """One call at the Python surface of torch. `inputs`/`outputs` are tensor numbers.

    `behind` is the stack of the user's code behind the call: the `return` of a custom Function's
    backward, the `return` of a hook that is registered, the line that made the DataLoader of a batch.
    `direct`: the script's own line made the call, not code of torch that it called (`nn.ReLU.forward`).
    """

    kind: ClassVar[str] = "op"
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    module: int | None = None
    module_call: int | None = None  # which call of that module within the step
    grad_nodes: int = 0
    grad_enabled: bool = True
    autocast: str | None = None
    arguments: str = ""  # `given` in words, without tensors; all that there is of them in older traces
    behind: int | None = None
    direct: bool = True
    given: Given | None = None  # the arguments, where they were recorded (detail `full`)


@dataclass(frozen=True, slots=True)
class Mutation(_Moment):
    """A tensor's memory was written. `before`/`after` are versions, relative like `Tensor.version`.

    `counted` is False when the write went past the version counter (`.data`, numpy, `set_`). `aliases` are
    the other tensors of the step whose version rose with it, as far: views, bases, detached ones. `op` is the moment of
    the call that wrote; None where none that was seen did, `NOT_TOLD` in older traces: see `writers.op_of`.
    """

    kind: ClassVar[str] = "mutation"
    tensor: int
    before: int | None
    after: int | None
    cause: str
    counted: bool = True
    aliases: tuple[int, ...] = ()
    op: int | None = NOT_TOLD


@dataclass(frozen=True, slots=True)
class Move(_Moment):
    """A copy to another device or dtype. `module` is set for `Module.to` and friends."""

    kind: ClassVar[str] = "move"
    source: int | None
    target: int | None
    from_device: str
    to_device: str
    from_dtype: str
    to_dtype: str
    nbytes: int
    is_leaf: bool
    module: int | None = None


@dataclass(frozen=True, slots=True)
class ModeChange(_Moment):
    """`mode`: grad, inference, autocast, training. `value` is the new state."""

    kind: ClassVar[str] = "mode"
    mode: str
    value: str
    module: int | None = None


@dataclass(frozen=True, slots=True)
class LeafChange(_Moment):
    """A tensor's autograd status changed, or a tensor with another status was made from `source`.

    `cause`: requires_grad_, detach, detach_, data, Parameter, retain_grad, in-place.
    """

    kind: ClassVar[str] = "leaf"
    tensor: int
    source: int | None
    cause: str
    requires_grad: bool
    is_leaf: bool
    grad_fn: str | None
    retains_grad: bool


_Status = TypeVar("_Status", bound=AutogradStatus)


def changed(status: _Status, change: LeafChange) -> _Status:
    """The status that a change left a tensor with."""
    return replace(
        status,
        requires_grad=change.requires_grad,
        is_leaf=change.is_leaf,
        grad_fn=change.grad_fn,
        retains_grad=change.retains_grad,
    )


@dataclass(frozen=True, slots=True)
class Backward(_Moment):
    """A call of `backward()` or `torch.autograd.grad()`.

    `graph` indexes `Template.graphs`; -1 where graphs are not recorded (detail `steps`).
    """

    kind: ClassVar[str] = "backward"
    call: str  # "backward" | "grad"
    graph: int
    roots: tuple[int, ...]
    inputs: tuple[int, ...] = ()
    retain_graph: bool = False
    create_graph: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NodeRun(_Moment):
    """One grad node's execution (detail `full`). Its samples hold the gradients in and out."""

    kind: ClassVar[str] = "node"
    graph: int
    node: int


@dataclass(frozen=True, slots=True)
class GradChange(_Moment):
    """The `.grad` of `tensors` changed, all alike, in this order.

    `change`: created, accumulated, zeroed, cleared (to None), assigned, modified.
    """

    kind: ClassVar[str] = "grad"
    tensors: tuple[int, ...]
    change: str
    has_grad: bool


@dataclass(frozen=True, slots=True)
class ZeroGrad(_Moment):
    """`zero_grad()` of the optimizer with that number, or of a module (None)."""

    kind: ClassVar[str] = "zero_grad"
    owner: str
    set_to_none: bool
    optimizer: int | None = None


@dataclass(frozen=True, slots=True)
class OptimizerChange(_Moment):
    """An optimizer was built (`group` is None), or got another parameter group."""

    kind: ClassVar[str] = "optimizer_change"
    optimizer: int
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Registration(_Moment):
    """A module of class `owner` got an attribute: a parameter, or a module with these parameters.

    Recorded where the script's own line registers a parameter, and for all once there is an optimizer.
    """

    kind: ClassVar[str] = "registration"
    owner: str
    name: str
    tensors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OptimizerStep(_Moment):
    """`optimizer.step()`; learning rates are in `StepRow.learning_rates`.

    `updated` are the tensors it wrote to, `versions` their (before, after), relative like `Tensor.version`.
    The two are equal where it wrote past the version counter (`p.data.add_`; known at detail `full`).
    """

    kind: ClassVar[str] = "optimizer"
    optimizer: int
    updated: tuple[int, ...]
    versions: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SchedulerStep(_Moment):
    kind: ClassVar[str] = "scheduler"
    name: str
    optimizer: int | None


@dataclass(frozen=True, slots=True)
class ScalerCall(_Moment):
    """A `GradScaler` call: scale, unscale_, step, update. A scaler that is not enabled passes all through."""

    kind: ClassVar[str] = "scaler"
    call: str
    optimizer: int | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Failure(_Moment):
    """An exception left the script here (or a torch call, if the script caught it).

    `inputs` are the tensors that the failed call was given. `behind` is the stack of the script's line that torch
    worked for: the call of a function transform (vmap), the `return` of a dataset that a worker process asked.
    """

    kind: ClassVar[str] = "failure"
    type: str
    message: str
    call: str = ""
    caught: bool = False
    inputs: tuple[int, ...] = ()
    behind: int | None = None


@dataclass(frozen=True, slots=True)
class Note(_Moment):
    """Something a reader should know: compiled region not seen, recorder fault, manual mark."""

    kind: ClassVar[str] = "note"
    text: str


Moment = Union[
    OpCall,
    Mutation,
    Move,
    ModeChange,
    LeafChange,
    Backward,
    NodeRun,
    GradChange,
    ZeroGrad,
    OptimizerChange,
    OptimizerStep,
    Registration,
    SchedulerStep,
    ScalerCall,
    Failure,
    Note,
]

MOMENT_TYPES: tuple[type[Moment], ...] = get_args(Moment)


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """One call of a module: `call` counts that module's calls in the step, `stack` is where it was called.

    `training` is the module's flag then, `moment` the first moment from the call's start on, `parent` the
    call (a position in `Template.calls`) that made this one.
    """

    module: int
    call: int
    stack: int | None
    training: bool
    moment: int
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """What a step did, in step-local terms. Steps that repeat share one.

    `broken`: why what the step did cannot be told. Such a template holds one `Note` that says so, see `spec.damaged`.
    """

    id: int
    tensors: tuple[Tensor, ...]
    moments: tuple[Moment, ...]
    graphs: tuple[GradGraph, ...]
    version_bumps: tuple[tuple[int, int], ...] = ()  # (parameter id, how far its version rises)
    calls: tuple[ModuleCall, ...] = ()  # in the order they began
    broken: str | None = None
