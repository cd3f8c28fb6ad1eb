"""Changes of one value: it is cut off its graph, copied, turned into a number, or made a leaf."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..scope import torch_name, usable
from ..spot import Spot
from ..ways import Change
from .calls import call_named, calls_of, last_name, of_module


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


def detached_each(name: str) -> Change:
    """After the place, each tensor of a tuple is cut off its graph."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None or not usable(spot.source, name, statement, after=True):
            return None
        return spot.rewrite().after(statement, f"{name} = tuple(one.detach() for one in {name})")

    return change


def not_rebuilt() -> Change:
    """A tensor that is made of a tensor's number is that tensor: `torch.tensor(a.item() + b.item())` as `a + b`."""

    def change(spot: Spot) -> Rewrite | None:
        made = call_named(spot, ("tensor", "as_tensor", "Tensor", "FloatTensor", "scalar_tensor"))
        if made is None or len(made.args) != 1 or isinstance(made.args[0], ast.Starred):
            return None
        inner, rewrite = made.args[0], spot.rewrite()
        exits = [
            node
            for node in ast.walk(inner)
            if isinstance(node, ast.Call) and last_name(node) == "item" and isinstance(node.func, ast.Attribute)
        ]
        if not exits:
            return _stacked(spot, made, inner)
        source = spot.source
        if not all(_is_only_reckoned_with(spot, node, made) for node in exits):
            return None
        start, end = rewrite.span(made)
        first, last = source.start(inner), source.end(inner)
        rewrite.piece(start, first, "(" if _needs_parentheses(spot, made, inner) else "")
        for node in exits:
            assert isinstance(node.func, ast.Attribute)
            rewrite.piece(rewrite.span(node.func.value)[1], source.end(node), "")
        return rewrite.piece(last, end, ")" if _needs_parentheses(spot, made, inner) else "")

    return change


def _is_only_reckoned_with(spot: Spot, node: ast.AST, until: ast.AST) -> bool:
    """Whether there is but arithmetic, which tensors can do as well, around `node` up to `until`."""
    parent = spot.source.parents.get(node)
    while isinstance(parent, (ast.BinOp, ast.UnaryOp)):
        parent = spot.source.parents.get(parent)
    return parent is until


def _needs_parentheses(spot: Spot, outer: ast.expr, inner: ast.expr) -> bool:
    simple = isinstance(inner, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return not simple and isinstance(spot.source.parents.get(outer), (ast.expr, ast.keyword))


def _stacked(spot: Spot, made: ast.Call, inner: ast.expr) -> Rewrite | None:
    """`torch.stack` of a list of tensors, which keeps their graphs, where numbers were copied out of it."""
    if not isinstance(made.func, ast.Attribute) or made.func.attr not in ("tensor", "as_tensor"):
        return None
    if not isinstance(inner, (ast.Name, ast.List, ast.ListComp)):
        return None
    torch, code = spot.source.segment(made.func.value), spot.source.segment(inner)
    return spot.rewrite().replace(made, f"{torch}.stack({code})")


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
