"""Changes of what a function returns: the backward of a custom Function, a hook."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..spot import Spot
from ..ways import Change


def padded_return(*, least: int) -> Change:
    """A backward returns None for the arguments of its forward that it says nothing of.

    Not if it returns fewer gradients than the `least` that are needed.
    """

    def change(spot: Spot) -> Rewrite | None:
        found = _returned(spot)
        if found is None:
            return None
        function, value = found
        forward = _sibling(spot, function, "forward")
        if forward is None or forward.args.vararg is not None:
            return None
        wanted = len(forward.args.posonlyargs) + len(forward.args.args) - (1 if _has_context(forward) else 0)
        given = len(value.elts) if isinstance(value, ast.Tuple) else 1
        missing = wanted - given
        if missing <= 0 or given < least:
            return None
        end = spot.source.end(value)
        inside = end - 1 if isinstance(value, ast.Tuple) and spot.source.segment(value).startswith("(") else end
        return spot.rewrite().insert(inside, ", None" * missing)

    return change


def times_incoming() -> Change:
    """The first gradient that a backward returns is multiplied by the one that came in, if it leaves that out."""

    def change(spot: Spot) -> Rewrite | None:
        found = _returned(spot)
        if found is None or len(found[0].args.args) < 2:
            return None
        function, value = found
        name = function.args.args[1].arg
        first = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
        if any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(function)):
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(first, f"{name} * {rewrite.primary(first)}")

    return change


def returns_parameter(position: int) -> Change:
    """A function returns one of its parameters as it is."""

    def change(spot: Spot) -> Rewrite | None:
        found = _returned(spot)
        if found is None or not found[0].args.args:
            return None
        function, value = found
        return spot.rewrite().replace(value, function.args.args[position].arg)

    return change


def _returned(spot: Spot) -> tuple[ast.FunctionDef, ast.expr] | None:
    """The function of the place and what it returns there."""
    statement = spot.statement
    if not isinstance(statement, ast.Return) or statement.value is None:
        return None
    home = spot.source.function_of(statement)
    return (home, statement.value) if isinstance(home, ast.FunctionDef) else None


def _sibling(spot: Spot, function: ast.FunctionDef, name: str) -> ast.FunctionDef | None:
    home = spot.source.parents.get(function)
    body = home.body if isinstance(home, ast.ClassDef) else []
    return next((one for one in body if isinstance(one, ast.FunctionDef) and one.name == name), None)


def _has_context(forward: ast.FunctionDef) -> bool:
    """Whether forward's first parameter is the context; with `setup_context` it has none."""
    return bool(forward.args.args) and forward.args.args[0].arg in ("ctx", "context", "self", "c")
