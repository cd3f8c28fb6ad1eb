"""Live tensors, without a recording: the leaf table's row, and the graph behind one tensor.

The graph is told as a trace of one step (an op for each grad node, then the backward), so it is built
and drawn by what builds and draws every other graph.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import torch

from ..errors import NothingToDraw, UsageError
from ..model.graph import Graph
from ..model.leaf import TensorRow
from ..model.names import sharing
from ..model.why import Explanation, explain
from ..text import tensor_type
from .hiding.frames import is_ours
from .hiding.no_torch_function import Unseen
from .live_graph import Telling
from .measure.askable import dense
from .measure.stats import values
from .measure.tensor_facts import read_facts, version_of


def tensor_facts(tensor: torch.Tensor) -> TensorRow:
    """The tensor's row of the leaf table. Raises UsageError for anything but a tensor."""
    _must_be_tensor(tensor)
    with Unseen():
        return _row(tensor)


def _row(tensor: torch.Tensor) -> TensorRow:
    facts = read_facts(tensor)
    grad = tensor.grad if facts.is_leaf or facts.retains_grad else None
    return TensorRow(
        requires_grad=facts.requires_grad,
        is_leaf=facts.is_leaf,
        grad_fn=facts.grad_fn,
        grad=None if grad is None else _shown(grad),
        retains_grad=facts.retains_grad,
        version=None if facts.is_inference else version_of(tensor),
        device=facts.device,
        dtype=facts.dtype,
        shape=facts.shape,
        is_result=True if not facts.is_leaf else (False if facts.requires_grad else None),
        name=_names(None).get(id(tensor)),
    )


def graph_of(
    target: object, kind: str, names: Mapping[str, torch.Tensor] | None = None, inputs: Sequence[object] = ()
) -> Graph:
    """The graph that a backward from `target` would run through: a tensor, several, or what a model makes of `inputs`.

    Tensors are called by the caller's variables, its modules' parameters, and `names`. Raises UsageError
    for anything else, NothingToDraw for what has no graph.
    """
    model = target if isinstance(target, torch.nn.Module) else None
    if inputs:
        if model is None:
            raise UsageError(f"what follows a model are its inputs, but {type(target).__name__} is no model")
        target = model(*inputs)
    roots = _roots(target)
    if not any(root.requires_grad for root in roots):
        which = "this tensor has" if isinstance(target, torch.Tensor) else "these tensors have"
        raise NothingToDraw(
            f"{which} no graph: nothing there requires a gradient"
            + (" (it was made where gradients were off, or detached)" if all(root.is_leaf for root in roots) else "")
            + ". Ask for one with requires_grad_() before computing with it"
        )
    with Unseen():
        told = Telling([root for root in roots if root.requires_grad], *_known(names, model)).trace()
    return told.step(0).graph(kind)


def _roots(target: object) -> list[torch.Tensor]:
    """The tensors in a target. Raises UsageError for one that holds something else."""
    if isinstance(target, torch.nn.Module):
        raise UsageError("a model alone has no graph: draw(model, x) runs it on x and draws what it returns")
    found: list[torch.Tensor] = []
    waiting, opened = [target], set[int]()  # a container may hold itself
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, (list, tuple, Mapping)):
            if id(one) in opened:
                continue
            opened.add(id(one))
            waiting += reversed(list(one.values() if isinstance(one, Mapping) else one))
        elif one is not None:
            raise UsageError(
                "to draw are a tensor, a list, tuple or dict of tensors, a model with its inputs (draw(model, x)), a "
                f"trace, a step, a graph or the path of a trace file, not {type(one).__name__}"
            )
    if not found:
        raise UsageError(f"there is no tensor in this {type(target).__name__}")
    return found


def explanation_of(tensor: torch.Tensor) -> Explanation:
    """What the live tensor alone tells, without a recording: no lines. Raises UsageError for anything but a tensor."""
    _must_be_tensor(tensor)
    with Unseen():
        row = _row(tensor)
        grad = f"{row.name}.grad" if row.name else "the .grad of this tensor"
        if row.grad is not None:
            return Explanation(f"{grad} is there: {row.grad}.")
        if row.requires_grad and not row.is_leaf:
            telling = Telling([tensor], *_known(None))
            told = telling.trace()
            return explain(told.step(0), telling.root)
    if row.requires_grad:
        answer, fix = "no backward has filled it, or it was cleared since", "call backward() on what was made from it"
    else:
        answer = "it does not require a gradient: it was made so, or where gradients were off, or detached"
        fix = "ask for it with requires_grad_() before computing with it"
    record = "record it to know the line: with gradscope.record(): ..., or gradscope trace SCRIPT"
    return Explanation(f"{grad} is None: {answer}.", (), f"{fix}; {record}")


def _must_be_tensor(tensor: object) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise UsageError(f"a tensor is wanted here, not {type(tensor).__name__}")


def _shown(grad: torch.Tensor) -> str:
    facts = read_facts(grad)
    if values(grad) is None:
        return tensor_type(facts.dtype, facts.shape)
    return str(dense(grad).tolist())


def _caller() -> FrameType | None:
    """The innermost frame that is not gradscope's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (is_ours(frame.f_code) or frame.f_globals.get("__name__", "").startswith("gradscope.")):
        frame = frame.f_back
    return frame


def _known(
    names: Mapping[str, torch.Tensor] | None, model: torch.nn.Module | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Every tensor in the caller's sight and of `model`, by name; the class of each module, by its path in names.

    Modules' parameters come first, then variables, then `names`.
    """
    found: dict[str, torch.Tensor] = {}
    modules: dict[tuple[int, ...], tuple[str, torch.nn.Module]] = {}  # by what they hold: two names, one model
    for name, value in (*_variables().items(), *([("model", model)] if model is not None else [])):
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, torch.nn.Module):
            modules.setdefault(tuple(id(tensor) for tensor in value.parameters()), (name, value))
    inside = {identity for tensors in modules for identity in tensors}
    free = [name for name, tensor in found.items() if id(tensor) not in inside]
    held = {name: dict(module.named_parameters()) for name, module in modules.values()}
    qualified = sharing({**held, "": free})
    owners: dict[str, str] = {}
    for name, module in modules.values():
        own, before = held[name], f"{name}." if name in qualified else ""
        found = {f"{before}{path}": own[path] for path in own} | found
        owners |= {f"{before}{path}": type(part).__name__ for path, part in module.named_modules() if path}
    return found | dict(names or {}), owners


def _variables() -> dict[str, Any]:
    """The caller's variables; in a method of what is no model itself, the tensors and models that its object has."""
    frame = _caller()
    if frame is None:
        return {}
    variables = {**frame.f_globals, **frame.f_locals}
    first = variables.get(next(iter(frame.f_code.co_varnames[: frame.f_code.co_argcount]), ""))
    if hasattr(first, "__dict__") and not isinstance(first, (torch.Tensor, torch.nn.Module)):
        held = {name: one for name, one in vars(first).items() if isinstance(one, (torch.Tensor, torch.nn.Module))}
        variables = {**held, **variables}
    # Names that begin with _ are a notebook's history, those that are none variables of pytest's.
    return {name: value for name, value in variables.items() if name.isidentifier() and not name.startswith("_")}


def _names(names: Mapping[str, torch.Tensor] | None) -> dict[int, str]:
    return {id(tensor): name for name, tensor in _known(names)[0].items()}
