"""Changes of what heads a block: a statement gets one, a block loses it, a function gets a decorator."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..scope import torch_name
from ..spot import Spot
from ..ways import Change


def without_grad(*, writes_only: bool = False) -> Change:
    """The statement under `torch.no_grad()`; `writes_only`: not if it makes a value, which would lose its gradient."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        writes = isinstance(statement, (ast.AugAssign, ast.Expr)) or (
            isinstance(statement, ast.Assign) and all(isinstance(one, ast.Subscript) for one in statement.targets)
        )
        if statement is None or not (writes or (isinstance(statement, ast.Assign) and not writes_only)):
            return None
        return within(spot, statement, "with {torch}.no_grad():")

    return change


def under(head: str) -> Change:
    """The statement within a block; `{torch}` in its head stands for what the file calls torch."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        simple = isinstance(statement, (ast.Assign, ast.AugAssign, ast.Expr, ast.Return))
        return within(spot, statement, head) if simple and statement is not None else None

    return change


def decorated(name: str) -> Change:
    """The function around the place gets the decorator `torch.<name>`: `@torch.no_grad()`."""

    def change(spot: Spot) -> Rewrite | None:
        if spot.statement is None:
            return None
        home = spot.source.function_of(spot.statement)
        torch = torch_name(spot.source, spot.statement)
        if not isinstance(home, ast.FunctionDef) or torch is None:
            return None
        return spot.rewrite().before(home, f"@{torch}.{name}")

    return change


def unwrapped() -> Change:
    """The `with` of the place is left out, and its body stays; of a decorator, the line."""

    def change(spot: Spot) -> Rewrite | None:
        source, rewrite = spot.source, spot.rewrite()
        found = spot.source.statements_on(spot.place.line)
        home = next((one for one in found if isinstance(one, (ast.With, ast.FunctionDef))), None)
        if isinstance(home, ast.FunctionDef):
            mine = [one for one in home.decorator_list if one.lineno == spot.place.line]
            start, end = source.line_start(spot.place.line), source.line_start(spot.place.line + 1)
            return rewrite.piece(start, end, "") if len(mine) == 1 else None
        if not isinstance(home, ast.With) or len(home.items) != 1 or home.items[0].optional_vars is not None:
            return None
        return _body_alone(spot, home, home.items[0].context_expr)

    return change


def unguarded() -> Change:
    """The `if` around the place, which lets it run the first time only, is left out: it runs each time."""

    def change(spot: Spot) -> Rewrite | None:
        home = spot.source.parents.get(spot.statement) if spot.statement is not None else None
        if not isinstance(home, ast.If) or home.orelse or spot.statement not in home.body:
            return None
        asked = {spot.source.segment(one) for one in ast.walk(home.test) if isinstance(one, (ast.Name, ast.Attribute))}
        made = {spot.source.segment(target) for target in getattr(spot.statement, "targets", ())}
        if not made & asked or not spot.source.segment(home).startswith("if"):
            return None
        return _body_alone(spot, home, home.test)

    return change


def _body_alone(spot: Spot, home: ast.With | ast.If, head: ast.expr) -> Rewrite | None:
    """The body of a block whose head ends with the expression `head`, in the place of the block."""
    source, rewrite = spot.source, spot.rewrite()
    if any(_spans_text(one) for one in home.body) or home.body[0].lineno == home.lineno:
        return None
    outer, inner = rewrite.indent(home), rewrite.indent(home.body[0])
    last = source.line_of(source.text.index(":", source.end(head)))
    rewrite.piece(source.line_start(home.lineno), source.line_start(last + 1), "")
    for line in range(last + 1, (home.end_lineno or home.lineno) + 1):
        if source.line(line).startswith(inner):
            at = source.line_start(line)
            rewrite.piece(at, at + len(inner), outer)
        elif source.line(line).strip():
            return None
    return rewrite


def within(spot: Spot, statement: ast.stmt, head: str, code: str | None = None) -> Rewrite | None:
    """A statement that has its lines alone, indented under a new head; `code` instead of it, where it is one line."""
    source, rewrite = spot.source, spot.rewrite()
    torch = torch_name(source, statement)
    start, end = source.start(statement), source.end(statement)
    first, last = source.line_of(start), source.line_of(end - 1)
    indent = rewrite.indent(statement)
    if torch is None and "{torch}" in head:
        return None
    if source.text[source.line_start(first) : start].strip() or _spans_text(statement):
        return None
    rest = source.line(last)[end - source.line_start(last) :].strip()
    if rest and not rest.startswith("#"):
        return None
    step = "\t" if indent.startswith("\t") else "    "
    for line in range(first, last + 1):
        at = source.line_start(line)
        rewrite.insert(at, f"{indent}{head.format(torch=torch)}{source.newline}{step}" if line == first else step)
    return rewrite.piece(start, end, code) if code is not None else rewrite


def _spans_text(statement: ast.stmt) -> bool:
    """Whether a text of several lines is in it, which an indentation would change."""
    return any(
        isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno != node.lineno
        for node in ast.walk(statement)
    )
