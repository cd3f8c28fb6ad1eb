"""Changes of one value: it is cut off its graph, copied, turned into a number, or made a leaf."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..scope import torch_name, usable
from ..spot import Spot
from ..ways import Change
from .calls import call_named, calls_of, last_name, of_module, wrap


def followed_by(call: str) -> Change:
    """The expression of the place, with a call after it: `.detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        return followed(spot, spot.expression, call)

    return change


def named_followed_by(name: str, call: str) -> Change:
    """The one occurrence of `name` that the statement reads, with a call after it: `losses.append(loss.detach())`."""

    def change(spot: Spot) -> Rewrite | None:
        return followed(spot, reading_of(spot, name), call)

    return change


def assigned_followed_by(call: str) -> Change:
    """What the statement assigns, or adds to its target, with a call after it."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if not isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign)) or statement.value is None:
            return None
        if isinstance(statement.value, (ast.Tuple, ast.List, ast.Dict, ast.Constant)):
            return None
        return followed(spot, statement.value, call)

    return change


def rebound(name: str, call: str, *, before: bool) -> Change:
    """A new statement before or after the place: `name = name.detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None or not usable(spot.source, name, statement, after=not before):
            return None
        code = f"{name} = {name}{call}"
        rewrite = spot.rewrite()
        return rewrite.before(statement, code) if before else rewrite.after(statement, code)

    return change


def without_attribute(name: str) -> Change:
    """The one value of the statement that an attribute of this name is read of, without it: `w` for `w.data`."""

    def change(spot: Spot) -> Rewrite | None:
        nodes = {id(node): node for one in spot.statements for node in ast.walk(one)}
        read = [node for node in nodes.values() if isinstance(node, ast.Attribute) and node.attr == name]
        if len(read) != 1 or not isinstance(read[0].ctx, ast.Load):
            return None
        return spot.rewrite().piece(spot.rewrite().span(read[0].value)[1], spot.source.end(read[0]), "")

    return change


def reading_of(spot: Spot, name: str) -> ast.expr | None:
    """The one expression of the statement that reads `name`; None where there are several."""
    wanted = "".join(name.split())
    nodes = {id(node): node for one in spot.statements for node in ast.walk(one)}
    found = [
        node
        for node in nodes.values()
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
        and isinstance(node.ctx, ast.Load)
        and "".join(spot.source.segment(node).split()) == wanted
    ]
    return found[0] if len(found) == 1 else None


def followed(spot: Spot, node: ast.expr | None, call: str) -> Rewrite | None:
    """An expression with a call after it."""
    if node is None or isinstance(node, (ast.Starred, ast.NamedExpr)):
        return None
    rewrite = spot.rewrite()
    return rewrite.replace(node, f"{rewrite.primary(node)}{call}")


def receiver_followed_by(*names: str, call: str) -> Change:
    """What a method of these names is called on, with a call between: `loss.mean().backward()`."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        if found is None or not isinstance(found.func, ast.Attribute):
            return None
        return followed(spot, found.func.value, call)

    return change


def named_replaced(name: str, code: str) -> Change:
    """The one occurrence of `name` that the statement reads, as something else that is known there."""

    def change(spot: Spot) -> Rewrite | None:
        found = reading_of(spot, name)
        if found is None or not usable(spot.source, code, found):
            return None
        return spot.rewrite().replace(found, code)

    return change


def receiver_added(names: tuple[str, ...], code: str) -> Change:
    """What a method of these names is called on, and something known there added to it: `(loss + kl).backward()`."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        owner = found.func.value if found is not None and isinstance(found.func, ast.Attribute) else None
        if not isinstance(owner, (ast.Name, ast.Attribute, ast.BinOp)) or not usable(spot.source, code, owner):
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(owner, f"({spot.source.segment(owner)} + {code})")

    return change


def masked_before() -> Change:
    """What a mask picks of a result is picked of what it is made of: `f(x, y)[m]` as `f(x[m], y[m])`."""

    def change(spot: Spot) -> Rewrite | None:
        call = spot.expression
        whole = spot.source.parents.get(call) if call is not None else None
        if not isinstance(call, ast.Call) or not isinstance(whole, ast.Subscript) or whole.value is not call:
            return None
        if not isinstance(whole.slice, (ast.Name, ast.Attribute)):
            return None
        mask, rewrite = spot.source.segment(whole.slice), spot.rewrite()
        for given in call.args:
            rewrite.replace(given, f"{rewrite.primary(given)}[{mask}]")
        return rewrite.piece(spot.source.end(call), spot.source.end(whole), "") if len(call.args) == 2 else None

    return change


def receiver_within(*names: str, before: str) -> Change:
    """What a method of these names is called on, within a call: `scaler.scale(loss).backward()`."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        owner = found.func.value if found is not None and isinstance(found.func, ast.Attribute) else None
        known = owner is None or spot.source.segment(owner).startswith(before)
        return None if known else wrap(spot, owner, f"{before}(", ")")

    return change


def argument_followed_by(names: tuple[str, ...], position: int, call: str) -> Change:
    """An argument of the call of these names, with a call after it."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        if found is None or len(found.args) <= position:
            return None
        return followed(spot, found.args[position], call)

    return change


def operand_followed_by(names: tuple[str, ...], call: str) -> Change:
    """What an op of these names works on, with a call after it: `torch.log(p.clamp(min=1e-8))`, `p.clamp(…).log()`.

    Every such op of the statement: they share what is wrong.
    """

    def change(spot: Spot) -> Rewrite | None:
        rewrite = spot.rewrite()
        found = [one for one in calls_of(spot) if last_name(one) in names]
        for one in found:
            method = isinstance(one.func, ast.Attribute) and not of_module(spot, one.func.value)
            operand = one.func.value if method and isinstance(one.func, ast.Attribute) else next(iter(one.args), None)
            if operand is None or isinstance(operand, ast.Starred):
                return None
            rewrite.replace(operand, f"{rewrite.primary(operand)}{call}")
        return rewrite if found else None

    return change


def chain_begun_with(names: tuple[str, ...], call: str) -> Change:
    """The first value of the chain that ends in a method of these names, with a call after it: `x.float().sum()`."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        node: ast.expr | None = found
        while (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not of_module(spot, node.func.value)
        ):
            node = node.func.value
        return followed(spot, node, call) if node is not found else None

    return change


def divided(names: tuple[str, ...], by: int) -> Change:
    """What a method of these names is called on, divided by a number: `(loss / 4).backward()`."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        if found is None or not isinstance(found.func, ast.Attribute):
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(found.func.value, f"({rewrite.primary(found.func.value)} / {by})")

    return change


def straight_through(names: tuple[str, ...]) -> Change:
    """An op without a derivative lets the gradient pass: `x + (torch.round(x) - x).detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        found = call_named(spot, names)
        if found is None or not isinstance(found.func, ast.Attribute):
            return None
        module = of_module(spot, found.func.value)
        operand = next(iter(found.args), None) if module else found.func.value
        if operand is None or isinstance(operand, ast.Starred):
            return None
        rewrite = spot.rewrite()
        start, end = rewrite.span(operand)
        text = (
            spot.source.text[start:end] if isinstance(operand, (ast.Name, ast.Attribute)) else rewrite.primary(operand)
        )
        if any(isinstance(node, ast.Call) for node in ast.walk(operand)):
            return None  # it would be computed three times
        return rewrite.replace(found, f"({text} + ({spot.source.segment(found)} - {text}).detach())")

    return change


def side_followed_by(side: int, call: str) -> Change:
    """One of the two tensors that the place compares, with a call after it: of `F.mse_loss(p, y)`, of `p - y`."""

    def change(spot: Spot) -> Rewrite | None:
        node = spot.expression
        if isinstance(node, ast.BinOp):
            return followed(spot, (node.left, node.right)[side], call)
        if isinstance(node, ast.Call) and len(node.args) > side:
            return followed(spot, node.args[side], call)
        return None

    return change


def names_detached() -> Change:
    """Before the place, what it both reads and binds anew is cut off its graph: `h, c = h.detach(), c.detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        target = assignment.targets[0] if assignment is not None else None
        if assignment is None or not isinstance(target, ast.Tuple):
            return None
        bound = [one.id for one in ast.walk(target) if isinstance(one, ast.Name)]
        read = {one.id for one in ast.walk(assignment.value) if isinstance(one, ast.Name)}
        names = [name for name in bound if name in read]
        if not names or not all(usable(spot.source, name, assignment) for name in names):
            return None
        code = f"{', '.join(names)} = {', '.join(f'{name}.detach()' for name in names)}"
        return spot.rewrite().before(assignment, code)

    return change


def detached_each(name: str) -> Change:
    """After the place, each tensor of a tuple is cut off its graph."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None or not usable(spot.source, name, statement, after=True):
            return None
        return spot.rewrite().after(statement, f"{name} = tuple(one.detach() for one in {name})")

    return change


def added_detached() -> Change:
    """What a statement puts into a container, without its graph if it is a tensor."""

    def change(spot: Spot) -> Rewrite | None:
        call = spot.statement.value if isinstance(spot.statement, ast.Expr) else None
        if (
            not isinstance(call, ast.Call)
            or len(call.args) != 1
            or not isinstance(call.args[0], (ast.Name, ast.Attribute))
        ):
            return None
        torch = torch_name(spot.source, call)
        name = spot.source.segment(call.args[0])
        if torch is None:
            return followed(spot, call.args[0], ".detach()")
        return spot.rewrite().replace(call.args[0], f"{name}.detach() if {torch}.is_tensor({name}) else {name}")

    return change


def compared_straight_through() -> Change:
    """A mask that was made by comparing lets the gradient pass: `(g > 0.5).float() + g - g.detach()`."""

    def change(spot: Spot) -> Rewrite | None:
        value = getattr(spot.statement, "value", None)
        found = [one for one in ast.walk(value) if isinstance(one, ast.Compare)] if isinstance(value, ast.Call) else []
        soft = found[0].left if len(found) == 1 else None
        if not isinstance(value, ast.Call) or last_name(value) not in ("float", "to", "type", "double"):
            return None
        if not isinstance(soft, (ast.Name, ast.Attribute)):
            return None
        name, end = spot.source.segment(soft), spot.source.end(value)
        return spot.rewrite().insert(end, f" + {name} - {name}.detach()")

    return change


def only_argument_followed_by(call: str) -> Change:
    """The one argument of the place's call, with a call after it: `net(fake.detach())`."""

    def change(spot: Spot) -> Rewrite | None:
        node = spot.expression
        if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
            return None
        return followed(spot, node.args[0], call)

    return change
