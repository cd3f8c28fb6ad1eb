"""The facts a trace is made of: small, frozen, free of tensors and of torch.

A trace is a list of steps. Each step points to a `Template` (what happened, in which order, with
step-local tensor numbers) and adds what differs from its siblings (times, loss, learning rates,
statistics, absolute versions). Templates, sites and stacks are shared by all steps that equal them.

Every record is made of JSON values and other records only, so `to_json`/`from_json` are exact inverses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, NamedTuple, TypeVar, Union, get_args

from .leaf import AutogradStatus

Json = Union[None, bool, int, float, str, "list[Json]", "dict[str, Json]"]


LOADER = "DataLoader"  # the name of the op that gives a DataLoader's next batch


class Phase(str, Enum):
    """The part of a step in which a moment lies."""

    ZERO_GRAD = "zero_grad"
    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    OPTIMIZER_STEP = "optimizer_step"
    SCHEDULER_STEP = "scheduler_step"
    EVAL = "eval"
    OTHER = "other"


class StepKind(str, Enum):
    """What one step is an iteration of. `SETUP` is what ran before the first loop."""

    SETUP = "setup"
    TRAIN = "train"
    EVAL = "eval"
    OTHER = "other"


class Detail(str, Enum):
    """How much is recorded; see `CaptureOptions.detail`.

    Of one step: exact at `graph` or `full`, matched, or light at `steps` (see `model.watching`).
    """

    AUTO = "auto"
    STEPS = "steps"
    GRAPH = "graph"
    FULL = "full"
    MATCHED = "matched"  # of one step: it passed what a step recorded at `graph` did; its single ops were not watched


@dataclass(frozen=True, slots=True)
class Site:
    """One place in the user's source: the expression that made a call.

    `line` and `end_line` are 1-based, `column` 0-based. `code` is the source text of the statement's
    line; `expression` the exact call when it could be told apart from its neighbours, else "". `targets` are
    the names that the statement binds the value to.
    """

    id: int
    file: str
    line: int
    end_line: int
    column: int
    function: str
    code: str
    expression: str = ""
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stack:
    """A call stack of user frames: site ids, innermost first."""

    id: int
    sites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """One `nn.Module` seen running. `path` is its qualified name inside its root ("" for the root).

    `stack` is the call that made it, if that was recorded: the line with `nn.ReLU(inplace=True)`.
    """

    id: int
    root: str
    path: str
    type: str
    parent: int | None
    stack: int | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A tensor that outlives steps: a parameter, a buffer, or a leaf the script updates by hand.

    `name` is the qualified name in its root module (`fc1.weight`), or the variable's name; `root` is "" where no
    module that ran has it. `stack` is where it was made, None if that was not seen.
    """

    id: int
    name: str
    root: str
    role: str  # "parameter" | "buffer" | "leaf"
    shape: tuple[int, ...]
    dtype: str
    device: str
    requires_grad: bool
    nbytes: int
    optimizers: tuple[int, ...] = ()
    stack: int | None = None


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One optimizer: its class and the parameters of each group.

    `stack` is where it was built, None if that was not seen. `settings` are its defaults as text (lr, momentum, …),
    `state` names what it remembers of each parameter from step to step (exp_avg, momentum_buffer).
    """

    id: int
    name: str
    type: str
    groups: tuple[tuple[int, ...], ...]
    stack: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    state: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tensor(AutogradStatus):
    """One tensor as it was when the step first met it; `number` is local to the step.

    `made_by` is the index of the moment that returned it, None when it came from before the step.
    A size in `shape` that is not known is -1.
    `storage` numbers storages within the step: tensors with equal numbers are aliases. `version` is
    relative to the step's start for parameters (see `StepRow.versions`) and, in a trace's templates, for
    the tensors in `StepRow.shifts`; `Step.template` has it absolute for these.
    """

    number: int
    name: str
    shape: tuple[int, ...]
    layout: str
    is_inference: bool
    storage: int
    nbytes: int
    is_view: bool = False
    base: int | None = None
    parameter: int | None = None
    made_by: int | None = None
    output: int = 0
    role: str = "tensor"  # "parameter" | "buffer" | "leaf" | "input" | "tensor"
    first_use: int | None = None  # stack in which the step first met it
    carried: bool = False  # made in an earlier step; StepRow.carried says where it was met last
    gradient_of: int | None = None  # the script read it as this tensor's `.grad`


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """A tensor that a grad node keeps for its backward. `stale`: changed in place since it was saved."""

    name: str
    tensor: int | None
    version: int | None
    nbytes: int
    stale: bool = False


@dataclass(frozen=True, slots=True)
class GradNode:
    """One node of a backward graph. `op` is the moment (of this step) that made it, if it is known."""

    index: int
    name: str
    op: int | None = None
    tensor: int | None = None  # AccumulateGrad: the leaf it fills
    stack: int | None = None
    module: int | None = None
    saved: tuple[SavedTensor, ...] = ()
    carried: bool = False  # made in an earlier step
    output_tensors: tuple[int, ...] = ()  # step-local tensors whose grad_fn is this node
    hooks: int = 0


@dataclass(frozen=True, slots=True)
class GradEdge:
    """`source.next_functions[index]` is (`target`, `input_nr`)."""

    source: int
    target: int
    index: int
    input_nr: int


@dataclass(frozen=True, slots=True)
class GradGraph:
    """The autograd DAG that one backward ran through, roots first. Node `index` is its position."""

    nodes: tuple[GradNode, ...]
    edges: tuple[GradEdge, ...]
    roots: tuple[int, ...]


# -- moments -------------------------------------------------------------------------------------


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
    arguments: str = ""  # non-tensor arguments, elided
    behind: int | None = None
    direct: bool = True


@dataclass(frozen=True, slots=True)
class Mutation(_Moment):
    """A tensor's memory was written. `before`/`after` are versions, relative like `Tensor.version`.

    `counted` is False when the write went past the version counter (`.data`, numpy, `set_`). `aliases` are
    the other tensors of the step whose version rose with it, as far: views, bases, detached ones.
    """

    kind: ClassVar[str] = "mutation"
    tensor: int
    before: int | None
    after: int | None
    cause: str
    counted: bool = True
    aliases: tuple[int, ...] = ()


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

    `inputs` are the tensors that the failed call was given.
    """

    kind: ClassVar[str] = "failure"
    type: str
    message: str
    call: str = ""
    caught: bool = False
    inputs: tuple[int, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of one tensor, in float64. `norm` is the 2-norm; NaN and Inf count as themselves."""

    numel: int
    sum: float
    mean: float
    norm: float
    min: float
    max: float
    zeros: int
    nans: int
    infs: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Statistics (and, up to 16 elements, values) of one tensor at one moment of one step.

    `what`: value, grad, grad_in, grad_out (of the grad node that `moment` ran), update, derivative.
    `subject` is a parameter id if `of_parameter`, else a tensor number; for grad_in/grad_out it is
    the position among the node's gradients. `values` are flat, row-major. derivative: up to 16 triples
    (x, the derivative that a custom Function's backward gave, the slope of its forward's results around x).
    """

    step: int
    moment: int  # -1: at the step's start
    subject: int
    of_parameter: bool
    what: str
    stats: Stats | None
    values: tuple[float, ...] | None = None
    shape: tuple[int, ...] = ()


class PhaseSpan(NamedTuple):
    """A stretch of one phase: first moment, seconds from the step's start, duration in seconds."""

    phase: Phase
    moment: int
    start: float
    duration: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A result with a graph that outlived its step: tensor `tensor` of step `step` was alive in a later one.

    `holder` is what keeps it, as code (`self.outputs`); "" if that was not found. `stack` is the statement that
    put it there.
    """

    step: int
    tensor: int
    holder: str = ""
    stack: int | None = None


class StepRow(NamedTuple):
    """One step: its template and what it adds. Times in seconds since the trace's start.

    At detail `full`: `kept` are results of earlier steps that were found alive, with their graphs, at this
    step's end for the first time; `alive` counts all of them, and the grad nodes behind these and the step's own
    living results (-1: not counted).
    """

    number: int
    kind: StepKind
    detail: Detail
    template: int
    start: float
    duration: float
    loss: float | None = None
    learning_rates: tuple[tuple[int, int, float], ...] = ()  # (optimizer, group, lr)
    phases: tuple[PhaseSpan, ...] = ()
    versions: tuple[tuple[int, int], ...] = ()  # (parameter, version) where counting on would be wrong
    carried: tuple[tuple[int, int, int], ...] = ()  # (tensor, step that met it last, its number there)
    memory: tuple[int, int] | None = None  # CUDA bytes allocated, reserved
    norms: tuple[tuple[int, float | None, float | None], ...] = ()  # (parameter, |p|, |grad|)
    open: bool = False  # still running, or the program was killed in it
    kept: tuple[Kept, ...] = ()
    alive: tuple[int, int] | None = None
    shifts: tuple[tuple[int, int], ...] = ()  # (tensor, what to add to the template's versions of it)

    @property
    def watched(self) -> bool:
        """Whether the step is exact: each of its ops was seen."""
        return self.detail in (Detail.GRAPH, Detail.FULL)

    @property
    def light(self) -> bool:
        """Whether none of its ops was recorded."""
        return self.detail is Detail.STEPS


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """The trace as a whole. `status`: running, done, failed (an exception), killed (never closed)."""

    script: str
    arguments: tuple[str, ...]
    gradscope: str
    python: str
    torch: str
    started: str  # ISO 8601, UTC
    detail: Detail
    status: str = "running"
    exit_status: int | None = None
    duration: float | None = None
    error: str | None = None
    traceback: str | None = None
    faults: tuple[str, ...] = field(default=())  # facts the recorder could not record
    rank: int | None = None  # of this process, where a launcher started `world_size` of them
    world_size: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped the script, with Ctrl-C."""
        return self.status == "failed" and (self.error or "").partition(":")[0] == "KeyboardInterrupt"
