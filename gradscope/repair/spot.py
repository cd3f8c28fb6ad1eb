"""`Spot`: the statement and the expression that a place of the trace names, in the source's syntax tree."""

from __future__ import annotations

import ast
from functools import cached_property

from ..model.findings import Place
from .rewrite import Rewrite
from .source import Source

_RECORDED = 200  # characters of an expression that a place keeps


class Spot:
    """A place in a source. What cannot be told apart from its neighbours is None: no edit is made by guess."""

    def __init__(self, source: Source, place: Place) -> None:
        self.source = source
        self.place = place

    def rewrite(self) -> Rewrite:
        """An empty rewrite of the source."""
        return Rewrite(self.source)

    @cached_property
    def expression(self) -> ast.expr | None:
        """The expression that the place names, where it stands there once."""
        wanted = self.place.expression
        if not wanted:
            return None
        nodes = {id(node): node for node in self.source.expressions_on(self.place.line)}
        found = [node for node in nodes.values() if " ".join(self.source.segment(node).split())[:_RECORDED] == wanted]
        return found[0] if len(found) == 1 else None

    @property
    def statements(self) -> list[ast.stmt]:
        """The statement at the place; all of its line, where they cannot be told apart."""
        return [self.statement] if self.statement is not None else self.source.statements_on(self.place.line)

    @cached_property
    def statement(self) -> ast.stmt | None:
        """The statement at the place: that of its expression, or the only one of its line."""
        if self.expression is not None:
            return self.source.statement_of(self.expression)
        found = self.source.statements_on(self.place.line)
        return found[0] if len(found) == 1 else None

    @cached_property
    def assignment(self) -> ast.Assign | None:
        """The plain assignment to one target that the place is."""
        statement = self.statement
        return statement if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None

    def beside(self, place: Place | None) -> Spot | None:
        """Another place of the same file."""
        known = place is not None and place.file == self.place.file
        if place is None or not known or self.source.line(place.line).strip() != place.code:
            return None
        return Spot(self.source, place)

    @property
    def anchor(self) -> ast.stmt:
        """The statement, where there is one; ask `statement` first."""
        assert self.statement is not None
        return self.statement


def call_of(expression: ast.expr | None) -> ast.Call | None:
    """An expression that is a call."""
    return expression if isinstance(expression, ast.Call) else None


def method_call(statement: ast.stmt | None, *names: str) -> tuple[ast.Call, ast.expr] | None:
    """(call, receiver) of a statement that is nothing but a call of one of these methods."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in names:
        return value, value.func.value
    return None


def names_read(code: str) -> set[str]:
    """The names that a piece of code reads."""
    return {
        node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
