"""Changes of what a class keeps in an attribute: it is computed where it is used, or let go when it has been."""

from __future__ import annotations

import ast

from ...model.findings import Place
from ..rewrite import Rewrite
from ..scope import usable
from ..spot import Spot
from ..ways import Change
from .values import followed

_MOST = 3  # uses that become the expression itself


def computed_where_used() -> Change:
    """What an attribute is given once is computed at each of its uses: `self.k` as `self.kernel(self.x)`."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        target = assignment.targets[0] if assignment is not None else None
        home = class_of(spot)
        if assignment is None or home is None or not isinstance(target, ast.Attribute):
            return None
        same = [one for one in ast.walk(home) if isinstance(one, ast.Attribute) and _alike(one, target)]
        uses = [one for one in same if isinstance(one.ctx, ast.Load)]
        elsewhere = [one for one in ast.walk(spot.source.tree) if _named(one, target.attr)]
        if len(same) - len(uses) != 1 or not 0 < len(uses) <= _MOST or len(elsewhere) != len(same):
            return None
        rewrite = spot.rewrite().delete(assignment)
        code = rewrite.primary(assignment.value)
        if "\n" in code or not all(usable(spot.source, code, one) for one in uses):
            return None
        own = _local_names(spot, assignment)
        if any(isinstance(one, ast.Name) and one.id in own for one in ast.walk(assignment.value)):
            return None
        for one in uses:
            rewrite.replace(one, code)
        return rewrite

    return change


def kept_for_looking() -> Change:
    """What an attribute is given that its class never reads is kept without its graph."""

    def change(spot: Spot) -> Rewrite | None:
        assignment, home = spot.assignment, class_of(spot)
        target = assignment.targets[0] if assignment is not None else None
        if assignment is None or home is None or not isinstance(target, ast.Attribute):
            return None
        same = [one for one in ast.walk(home) if isinstance(one, ast.Attribute) and _alike(one, target)]
        if any(isinstance(one.ctx, ast.Load) for one in same):
            return None
        return followed(spot, assignment.value, ".detach()")

    return change


def emptied_by_its_owner(pile: str, after: Place | None) -> Change:
    """The container `self.x` that the place fills is emptied after `after` by way of the object that it belongs to.

    That is the one on which most methods of the place's class are called there.
    """

    def change(spot: Spot) -> Rewrite | None:
        there, home = spot.beside(after), class_of(spot)
        if there is None or there.statement is None or home is None or not pile.startswith("self."):
            return None
        methods = {one.name for one in home.body if isinstance(one, ast.FunctionDef)}
        calls = [one for one in ast.walk(spot.source.function_of(there.statement)) if isinstance(one, ast.Call)]
        called: dict[str, set[str]] = {}
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr in methods:
                called.setdefault(spot.source.segment(call.func.value), set()).add(call.func.attr)
        most = max(map(len, called.values()), default=0)
        owners = [one for one, names in called.items() if len(names) == most]
        owner = owners[0] if len(owners) == 1 else ""
        if not owner or class_of(there) is home or not usable(spot.source, owner, there.statement):
            return None
        return spot.rewrite().after(there.statement, f"{owner}.{pile.removeprefix('self.')}.clear()")

    return change


def class_of(spot: Spot) -> ast.ClassDef | None:
    """The class that a place is in."""
    around = spot.source.around(spot.statement) if spot.statement is not None else ()
    return next((one for one in around if isinstance(one, ast.ClassDef)), None)


def _alike(one: ast.Attribute, other: ast.Attribute) -> bool:
    return ast.unparse(one) == ast.unparse(other)


def _named(node: ast.AST, attribute: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == attribute


def _local_names(spot: Spot, statement: ast.stmt) -> set[str]:
    """The names that mean something in the function of a statement alone, its own `self` aside."""
    home = spot.source.function_of(statement)
    stored = {one.id for one in ast.walk(home) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    given = [one.arg for one in home.args.args] if isinstance(home, ast.FunctionDef) else []
    return stored | set(given[1:])
