"""Changes of whole statements: one more, one moved, one under `torch.no_grad()`."""

from __future__ import annotations

import ast

from ...model.findings import Place
from ..rewrite import Rewrite, body_of
from ..scope import torch_name, usable
from ..spot import Spot, names_read
from ..ways import Change


def inserted(code: str, *, before: bool) -> Change:
    """A new statement `code` before or after the place, where its names are known there."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None or not all(usable(spot.source, name, statement) for name in names_read(code)):
            return None
        if not before and isinstance(statement, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
            return None
        rewrite = spot.rewrite()
        return rewrite.before(statement, code) if before else rewrite.after(statement, code)

    return change


def moved(to: Place | None, *, before: bool) -> Change:
    """The statement of the place goes before or after that of `to`, in the same function."""

    def change(spot: Spot) -> Rewrite | None:
        there = spot.beside(to)
        if there is None or spot.statement is None or there.statement is None:
            return None
        return _moved(spot, [spot.statement], there.statement, before)

    return change


def removed() -> Change:
    """Without the statement."""

    def change(spot: Spot) -> Rewrite | None:
        return spot.rewrite().delete(spot.statement) if isinstance(spot.statement, ast.Expr) else None

    return change


def without_grad() -> Change:
    """The statement under `torch.no_grad()`."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        torch = torch_name(spot.source, statement) if statement is not None else None
        if statement is None or torch is None or not isinstance(statement, (ast.Assign, ast.AugAssign, ast.Expr)):
            return None
        return _within(spot, statement, f"with {torch}.no_grad():")

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


def built_after(name: str, to: Place | None) -> Change:
    """What makes `name` in the block of the place goes after `to`, with all that only it needs.

    So it is made of what is there then. The place is where `name` is used.
    """

    def change(spot: Spot) -> Rewrite | None:
        there = spot.beside(to)
        if there is None or spot.statement is None or there.statement is None:
            return None
        body = body_of(spot.source, there.statement)
        if body is None or not name.isidentifier():
            return None
        end = body.index(there.statement)
        chain = _only_for(body, {name}, end, spot.statement)
        return _moved(spot, chain, there.statement, before=False) if chain else None

    return change


def _only_for(body: list[ast.stmt], wanted: set[str], end: int, use: ast.stmt) -> list[ast.stmt]:
    """The assignments before `body[end]` that make `wanted`, and those that nothing but these needs, in their order."""
    chain: list[ast.stmt] = []
    for statement in reversed(body[:end]):
        bound = _names(statement, ast.Store)
        if not isinstance(statement, ast.Assign) or not bound or not bound <= wanted:
            continue
        others = [one for one in body[body.index(statement) + 1 : end + 1] if one not in chain and one is not use]
        if any(_names(one, ast.Load) & bound for one in others):
            continue
        chain.insert(0, statement)
        wanted = wanted | _names(statement, ast.Load)
    return chain


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    nodes = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in nodes if isinstance(node.ctx, context)}


def _within(spot: Spot, statement: ast.stmt, head: str) -> Rewrite | None:
    """A statement that has its lines alone, indented under a new head."""
    source, rewrite = spot.source, spot.rewrite()
    start, end = source.start(statement), source.end(statement)
    first, last = source.line_of(start), source.line_of(end - 1)
    indent = rewrite.indent(statement)
    if source.text[source.line_start(first) : start].strip() or _spans_text(statement):
        return None
    rest = source.line(last)[end - source.line_start(last) :].strip()
    if rest and not rest.startswith("#"):
        return None
    step = "\t" if indent.startswith("\t") else "    "
    for line in range(first, last + 1):
        at = source.line_start(line)
        rewrite.piece(at, at, f"{indent}{head}{source.newline}{step}" if line == first else step)
    return rewrite


def _moved(spot: Spot, statements: list[ast.stmt], there: ast.stmt, before: bool) -> Rewrite | None:
    source, rewrite = spot.source, spot.rewrite()
    if source.function_of(there) is not source.function_of(statements[0]) or there in statements:
        return None
    codes = [rewrite.line_text(one) for one in statements]
    if any(code is None for code in codes) or any(isinstance(one, _COMPOUND) for one in statements):
        return None
    if any(one in source.around(there) for one in statements):
        return None
    for one in statements:
        rewrite.delete(one)
    code = f"{source.newline}{rewrite.indent(there)}".join(code for code in codes if code is not None)
    return rewrite.before(there, code) if before else rewrite.after(there, code)


def _spans_text(statement: ast.stmt) -> bool:
    """Whether a text of several lines is in it, which an indentation would change."""
    return any(
        isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno != node.lineno
        for node in ast.walk(statement)
    )


_COMPOUND = (
    ast.For,
    ast.While,
    ast.If,
    ast.With,
    ast.Try,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.AsyncFor,
    ast.AsyncWith,
    ast.Return,
)
