"""What a step consists of while it goes on: moments, tensors, graphs and calls in a cheap form.

All are tuples of what can be hashed, and tensors are step-local numbers: two steps did the same exactly when their
moments, tensors, graphs and calls are equal. `emit.to_records` turns what is new into records.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Union

from ...model.leaf import AutogradStatus
from ...model.records import Phase
from ..measure.given import RawGiven
from ..measure.tensor_facts import Facts

DETACHED = AutogradStatus(requires_grad=False, is_leaf=True, grad_fn=None, retains_grad=False)
MADE_BEFORE = -1  # a position: the tensor's stack is where it was made, in an earlier step, not where it is used


class RawTensor(NamedTuple):
    """A tensor when the step met it; `made_by` to `direct` are what its name is made from."""

    facts: Facts
    version: int | None
    storage: int
    base: int | None
    parameter: int | None
    made_by: int | None
    output: int
    outputs: int
    stack: int | None
    position: int
    method: bool
    direct: bool
    carried: bool
    gradient_of: int | None = None


# -- moments -----------------------------------------------------------------------------------------


class Called(NamedTuple):
    """An op, of kind "op": `inputs` went in, `outputs` came out. `behind`: the stack behind it, as of a hook.

    `given`: its arguments, where they are recorded.
    """

    name: str
    direct: bool
    module: int | None
    module_call: int | None
    grad_nodes: int
    grad_enabled: bool
    autocast: str | None
    given: RawGiven | None
    behind: int | None


class Written(NamedTuple):
    """A write to the one of `inputs`, "mutation": its version rose, and that of its aliases, the `outputs`.

    `op` is the moment of the call that wrote, None where none that was seen did.
    """

    before: int | None
    after: int | None
    cause: str
    counted: bool
    op: int | None = None

    @property
    def known(self) -> tuple[int, int] | None:
        """The versions before and after, where both are known."""
        return None if self.before is None or self.after is None else (self.before, self.after)


class Moved(NamedTuple):
    """A "move": of the one of `inputs`, which gave the one of `outputs`, or of all in a module."""

    from_device: str
    to_device: str
    from_dtype: str
    to_dtype: str
    nbytes: int
    is_leaf: bool
    module: int | None


class LeafChanged(NamedTuple):
    """What the one of `inputs` is to autograd, "leaf"; it was made of the one of `outputs`, if of any."""

    cause: str
    status: AutogradStatus


class BackwardRan(NamedTuple):
    """A "backward" from the roots, `inputs`, for the tensors named to it, `outputs`."""

    graph: int | None
    call: str
    retain_graph: bool
    create_graph: bool
    error: str | None


class NodeRan(NamedTuple):
    """A "node" of a graph ran."""

    graph: int | None
    node: int


class GradChanged(NamedTuple):
    """The gradients of `inputs` came, changed or went, "grad"."""

    change: str
    has_grad: bool


class Updated(NamedTuple):
    """A step of an "optimizer" raised the versions of `inputs`: before and after, of each."""

    optimizer: int
    versions: tuple[tuple[int, int], ...]


class Zeroed(NamedTuple):
    """A call of "zero_grad"."""

    owner: str
    set_to_none: bool
    optimizer: int | None


class OptimizerChanged(NamedTuple):
    """An optimizer was built, or got a group, "optimizer_change"."""

    optimizer: int
    group: int | None


class Registered(NamedTuple):
    """A module of the class `owner` got the parameters `inputs` under `name`, "registration"."""

    owner: str
    name: str


class Scheduled(NamedTuple):
    """A "scheduler" of the class `name` stepped."""

    name: str
    optimizer: int | None


class Scaled(NamedTuple):
    """A GradScaler was called, "scaler"."""

    call: str
    optimizer: int | None
    enabled: bool


class Failed(NamedTuple):
    """A "failure": a call with the `inputs` raised, or the script ended by an error. `behind`: see `model.moments`."""

    type: str
    message: str
    call: str
    caught: bool
    behind: int | None = None


class Switched(NamedTuple):
    """A "mode" took another value."""

    mode: str
    value: str
    module: int | None


class Noted(NamedTuple):
    """A "note" for the reader."""

    text: str


Payload = Union[
    Called, Written, Moved, LeafChanged, BackwardRan, NodeRan, GradChanged, Updated, Zeroed, OptimizerChanged,
    Registered, Scheduled, Scaled, Failed, Switched, Noted,
]  # fmt: skip


class RawMoment(NamedTuple):
    """Something happened. `inputs` and `outputs` are numbers of tensors; the payload's class says which."""

    kind: str
    phase: Phase
    stack: int | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    payload: Payload


# -- graphs, calls, stations, samples -----------------------------------------------------------------------


class RawSaved(NamedTuple):
    """What a grad node keeps for its backward: `version` is that of the tensor when it was saved."""

    name: str
    tensor: int | None
    version: int | None
    nbytes: int
    stale: bool


class RawNode(NamedTuple):
    """A grad node: the op that made it or the leaf that it fills, and the tensors whose grad_fn it is.

    `carried`: an earlier step made it.
    """

    name: str
    op: int | None
    leaf: int | None
    outputs: tuple[int, ...]
    saved: tuple[RawSaved, ...]
    hooks: int
    carried: bool


class RawGraph(NamedTuple):
    """A walked backward graph. An edge is as `measure.grad_graph.walk` gives it."""

    nodes: tuple[RawNode, ...]
    edges: tuple[tuple[int, int, int, int], ...]
    roots: tuple[int, ...]

    def tensors(self) -> list[int]:
        """The tensors that it names."""
        found = [
            number for node in self.nodes for number in (node.leaf, *node.outputs, *(one.tensor for one in node.saved))
        ]
        return [number for number in found if number is not None]


class RawCall(NamedTuple):
    """A call of a module, as `moments.ModuleCall`: `parent` is the place of the one that made it."""

    module: int
    call: int
    stack: int | None
    training: bool
    moment: int
    parent: int | None


Passed = tuple[str, int, int, tuple[Any, ...]]  # a station, without names: quicker to make, and equal to one


class Station(NamedTuple):
    """A place that a step passes whether or not its ops are watched: what it is, and all that is compared there.

    `nodes`: how many grad nodes were made since the station before.
    """

    kind: str
    stack: int
    nodes: int
    facts: tuple[Any, ...]


# (moment, subject, of a parameter, what, `reading.Reading`)
RawSample = tuple[int, int, bool, str, Any]
