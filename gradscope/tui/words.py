"""Moments, phases and tensors in words: one line for what happened, as a tutorial would say it."""

from __future__ import annotations

from functools import singledispatch

from ..model.graph import SourceLine
from ..model.moments import (
    Backward,
    Failure,
    GradChange,
    LeafChange,
    ModeChange,
    Moment,
    Move,
    Mutation,
    NodeRun,
    Note,
    OpCall,
    OptimizerChange,
    OptimizerStep,
    Registration,
    ScalerCall,
    SchedulerStep,
    ZeroGrad,
)
from ..model.records import GradNode, Phase, Tensor
from ..model.trace import Step
from ..text import elide, elide_list, printable, raised, tensor_type

_NAMES = 3  # of a list of names, how many are written out
_ARGUMENTS = 32  # columns
_CHANGES = {
    "created": "was None, now filled",
    "accumulated": "added to",
    "zeroed": "set to zero",
    "cleared": "set to None",
    "assigned": "assigned by the script",
    "modified": "modified by the script",
}
_LEAF_CAUSES = {
    "requires_grad_": "requires_grad_() on {name}",
    "detach": "{name} is {source}.detach(): cut from the graph",
    "data": "{name} is {source}.data: autograd does not see it",
    "Parameter": "{name} becomes a Parameter",
    "retain_grad": "{name}.retain_grad(): keeps its gradient",
    "in-place": "{name} gets a history by an in-place op",
}


def phase_word(phase: Phase | None) -> str:
    """`optimizer step`; the step's start has no phase yet."""
    return "start" if phase is None else phase.value.replace("_", " ")


def step_word(number: int) -> str:
    """`step 3`; what ran before the first loop is `setup`."""
    return "setup" if number < 0 else f"step {number}"


def tensor_word(tensor: Tensor) -> str:
    """The tensor's name, or its type where the script gave it none."""
    return printable(tensor.name) or f"a {tensor_type(tensor.dtype, tensor.shape)}"


def node_word(step: Step, node: GradNode) -> str:
    """A grad node's name; AccumulateGrad with the leaf it fills: `AccumulateGrad of fc1.weight`."""
    leaf = step.tensors[node.tensor].name if node.tensor is not None else ""
    return printable(f"{node.name} of {leaf}" if leaf else node.name)


def line_word(line: SourceLine | None) -> str:
    """`train.py:23`, without folders; "" for no line."""
    if line is None:
        return ""
    return f"{printable(line.file.replace(chr(92), '/').rpartition('/')[2])}:{line.line}"


def moment_words(step: Step, index: int) -> str:
    """What happened at moment `index` of `step`, in one line; -1 is its start."""
    if index < 0:
        return "before the first moment" if step.moments else "nothing of torch ran in this step"
    return printable(_words(step.moments[index], step))


def _names(step: Step, tensors: tuple[int, ...]) -> str:
    return elide_list((tensor_word(step.tensors[number]) for number in tensors), _NAMES)


@singledispatch
def _words(moment: Moment, step: Step) -> str:  # noqa: ARG001  # every kind of moment has its own words below
    return moment.kind


@_words.register
def _(moment: OpCall, step: Step) -> str:
    given = [tensor_word(step.tensors[number]) for number in moment.inputs[:_NAMES]]
    given += ["…"] * (len(moment.inputs) > _NAMES) + ([elide(moment.arguments, _ARGUMENTS)] if moment.arguments else [])
    call = f"{moment.name}({', '.join(given)})"
    made = [step.tensors[number].name for number in moment.outputs if step.tensors[number].name]
    return f"{elide_list(made, _NAMES)} = {call}" if made else call


@_words.register
def _(moment: Mutation, step: Step) -> str:
    name = tensor_word(step.tensors[moment.tensor])
    if not moment.counted:
        return f"{name} was written by {moment.cause}, past its version counter"
    before, after = (step.absolute(moment.tensor, version) for version in (moment.before, moment.after))
    versions = "" if after is None else f": version {before} → {after}"
    return f"{name} was changed in place by {moment.cause}{versions}"


@_words.register
def _(moment: Move, step: Step) -> str:
    source = tensor_word(step.tensors[moment.source]) if moment.source is not None else "a tensor"
    target = tensor_word(step.tensors[moment.target]) if moment.target is not None else "the copy"
    parts = []
    if moment.from_device != moment.to_device:
        parts.append(f"{moment.from_device} → {moment.to_device}")
    if moment.from_dtype != moment.to_dtype:
        parts.append(f"{moment.from_dtype} → {moment.to_dtype}")
    return f"{source} copied {', '.join(parts)}: {target} is {'a' if moment.is_leaf else 'no'} leaf"


@_words.register
def _(moment: ModeChange, step: Step) -> str:
    where = ""
    names = step.trace.names
    if moment.module is not None and moment.module in names.modules:
        where = f" of {names.module(moment.module)}"
    return f"{moment.mode} mode{where}: {moment.value}"


@_words.register
def _(moment: LeafChange, step: Step) -> str:
    name = tensor_word(step.tensors[moment.tensor])
    source = tensor_word(step.tensors[moment.source]) if moment.source is not None else "another tensor"
    if moment.cause == "requires_grad_":
        return f"{name}.requires_grad_({moment.requires_grad})"
    return _LEAF_CAUSES.get(moment.cause, "{name}: " + moment.cause).format(name=name, source=source)


@_words.register
def _(moment: Backward, step: Step) -> str:
    roots = _names(step, moment.roots) or "a tensor"
    call = f"{roots}.backward()" if moment.call == "backward" else f"autograd.grad({roots})"
    if moment.error:
        return f"{call} fails: {moment.error}"
    return f"{call} starts: the graph is walked from {roots} back to the leaves"


@_words.register
def _(moment: NodeRun, step: Step) -> str:
    return f"{node_word(step, step.graphs[moment.graph].nodes[moment.node])} runs"


@_words.register
def _(moment: GradChange, step: Step) -> str:
    grads = elide_list((f"{tensor_word(step.tensors[number])}.grad" for number in moment.tensors), _NAMES)
    return f"{grads}: {_CHANGES.get(moment.change, moment.change)}"


@_words.register
def _(moment: ZeroGrad, step: Step) -> str:  # noqa: ARG001
    return f"{moment.owner}.zero_grad(){'' if moment.set_to_none else ': gradients are set to zero, not to None'}"


@_words.register
def _(moment: OptimizerChange, step: Step) -> str:
    name = printable(step.trace.optimizer_name(moment.optimizer))
    return f"{name} is built" if moment.group is None else f"{name} gets parameter group {moment.group}"


@_words.register
def _(moment: Registration, step: Step) -> str:
    return f"{moment.owner}.{moment.name} is registered: {_names(step, moment.tensors) or 'no parameters'}"


@_words.register
def _(moment: OptimizerStep, step: Step) -> str:
    name = printable(step.trace.optimizer_name(moment.optimizer))
    return f"{name}.step() updates {_names(step, moment.updated) or 'nothing'}"


@_words.register
def _(moment: SchedulerStep, step: Step) -> str:  # noqa: ARG001
    return f"{moment.name}.step() sets the learning rate"


@_words.register
def _(moment: ScalerCall, step: Step) -> str:  # noqa: ARG001
    return f"GradScaler.{moment.call}"


@_words.register
def _(moment: Failure, step: Step) -> str:  # noqa: ARG001
    after = ", which the script caught" if moment.caught else ""
    return raised(f"{moment.type} raised{f' by {moment.call}' if moment.call else ''}{after}", moment.message)


@_words.register
def _(moment: Note, step: Step) -> str:  # noqa: ARG001
    return moment.text
