"""Changes of one call: a keyword more or other, another name, a link of its chain left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..rewrite import Rewrite
from ..scope import torch_name, usable
from ..spot import Spot, names_read
from ..ways import Change
from .writes import removed_keyword


def with_keyword(names: tuple[str, ...], keyword: str, value: str) -> Change:
    """The one call of these names in the statement, with `keyword=value`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None or any(one.arg is None for one in call.keywords):
            return None
        if not all(usable(spot.source, name, call) for name in names_read(value)):
            return None
        given = next((one for one in call.keywords if one.arg == keyword), None)
        if given is not None:
            return spot.rewrite().replace(given.value, value)
        return with_argument(spot, call, f"{keyword}={value}")

    return change


def without_keyword(keyword: str) -> Change:
    """The place's own call without a keyword, or the one call of the statement that has it."""

    def change(spot: Spot) -> Rewrite | None:
        having = [call for call in calls_of(spot) if any(one.arg == keyword for one in call.keywords)]
        own = [call for call in having if call is spot.expression] or having
        return removed_keyword(spot, own[0], keyword) if len(own) == 1 else None

    return change


def without_call(*names: str) -> Change:
    """Without a method call of these names in the chain: `x.detach()` becomes `x`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None or not isinstance(call.func, ast.Attribute) or call.args or call.keywords:
            return None
        start, end = spot.source.end(call.func.value), spot.source.end(call)
        value = call.func.value
        if spot.rewrite().span(value)[1] != start:
            start = spot.rewrite().span(value)[1]
        return spot.rewrite().piece(start, end, "")

    return change


def renamed(names: tuple[str, ...], name: str) -> Change:
    """The one call of these names in the statement, under another last name: `torch.stack` for `torch.tensor`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None:
            return None
        end = spot.source.end(call.func)
        last = call.func.attr if isinstance(call.func, ast.Attribute) else spot.source.segment(call.func)
        return spot.rewrite().piece(end - len(last), end, name)

    return change


def wrapped(before: str, after: str = ")") -> Change:
    """The expression of the place within a call; `{torch}` stands for what the file calls torch."""

    def change(spot: Spot) -> Rewrite | None:
        return wrap(spot, spot.expression, before, after)

    return change


def assigned_wrapped(before: str, after: str = ")") -> Change:
    """What the statement assigns or returns, within a call."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Return)) or statement.value is None:
            return None
        return wrap(spot, statement.value, before, after)

    return change


def wrap(spot: Spot, node: ast.expr | None, before: str, after: str) -> Rewrite | None:
    """An expression within a call, if the call's names are known there."""
    if node is None or isinstance(node, (ast.Starred, ast.NamedExpr, ast.GeneratorExp)):
        return None
    if "{torch}" in before:
        torch = torch_name(spot.source, node)
        if torch is None:
            return None
        before = before.replace("{torch}", torch)
    if not all(usable(spot.source, name, node) for name in names_read(f"{before}0{after}")):
        return None
    start, end = spot.rewrite().span(node)
    return spot.rewrite().piece(start, start, before).piece(end, end, after)


def call_named(spot: Spot, names: tuple[str, ...]) -> ast.Call | None:
    """The place's own call if it has one of these last names, else the only one of its statement."""
    if isinstance(spot.expression, ast.Call) and last_name(spot.expression) in names:
        return spot.expression
    found = [call for call in calls_of(spot) if last_name(call) in names]
    return found[0] if len(found) == 1 else None


def calls_of(spot: Spot) -> Iterator[ast.Call]:
    """The calls in the statement of the place, not those of a body."""
    statement = spot.statement
    if statement is not None:
        bodies = [child for name in ("body", "orelse", "finalbody") for child in getattr(statement, name, ())]
        inner = {id(node) for child in bodies if isinstance(child, ast.AST) for node in ast.walk(child)}
        yield from (n for n in ast.walk(statement) if isinstance(n, ast.Call) and id(n) not in inner)


def last_name(call: ast.Call) -> str:
    """`step` of `self.opt.step()`."""
    function = call.func
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def with_argument(spot: Spot, call: ast.Call, code: str) -> Rewrite | None:
    """A call with one more argument at its end."""
    source, rewrite = spot.source, spot.rewrite()
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if not given:
        end = source.end(call) - 1
        return rewrite.piece(end, end, code)
    if isinstance(given[-1], ast.GeneratorExp) and len(given) == 1:
        return None
    last = max((rewrite.span(one)[1] for one in given), default=source.end(call) - 1)
    return rewrite.piece(last, last, f", {code}")
