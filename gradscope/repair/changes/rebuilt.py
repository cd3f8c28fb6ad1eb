"""Changes of tensors that were made anew of the numbers of others: those themselves are used instead."""

from __future__ import annotations

import ast

from ...model.findings import Place
from ..rewrite import Rewrite
from ..spot import Spot
from ..ways import Change
from .calls import call_named, last_name

_MAKERS = ("tensor", "as_tensor", "Tensor", "FloatTensor", "scalar_tensor")
_ON_THE_WAY = ("detach", "cpu", "numpy")


def not_rebuilt() -> Change:
    """A tensor that is made of a tensor's number is that tensor: `torch.tensor(a.item() + b.item())` as `a + b`."""

    def change(spot: Spot) -> Rewrite | None:
        made = call_named(spot, _MAKERS)
        if made is None or len(made.args) != 1 or isinstance(made.args[0], ast.Starred):
            return None
        inner, rewrite = made.args[0], spot.rewrite()
        exits = [
            node
            for node in ast.walk(inner)
            if isinstance(node, ast.Call) and last_name(node) == "item" and isinstance(node.func, ast.Attribute)
        ]
        if not exits:
            return _stacked(spot, made, inner)
        source = spot.source
        if not all(_is_only_reckoned_with(spot, node, made) for node in exits):
            return None
        start, end = rewrite.span(made)
        first, last = source.start(inner), source.end(inner)
        rewrite.piece(start, first, "(" if _needs_parentheses(spot, made, inner) else "")
        for node in exits:
            assert isinstance(node.func, ast.Attribute)
            rewrite.piece(rewrite.span(node.func.value)[1], source.end(node), "")
        return rewrite.piece(last, end, ")" if _needs_parentheses(spot, made, inner) else "")

    return change


def _is_only_reckoned_with(spot: Spot, node: ast.AST, until: ast.AST) -> bool:
    """Whether there is but arithmetic, which tensors can do as well, around `node` up to `until`."""
    parent = spot.source.parents.get(node)
    while isinstance(parent, (ast.BinOp, ast.UnaryOp)):
        parent = spot.source.parents.get(parent)
    return parent is until


def _needs_parentheses(spot: Spot, outer: ast.expr, inner: ast.expr) -> bool:
    simple = isinstance(inner, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return not simple and isinstance(spot.source.parents.get(outer), (ast.expr, ast.keyword))


def _stacked(spot: Spot, made: ast.Call, inner: ast.expr) -> Rewrite | None:
    """`torch.stack` of a list of tensors, which keeps their graphs, where numbers were copied out of it."""
    if not isinstance(made.func, ast.Attribute) or made.func.attr not in ("tensor", "as_tensor"):
        return None
    if not isinstance(inner, (ast.Name, ast.List, ast.ListComp)):
        return None
    torch, code = spot.source.segment(made.func.value), spot.source.segment(inner)
    return spot.rewrite().replace(made, f"{torch}.stack({code})")


def from_array() -> Change:
    """A tensor that is made of a tensor's array is that tensor: `torch.from_numpy(x.detach().numpy())` as `x`."""

    def change(spot: Spot) -> Rewrite | None:
        made = call_named(spot, (*_MAKERS, "from_numpy"))
        inner = made.args[0] if made is not None and made.args else None
        value, links = inner, []
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _ON_THE_WAY:
            links.append(value.func.attr)
            value = value.func.value
        if made is None or value is None or "numpy" not in links:
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(made, rewrite.primary(value))

    return change


def stacked_from(left: Place | None) -> Change:
    """A list of numbers that `item()` gave at `left` holds the tensors, and what is made of it stacks them."""

    def change(spot: Spot) -> Rewrite | None:
        there, made = spot.beside(left), call_named(spot, _MAKERS)
        exit_ = call_named(there, ("item",)) if there is not None else None
        if made is None or exit_ is None or there is None or len(made.args) != 1:
            return None
        holder = spot.source.parents.get(exit_)
        listed = isinstance(holder, (ast.ListComp, ast.List)) or (
            isinstance(holder, ast.Call) and last_name(holder) == "append"
        )
        rewrite = _stacked(spot, made, made.args[0]) if listed else None
        if rewrite is None or not isinstance(exit_.func, ast.Attribute):
            return None
        return rewrite.piece(rewrite.span(exit_.func.value)[1], spot.source.end(exit_), "")

    return change
