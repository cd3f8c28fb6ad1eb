"""Changes of several statements at once: a block that moves, and the closure that an optimizer calls."""

from __future__ import annotations

import ast
from typing import TypeGuard

from ...model.findings import Place
from ..rewrite import Rewrite, body_of
from ..scope import bindings, inside
from ..spot import Spot, method_call
from ..ways import Change
from .calls import last_name
from .statements import moved_to, names_of

_MOST = 6  # statements of a block


def before_own(method: str, *, along: tuple[str, ...]) -> Change:
    """The call at the place goes before the one of `method` of the same object, in the same function and loops.

    Those after it that call one of the names `along` go with it.
    """

    def change(spot: Spot) -> Rewrite | None:
        first = spot.statement
        body = body_of(spot.source, first) if first is not None else None
        there = own_call(spot, method)
        if there is None or first is None or body is None:
            return None
        block = [first]
        for one in body[body.index(first) + 1 :]:
            call = one.value if isinstance(one, (ast.Expr, ast.Assign)) else None
            if not isinstance(call, ast.Call) or last_name(call) not in along:
                break
            block.append(one)
        return moved_to(spot, block, there, before=True) if len(block) <= _MOST else None

    return change


def after_own(method: str) -> Change:
    """The call at the place goes after the one of `method` of the same object, in the same function and loops."""

    def change(spot: Spot) -> Rewrite | None:
        there = own_call(spot, method)
        ends = there is not None and spot.statement is not None
        return moved_to(spot, [spot.anchor], there, before=False) if ends and there is not None else None

    return change


def followed_by_own(method: str) -> Change:
    """The call at the place is followed by one of `method` of the same object, if the function has none."""

    def change(spot: Spot) -> Rewrite | None:
        found = _receiver(spot.statement)
        if found is None or _calls(spot, found, method):
            return None
        return spot.rewrite().after(spot.anchor, f"{found}.{method}()")

    return change


def own_call(spot: Spot, method: str) -> ast.stmt | None:
    """The one statement of the function that calls a method of the object whose method the place calls."""
    found = _receiver(spot.statement)
    calls = _calls(spot, found, method) if found is not None else []
    return calls[0] if len(calls) == 1 and calls[0] is not spot.statement else None


def _receiver(statement: ast.stmt | None) -> str | None:
    """What a statement calls a method of: `self.scaler`."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    owner = call.func.value if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else None
    return ast.unparse(owner) if isinstance(owner, (ast.Name, ast.Attribute)) else None


def _calls(spot: Spot, receiver: str, method: str) -> list[ast.stmt]:
    nodes = inside(spot.source.function_of(spot.anchor))
    statements = [one for one in nodes if isinstance(one, ast.stmt)]
    return [one for one in statements if method_call(one, method) is not None and _receiver(one) == receiver]


def closed_over() -> Change:
    """From `zero_grad()` to `backward()` a closure, which is given to the optimizer's step at the place."""

    def change(spot: Spot) -> Rewrite | None:
        step = spot.statement
        found = method_call(step, "step")
        body = body_of(spot.source, step) if step is not None else None
        if step is None or found is None or body is None or found[0].args or found[0].keywords:
            return None
        block = _evaluation(body, body.index(step))
        loss = method_call(block[-1], "backward") if block else None
        if loss is None or not isinstance(loss[1], ast.Name) or _needed_after(body, block, step, loss[1].id):
            return None
        rewrite, name = spot.rewrite(), loss[1].id
        if next(iter(bindings(spot.source.function_of(step), "closure")), None) is not None:
            return None
        texts = [rewrite.line_text(one) for one in block]
        indent, line = rewrite.indent(step), spot.source.newline
        inner = indent + ("\t" if indent.startswith("\t") else "    ")
        if any(text is None for text in texts):
            return None
        for one in block:
            rewrite.delete(one)
        code = [f"{indent}def closure():", *(f"{inner}{text}" for text in texts), f"{inner}return {name}"]
        at = spot.source.line_start(spot.source.line_of(spot.source.start(step)))
        if spot.source.text[at : spot.source.start(step)].strip():
            return None
        rewrite.insert(at, "".join(f"{text}{line}" for text in code))
        start, end = spot.source.start(step), spot.source.end(found[0].func)
        owner = spot.source.segment(found[0].func)
        return rewrite.piece(start, end, f"{name} = {owner}").insert(spot.source.end(found[0]) - 1, "closure")

    return change


def _evaluation(body: list[ast.stmt], end: int) -> list[ast.stmt]:
    """The statements of a body right before `body[end]`, from a `zero_grad()` to a `backward()`."""
    block: list[ast.stmt] = []
    for one in reversed(body[max(0, end - _MOST) : end]):
        if not isinstance(one, (ast.Expr, ast.Assign)):
            return []
        block.insert(0, one)
        if method_call(one, "zero_grad") is not None:
            return block if method_call(block[-1], "backward") is not None else []
    return []


def _needed_after(body: list[ast.stmt], block: list[ast.stmt], step: ast.stmt, loss: str) -> bool:
    """Whether more than the loss is needed of what would be the closure's own."""
    own = set().union(*(names_of(one, ast.Store) for one in block)) - {loss}
    return any(names_of(one, ast.Load) & own for one in body[body.index(step) + 1 :])


def made_inside(function: Place | None) -> Change:
    """What the place makes before a closure is defined, with all that only it needs, is made in it: at its beginning.

    `function` is a place in the closure.
    """

    def change(spot: Spot) -> Rewrite | None:
        inner, made = spot.beside(function), spot.statement
        home = spot.source.function_of(inner.statement) if inner is not None and inner.statement is not None else None
        body = body_of(spot.source, made) if made is not None else None
        if not isinstance(home, ast.FunctionDef) or made is None or body is None or home not in body:
            return None
        between = body[body.index(made) + 1 : body.index(home)] if body.index(made) < body.index(home) else None
        bound = names_of(made, ast.Store)
        outside = [one for one in body if one not in (made, home)]
        if between is None or not bound or any(names_of(one, ast.Load) & bound for one in outside):
            return None
        first = next((one for one in home.body if method_call(one, "zero_grad") is None), None)
        text = spot.rewrite().line_text(made)
        if first is None or text is None or not isinstance(made, ast.Assign):
            return None
        return spot.rewrite().delete(made).before(first, text)

    return change


def given_closure() -> Change:
    """The step at the place is given the one function without parameters, known there, that calls backward."""

    def change(spot: Spot) -> Rewrite | None:
        found = method_call(spot.statement, "step")
        if found is None or spot.statement is None or found[0].args or found[0].keywords:
            return None
        homes = [spot.source.function_of(spot.statement), spot.source.tree]
        known = dict.fromkeys(one for home in homes for one in inside(home) if _is_closure(one))
        if len(known) != 1:
            return None
        name = next(iter(known)).name
        return spot.rewrite().insert(spot.source.end(found[0]) - 1, name)

    return change


def _is_closure(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    if not isinstance(node, ast.FunctionDef) or node.args.args:
        return False
    parts = list(ast.walk(node))
    calls = any(isinstance(one, ast.Call) and last_name(one) == "backward" for one in parts)
    return calls and any(isinstance(one, ast.Return) and one.value is not None for one in parts)
