"""`Cut`: an op that ends a gradient path, what kind it is, and how to say so."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.findings import Place
from ...model.order import reached
from .dataflow import INTEGER, Dataflow
from .grad_modes import Switch, switches


class Cut(NamedTuple):
    """Where a gradient path ends: the op, in words what it does, and the switch if a mode did it."""

    op: int
    kind: str  # "mode", "detach", "integer", "copy", "grad", "number", "other"
    switch: Switch | None = None


def cut_of(flow: Dataflow, op: int) -> Cut:
    """What kind of cut an op is."""
    call = flow.ops[op]
    if call.name in op_kinds.DETACHES:
        return Cut(op, "detach")
    if call.name == "grad":
        return Cut(op, "grad")
    if call.name in op_kinds.COPIES_NUMBERS:
        return Cut(op, "copy")
    if not call.grad_enabled:
        return Cut(op, "mode", switches(flow.case, flow.step).get(op))
    dead = [flow.step.tensors[tensor] for tensor in flow.cuts.get(op, ())]
    if dead and all(tensor.dtype.startswith(INTEGER) for tensor in dead):
        return Cut(op, "integer")
    return Cut(op, "other")


def place_of(flow: Dataflow, cut: Cut) -> Place | None:
    """The line to change: the op's, or that of the mode that took its gradient."""
    if cut.switch is not None:
        return flow.case.place(cut.switch.stack)
    return flow.case.place(flow.ops[cut.op].stack)


def condition_of(flow: Dataflow, cut: Cut) -> str | None:
    """The expression that `set_grad_enabled` of a cut was given; None where it says False itself."""
    site = next(iter(flow.case.sites(cut.switch.stack)), None) if cut.switch is not None else None
    try:
        call = ast.parse(site.expression, mode="eval").body if site is not None and site.expression else None
    except SyntaxError:
        return None
    if not isinstance(call, ast.Call) or not call.args or isinstance(call.args[0], ast.Constant):
        return None
    called = ast.unparse(call.func).rpartition(".")[2]
    return ast.unparse(call.args[0]) if called == "set_grad_enabled" else None


def one_of_several(flow: Dataflow, cut: Cut) -> bool:
    """Whether a line cuts off the same values at several calls: `(hard - soft).detach() + soft.detach()`."""
    here, mine = place_of(flow, cut), flow.behind(flow.ops[cut.op].inputs)[0]
    for op in flow.cuts if here is not None else ():
        other = flow.case.place(flow.ops[op].stack) if flow.ops[op].name in op_kinds.DETACHES else None
        if here is None or other is None or (other.file, other.line) != (here.file, here.line):
            continue
        if other.expression != here.expression and not mine.isdisjoint(flow.behind(flow.ops[op].inputs)[0]):
            return True
    return False


def reason(flow: Dataflow, cut: Cut) -> tuple[str, str]:
    """(explanation, fix) of a cut."""
    op = flow.ops[cut.op]
    given = flow.cuts.get(cut.op) or op.outputs
    name = flow.case.called(flow.step, given[0]) if given else f"the result of {op.name}"
    if cut.kind == "mode" and (condition := condition_of(flow, cut)) is not None:
        return (
            f"set_grad_enabled({condition}) switched gradients off: {condition} was False here. So {op.name} ran "
            f"without them, {name} has no grad_fn, and backward stops there.",
            f"make {condition} true where the model trains, and keep the block for evaluation",
        )
    if cut.kind == "mode":
        mode = "torch.inference_mode()" if cut.switch is not None and cut.switch.mode == "inference" else "no_grad"
        what = "inference mode" if mode.startswith("torch") else "gradients switched off"
        return (
            f"{op.name} ran with {what}, so {name} has no grad_fn: backward stops there.",
            "take this computation out of the block that switches gradients off (keep the block for evaluation)",
        )
    if cut.kind == "detach" and one_of_several(flow, cut):
        return (
            f"This line cuts the same values off more than once, {name} among them: nothing of them gets a gradient.",
            "take detach() off one of them; which one decides the sign of the gradient. For the value of hard with "
            "the gradient of soft: hard + soft - soft.detach()",
        )
    if cut.kind == "detach":
        return (
            f"{op.name} gives a tensor without a graph: what {name} was made of gets no gradient through it.",
            "pass the tensor on as it is, without detach() / .data",
        )
    if cut.kind == "number":
        return (
            "item(), numpy() and tolist() give plain numbers; a tensor made of them is new, without a graph behind it.",
            "keep computing with tensors: torch operations in place of Python numbers and numpy",
        )
    if cut.kind == "copy":
        return (
            f"torch.{op.name}(...) copies the numbers out of its arguments and drops their graph.",
            "use torch.stack(values) (or add the tensors): that keeps the graph",
        )
    if cut.kind == "grad":
        return (
            "torch.autograd.grad returns tensors without a graph unless create_graph=True: they are constants.",
            "pass create_graph=True to torch.autograd.grad",
        )
    if cut.kind == "integer":
        dtype = flow.step.tensors[given[0]].dtype if given else "integer"
        return (
            f"{op.name} gives {dtype} values, which have no derivative: autograd stops there.",
            "compute the loss from the scores themselves (e.g. cross_entropy on logits), use a soft version "
            "(sigmoid, softmax) or a straight-through estimator: hard + soft - soft.detach()",
        )
    return (
        f"{op.name} gives {name} without a grad_fn: backward stops there.",
        "keep the computation in torch operations that have a derivative",
    )


def first_cuts(flow: Dataflow, tensors: Sequence[int], before: int) -> list[Cut]:
    """The ops nearest to `tensors` that cut them off from something that requires a gradient, in order."""
    cuts: set[int] = set()

    def uncut(tensor: int) -> Iterator[int]:
        for op in flow.writers.get(tensor, ()):
            inputs = flow.ops[op].inputs if op < before else ()
            if any(flow.needs_grad(one, op) for one in inputs):
                cuts.add(op)
            else:
                yield from inputs

    reached(tensors, uncut)
    return [cut_of(flow, op) for op in sorted(cuts)]
