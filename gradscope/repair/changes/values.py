"""Changes of one value: it is cut off its graph, copied, turned into a number, or made a leaf."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..scope import usable
from ..spot import Spot
from ..ways import Change


def followed_by(call: str) -> Change:
    """The expression of the place, with a call after it: `.detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        return _followed(spot, spot.expression, call)

    return change


def named_followed_by(name: str, call: str) -> Change:
    """The one occurrence of `name` that the statement reads, with a call after it: `losses.append(loss.detach())`."""

    def change(spot: Spot) -> Rewrite | None:
        return _followed(spot, reading_of(spot, name), call)

    return change


def assigned_followed_by(call: str) -> Change:
    """What the statement assigns, or adds to its target, with a call after it."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if not isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign)) or statement.value is None:
            return None
        if isinstance(statement.value, (ast.Tuple, ast.List, ast.Dict, ast.Constant)):
            return None
        return _followed(spot, statement.value, call)

    return change


def rebound(name: str, call: str, *, before: bool) -> Change:
    """A new statement before or after the place: `name = name.detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None or not usable(spot.source, name, statement):
            return None
        code = f"{name} = {name}{call}"
        rewrite = spot.rewrite()
        return rewrite.before(statement, code) if before else rewrite.after(statement, code)

    return change


def reading_of(spot: Spot, name: str) -> ast.expr | None:
    """The one expression of the statement that reads `name`; None where there are several."""
    if spot.statement is None:
        return None
    wanted = "".join(name.split())
    found = [
        node
        for node in ast.walk(spot.statement)
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
        and isinstance(node.ctx, ast.Load)
        and "".join(spot.source.segment(node).split()) == wanted
    ]
    return found[0] if len(found) == 1 else None


def _followed(spot: Spot, node: ast.expr | None, call: str) -> Rewrite | None:
    if node is None or isinstance(node, (ast.Starred, ast.NamedExpr)):
        return None
    rewrite = spot.rewrite()
    return rewrite.replace(node, f"{rewrite.primary(node)}{call}")
