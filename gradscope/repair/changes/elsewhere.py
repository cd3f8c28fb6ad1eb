"""Changes at another place of the same file: the one call, class or decorator that a name leads to."""

from __future__ import annotations

import ast

from ...model.findings import Place
from ..rewrite import Rewrite
from ..spot import Spot
from ..ways import Change
from .calls import call_named, last_name


def at_call(names: tuple[str, ...], change: Change) -> Change:
    """A change of the call of these names: that of the statement, else the only one in the file."""

    def at(spot: Spot) -> Rewrite | None:
        if call_named(spot, names) is not None:
            return change(spot)
        calls = (node for node in ast.walk(spot.source.tree) if isinstance(node, ast.Call))
        found = [call for call in calls if last_name(call) in names]
        return change(spot_of(spot, found[0])) if len(found) == 1 else None

    return at


def at_keyword(keyword: str, change: Change) -> Change:
    """A change of the only call in the file that is given this keyword."""

    def at(spot: Spot) -> Rewrite | None:
        calls = (node for node in ast.walk(spot.source.tree) if isinstance(node, ast.Call))
        found = [call for call in calls if any(one.arg == keyword for one in call.keywords)]
        return change(spot_of(spot, found[0])) if len(found) == 1 else None

    return at


def spot_of(spot: Spot, node: ast.expr | ast.stmt) -> Spot:
    """Another node of the same source as a spot."""
    source = spot.source
    line = source.line_of(source.start(node))
    expression = " ".join(source.segment(node).split()) if isinstance(node, ast.expr) else ""
    return Spot(source, Place(source.file, line, source.line(line).strip(), expression=expression))


def undecorated(name: str) -> Change:
    """Without the only decorator of this name, and its line."""

    def change(spot: Spot) -> Rewrite | None:
        source = spot.source
        functions = (node for node in ast.walk(source.tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef)))
        found = [one for function in functions for one in function.decorator_list if _ends_in(one, name)]
        if len(found) != 1:
            return None
        first, last = found[0].lineno, found[0].end_lineno or found[0].lineno
        return spot.rewrite().piece(source.line_start(first), source.line_start(last + 1), "")

    return change


def class_says(name: str, code: str) -> Change:
    """The class of this name has one more statement at its beginning."""

    def change(spot: Spot) -> Rewrite | None:
        classes = (node for node in ast.walk(spot.source.tree) if isinstance(node, ast.ClassDef))
        found = [one for one in classes if one.name == name]
        if len(found) != 1:
            return None
        first = after_words(found[0].body)
        return spot.rewrite().before(first, code) if first is not None else None

    return change


def after_words(body: list[ast.stmt]) -> ast.stmt | None:
    """The first statement of a body that is no docstring."""
    first = body[0]
    words = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    rest = body[1:] if words else body
    return rest[0] if rest else None


def _ends_in(node: ast.expr, name: str) -> bool:
    known = node.func if isinstance(node, ast.Call) else node
    return name in (getattr(known, "attr", None), getattr(known, "id", None))
