"""Why autograd.grad has no gradient for a tensor: it is a branch, a copy was used, or it asked for one too late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...model.moments import Backward, LeafChange
from ...model.records import GradGraph
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case
from .wording import parameter_name


def copy_used(flow: Dataflow, graph: GradGraph | None, unused: Sequence[int]) -> int | None:
    """A leaf that the graph ends at and that was made, cut off, of what was asked for."""
    leaves = dict.fromkeys(node.tensor for node in graph.nodes if node.tensor is not None) if graph else ()
    for leaf in leaves:
        if flow.step.tensors[leaf].parameter is None and not flow.behind((leaf,))[0].isdisjoint(unused):
            return leaf
    return None


class Derived(NamedTuple):
    """A tensor that was made of what the root is computed from, but took no part in that itself."""

    tensor: int
    source: int
    op: int


def derived_of(flow: Dataflow, backward: Backward, tensor: int) -> Derived | None:
    """That a tensor, which the root does not depend on, is a branch off one that it does."""
    made = flow.step.tensors[tensor].made_by
    if made not in flow.ops or not backward.roots:
        return None
    behind, _ = flow.behind(backward.roots)
    source = next((one for one in flow.ops[made].inputs if one in behind and flow.needs_grad(one)), None)
    return Derived(tensor, source, made) if source is not None and tensor not in behind else None


class Late(NamedTuple):
    """A tensor that the root was computed from before it asked for a gradient: the op that read it, and that change."""

    tensor: int
    op: int
    asked: int


def asked_late(flow: Dataflow, backward: Backward, tensor: int) -> Late | None:
    """That an op on the way to the root read a tensor which asked for its gradient only after it."""
    step = flow.step
    changes = (index for index in step.positions(LeafChange) if _asks(step, index, tensor))
    asked = next(changes, None)
    if asked is None or not backward.roots:
        return None
    _, ops = flow.behind(backward.roots)
    reading = [op for op in sorted(ops) if tensor in flow.ops[op].inputs]
    return Late(tensor, reading[0], asked) if reading and reading[-1] < asked else None


def _asks(step: Step, index: int, tensor: int) -> bool:
    change = step.moments[index]
    return isinstance(change, LeafChange) and change.tensor == tensor and change.requires_grad and change.is_leaf


def like_leaves(case: Case, step: Step, graph: GradGraph | None, unused: Sequence[int]) -> Sequence[str]:
    """The leaves that a graph ends at, by name, if they have the shapes of all that was asked for: as a copy would."""
    ends = sorted({node.tensor for node in graph.nodes if node.tensor is not None}) if graph is not None else []
    shapes = sorted(step.tensors[one].shape for one in ends)
    if len(unused) < 2 or shapes != sorted(step.tensors[one].shape for one in unused):
        return ()
    return tuple(dict.fromkeys(named_here(case, step, one) for one in ends))


def named_here(case: Case, step: Step, tensor: int) -> str:
    """What to call one of many tensors: a module's parameter as the module has it, not as a loop calls each of them."""
    owner = case.parameter(step, tensor)
    number = step.tensors[tensor].parameter
    if owner is not None and owner.root and number is not None:
        return parameter_name(case, number)
    return case.called(step, tensor)
