"""Changes of one call: a keyword more or other, another name, a link of its chain left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..rewrite import Rewrite
from ..scope import is_module, torch_name, usable
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


def without_arguments(*names: str) -> Change:
    """The call of these names without anything in its parentheses."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None or not (call.args or call.keywords):
            return None
        end = spot.source.end(call)
        opening = spot.source.text.index("(", spot.rewrite().span(call.func)[1])
        return spot.rewrite().piece(opening, end, "()")

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
    if start < spot.source.start(node) and before.endswith("(") and after == ")":
        return spot.rewrite().insert(start, before[:-1])  # its own parentheses are the call's
    return spot.rewrite().piece(start, start, before).piece(end, end, after)


def call_named(spot: Spot, names: tuple[str, ...]) -> ast.Call | None:
    """The place's own call if it has one of these last names, else the only one within it or of its statement."""
    if isinstance(spot.expression, ast.Call) and last_name(spot.expression) in names:
        return spot.expression
    found = [call for call in calls_of(spot) if last_name(call) in names]
    if len(found) > 1 and spot.expression is not None:
        own = {id(node) for node in ast.walk(spot.expression)}
        found = [call for call in found if id(call) in own]
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


def receiver(expression: str, method: str) -> str:
    """`self.scaler` of the expression `self.scaler.scale(loss)`, for `scale`; "" where it is no such call."""
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return ""
    found = [
        node.func.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
    ]
    return ast.unparse(found[0]) if len(found) == 1 and isinstance(found[0], (ast.Name, ast.Attribute)) else ""


def kept_in_a_list(names: tuple[str, ...]) -> Change:
    """The iterator that the call is given first is made a list where the file makes it."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        given = next(iter(call.args), None) if call is not None else None
        if not isinstance(given, (ast.Name, ast.Attribute)):
            return None
        wanted = ast.unparse(given)
        found = [
            node.value
            for node in ast.walk(spot.source.tree)
            if isinstance(node, ast.Assign) and any(ast.unparse(target) == wanted for target in node.targets)
        ]
        return wrap(spot, found[0], "list(", ")") if len(found) == 1 and isinstance(found[0], ast.Call) else None

    return change


def link_replaced(names: tuple[str, ...], code: str) -> Change:
    """A method call of the chain becomes another: `x.view(b, c, t)` as `x.transpose(1, 2)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None or not isinstance(call.func, ast.Attribute) or not code or of_module(spot, call.func.value):
            return None
        return spot.rewrite().piece(spot.rewrite().span(call.func.value)[1], spot.source.end(call), code)

    return change


def without_op(names: tuple[str, ...]) -> Change:
    """What an op works on in the place of its result: `x` for `torch.softmax(x, dim=1)` and `x.softmax(1)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None:
            return None
        method = isinstance(call.func, ast.Attribute) and not of_module(spot, call.func.value)
        operand = call.func.value if method and isinstance(call.func, ast.Attribute) else next(iter(call.args), None)
        if operand is None or isinstance(operand, ast.Starred):
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(call, spot.source.text[slice(*rewrite.span(operand))])

    return change


def conditional(names: tuple[str, ...], keyword: str, condition: str, otherwise: str) -> Change:
    """A keyword's value where a condition holds, else another."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        given = next((one for one in call.keywords if one.arg == keyword), None) if call is not None else None
        if given is None or not all(usable(spot.source, name, given.value) for name in names_read(condition)):
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(given.value, f"{rewrite.primary(given.value)} if {condition} else {otherwise}")

    return change


def same_object() -> Change:
    """What is assigned is the parameter that it was copied from: `a.weight = b.weight`."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        if assignment is None or not isinstance(assignment.targets[0], ast.Attribute):
            return None
        name = assignment.targets[0].attr
        found = [node for node in ast.walk(assignment.value) if isinstance(node, ast.Attribute) and node.attr == name]
        return spot.rewrite().replace(assignment.value, spot.source.segment(found[0])) if len(found) == 1 else None

    return change


def of_module(spot: Spot, node: ast.expr) -> bool:
    """Whether a dotted name begins with an imported module: `torch.nn.functional`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and is_module(spot.source, node.id, node)


def argument_replaced(names: tuple[str, ...], position: int, code: str) -> Change:
    """Another value for an argument of the call of these names."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, names)
        if call is None or not call.args or isinstance(call.args[position], ast.Starred):
            return None
        return spot.rewrite().replace(call.args[position], code)

    return change


def of_the_whole() -> Change:
    """`model.parameters()` for `model.encoder.parameters()`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ("parameters",))
        part = call.func.value if call is not None and isinstance(call.func, ast.Attribute) else None
        if not isinstance(part, ast.Attribute) or (isinstance(part.value, ast.Name) and part.value.id == "self"):
            return None
        return spot.rewrite().piece(spot.source.end(part.value), spot.source.end(part), "")

    return change


def state_copied() -> Change:
    """A `state_dict()` that is kept holds copies."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ("state_dict",))
        if call is None or call.args or call.keywords:
            return None
        code = spot.source.segment(call)
        return spot.rewrite().replace(call, f"{{name: value.clone() for name, value in {code}.items()}}")

    return change
