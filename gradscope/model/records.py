"""The facts a trace is made of: small, frozen, free of tensors and of torch.

A trace is a list of steps. Each step points to a `Template` of `moments` (what happened, in which order, with
step-local tensor numbers) and adds what differs from its siblings (times, loss, learning rates,
statistics, absolute versions). Templates, sites and stacks are shared by all steps that equal them.

Every record is made of JSON values and other records only, so `to_json`/`from_json` are exact inverses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Union

from .leaf import AutogradStatus

Json = Union[None, bool, int, float, str, "list[Json]", "dict[str, Json]"]


LOADER = "DataLoader"  # the name of the op that gives a DataLoader's next batch
MODULE_FLAG = "a module has an attribute requires_grad"  # the note about one, which freezes nothing


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
    module that ran has it. `model` is the number of that root module; None where there is none, or an older trace does
    not tell it. `stack` is where it was made, None if that was not seen.
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
    model: int | None = None


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

    version: int | None
    device: str
    dtype: str
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
    distances: tuple[tuple[int, float], ...] = ()  # (parameter, how far its last update moved it) where that is known

    @property
    def watched(self) -> bool:
        """Whether the step is exact: each of its ops was seen."""
        return self.detail in (Detail.GRAPH, Detail.FULL)

    @property
    def light(self) -> bool:
        """Whether none of its ops was recorded."""
        return self.detail is Detail.STEPS

    @property
    def finite(self) -> bool:
        """Whether its loss, parameters and gradients are all finite, as far as they were recorded.

        How far an update moved a parameter is not asked: that may overflow one step before the parameter does.
        """
        numbers = (self.loss, *(norm for _, *norms in self.norms for norm in norms))
        return all(number is None or math.isfinite(number) for number in numbers)


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
