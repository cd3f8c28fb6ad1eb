"""Changes of what measures sizes: a spread, a norm, the mean of what a mask picks."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..spot import Spot
from ..ways import Change
from .calls import call_named, of_module


def rooted(op: str, square: str, more: float) -> Change:
    """A spread as the root of its square and a little more: `x.std(0)` as `(x.var(0) + 1e-08).sqrt()`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, (op,))
        if call is None or not isinstance(call.func, ast.Attribute):
            return None
        name, end = spot.source.end(call.func), spot.source.end(call)
        rewrite = spot.rewrite().piece(name - len(op), name, square)
        return rewrite.insert(spot.source.start(call), "(").insert(end, f" + {more:g}).sqrt()")

    return change


def operand_raised(ops: tuple[str, ...], more: str) -> Change:
    """What an op of these names works on, with a little added: `(x + 1e-12).norm(dim=1)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ops)
        if call is None or not isinstance(call.func, ast.Attribute):
            return None
        module = of_module(spot, call.func.value)
        operand = next(iter(call.args), None) if module else call.func.value
        if operand is None or isinstance(operand, ast.Starred):
            return None
        rewrite = spot.rewrite()
        text = rewrite.primary(operand)
        return rewrite.replace(operand, f"{text} + {more}" if module else f"({text} + {more})")

    return change


def mean_of_picked() -> Change:
    """The mean of what a mask picks, which may be nothing: `x[m].mean()` as `x[m].sum() / m.sum().clamp(min=1)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ("mean",))
        picked = call.func.value if call is not None and isinstance(call.func, ast.Attribute) else None
        if call is None or call.args or call.keywords or not isinstance(picked, ast.Subscript):
            return None
        if not isinstance(picked.slice, (ast.Name, ast.Attribute)):
            return None
        mask, rewrite = spot.source.segment(picked.slice), spot.rewrite()
        code = f"{spot.source.segment(picked)}.sum() / {mask}.sum().clamp(min=1)"
        inner = isinstance(spot.source.parents.get(call), (ast.BinOp, ast.UnaryOp, ast.Attribute))
        return rewrite.replace(call, f"({code})" if inner else code)

    return change
