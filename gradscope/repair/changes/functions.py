"""Changes of functions that torch calls: what a backward or a hook returns, what a Function keeps, an `__init__`."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..spot import Spot, method_call
from ..ways import Change
from .calls import call_named
from .elsewhere import after_words
from .values import followed


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


def returned_followed_by(position: int, call: str) -> Change:
    """One of several values that a function returns, with a call after it."""

    def change(spot: Spot) -> Rewrite | None:
        found = _returned(spot)
        value = found[1] if found is not None else None
        if not isinstance(value, ast.Tuple) or not position < len(value.elts):
            return None
        return followed(spot, value.elts[position], call)

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


def saved_apart(position: int) -> Change:
    """What is no tensor is kept as an attribute of the context, and read from there in the backward.

    `ctx.save_for_backward(x, scale)` as `ctx.save_for_backward(x); ctx.scale = scale`.
    """

    def change(spot: Spot) -> Rewrite | None:
        found = method_call(spot.statement, "save_for_backward")
        home = spot.source.function_of(spot.anchor) if found is not None else None
        if found is None or not isinstance(home, ast.FunctionDef) or not position < len(found[0].args):
            return None
        call, context = found
        value = call.args[position]
        backward = _sibling(spot, home, "backward")
        if not isinstance(value, ast.Name) or not isinstance(context, ast.Name) or backward is None:
            return None
        read = [one for one in backward.body if isinstance(one, ast.Assign) and _reads_saved(one.value)]
        target = read[0].targets[0] if len(read) == 1 and len(read[0].targets) == 1 else None
        if not isinstance(target, ast.Tuple) or len(target.elts) != len(call.args) or not backward.args.args:
            return None
        source, name = spot.source, target.elts[position]
        rewrite = spot.rewrite()
        given = [one for one in call.args if one is not value]
        tensors = ", ".join(source.segment(one) for one in given)
        rewrite.piece(source.start(call.args[0]), rewrite.span(call.args[-1])[1], tensors)
        rewrite.after(spot.anchor, f"{context.id}.{value.id} = {value.id}")
        kept = [source.segment(one) for one in target.elts if one is not name]
        if not kept:
            return None
        names = f"{kept[0]}," if len(kept) == 1 else ", ".join(kept)
        rewrite.piece(source.start(target), source.end(target), names)
        return rewrite.after(read[0], f"{source.segment(name)} = {backward.args.args[0].arg}.{value.id}")

    return change


def _reads_saved(value: ast.expr) -> bool:
    return isinstance(value, ast.Attribute) and value.attr == "saved_tensors"


def applied() -> Change:
    """A custom Function is used by its `apply`: `Round()(x)` and `self.round(x)` as `Round.apply(x)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = spot.expression
        if not isinstance(call, ast.Call):
            return None
        source, rewrite = spot.source, spot.rewrite()
        if isinstance(call.func, ast.Call) and not call.func.args and not call.func.keywords:
            return rewrite.replace(call.func, f"{source.segment(call.func.func)}.apply")
        if not isinstance(call.func, (ast.Name, ast.Attribute)):
            return None
        return rewrite.insert(source.end(call.func), ".apply")

    return change


def summed(name: str) -> Change:
    """The function that the call of this name is given first returns the sum of what it returned."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, (name,))
        given = next(iter(call.args), None) if call is not None else None
        rewrite = spot.rewrite()
        if isinstance(given, ast.Lambda):
            return rewrite.replace(given.body, f"{rewrite.primary(given.body)}.sum()")
        if not isinstance(given, (ast.Name, ast.Attribute)):
            return None
        return rewrite.replace(given, f"lambda *args: {spot.source.segment(given)}(*args).sum()")

    return change


def super_first() -> Change:
    """A module's `__init__` begins with that of its parents."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        home = spot.source.function_of(statement) if statement is not None else None
        if not isinstance(home, ast.FunctionDef) or home.name != "__init__" or not home.args.args:
            return None
        first = after_words(home.body)
        late = [one for one in home.body if _is_super(one)]
        if first is None or len(late) > 1 or any(isinstance(one, ast.Call) and one.args for one in map(_called, late)):
            return None
        rewrite = spot.rewrite()
        for one in late:
            rewrite.delete(one)
        return rewrite.before(first, "super().__init__()")

    return change


def _called(statement: ast.stmt) -> ast.expr | None:
    return statement.value if isinstance(statement, ast.Expr) else None


def _is_super(statement: ast.stmt) -> bool:
    """Whether a statement is `super().__init__(…)`."""
    found = method_call(statement, "__init__")
    return found is not None and isinstance(found[1], ast.Call) and ast.unparse(found[1].func) == "super"
