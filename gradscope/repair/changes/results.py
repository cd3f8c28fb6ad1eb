"""Changes by which a result is used as what it is: a new tensor, under a name of its own or the same."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite, body_of
from ..scope import is_bound, torch_name
from ..spot import Spot
from ..ways import Change
from .calls import call_named, last_name, of_module, wrap
from .values import followed
from .writes import own_name, removed_keyword


def made_new(method: str, instead: str) -> Change:
    """A method in place as the one that returns a new tensor: `x.resize_(2, 3)` as `x = x.reshape(2, 3)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, (method,))
        if call is None or not isinstance(call.func, ast.Attribute):
            return None
        end = spot.source.end(call.func)
        rewrite = spot.rewrite().piece(end - len(method), end, instead)
        if not isinstance(spot.statement, ast.Expr):
            return rewrite
        receiver = call.func.value
        if spot.statement.value is not call or not own_name(spot, receiver, attributes=True):
            return None
        return rewrite.insert(spot.source.start(spot.statement), f"{spot.source.segment(receiver)} = ")

    return change


def result_bound(op: str) -> Change:
    """What an op was to write into `out` is its result: `torch.mul(a, b, out=c)` as `c = torch.mul(a, b)`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, (op,))
        given = next((one.value for one in call.keywords if one.arg == "out"), None) if call is not None else None
        if call is None or given is None:
            return None
        rewrite = removed_keyword(spot, call, "out")
        if rewrite is None or not isinstance(spot.statement, ast.Expr):
            return rewrite
        known = isinstance(given, ast.Subscript) or own_name(spot, given, attributes=True)
        if spot.statement.value is not call or not known:
            return None
        return rewrite.insert(spot.source.start(spot.statement), f"{spot.source.segment(given)} = ")

    return change


def local_instead() -> Change:
    """What is computed for an attribute gets a name of the function's own, which reads it from there on.

    `self.weight = self.weight * mask`, then `linear(x, self.weight)`, as `weight = …` and `linear(x, weight)`.
    """

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        target = assignment.targets[0] if assignment is not None else None
        if assignment is None or not isinstance(target, ast.Attribute):
            return None
        home, name = spot.source.function_of(assignment), target.attr
        body = body_of(spot.source, assignment)
        if not isinstance(home, ast.FunctionDef) or is_bound(spot.source, name, home.body[-1]) or body is not home.body:
            return None
        wanted = ast.unparse(target)
        later = body[body.index(assignment) + 1 :]
        nodes = [one for each in later for one in ast.walk(each) if isinstance(one, ast.Attribute)]
        read = [one for one in nodes if ast.unparse(one) == wanted]
        if not read or any(not isinstance(one.ctx, ast.Load) for one in read):
            return None
        rewrite = spot.rewrite()
        for one in (target, *read):
            rewrite.piece(spot.source.start(one), spot.source.end(one), name)
        return rewrite

    return change


def value_copied(*, recorded: bool = True) -> Change:
    """A value is written into the tensor whose name it was given: `with torch.no_grad(): w.copy_(value)`.

    The block is left out where nothing is `recorded` anyway.
    """

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        target = assignment.targets[0] if assignment is not None else None
        torch = torch_name(spot.source, assignment) if assignment is not None else None
        if assignment is None or not isinstance(target, (ast.Attribute, ast.Name)) or torch is None:
            return None
        source, rewrite = spot.source, spot.rewrite()
        start, end = source.start(assignment), source.end(assignment)
        line = source.line_of(start)
        if source.text[source.line_start(line) : start].strip() or rewrite.line_text(assignment) is None:
            return None
        indent = rewrite.indent(assignment)
        step = "\t" if indent.startswith("\t") else "    "
        value = source.text[slice(*rewrite.span(assignment.value))]
        head = f"with {torch}.no_grad():{source.newline}{indent}{step}" if recorded else ""
        return rewrite.piece(start, end, f"{head}{source.segment(target)}.copy_({value})")

    return change


def fitted(code: str) -> Change:
    """What is assigned to an attribute of a tensor is made to fit it; `{owner}` is the tensor: `.to({owner}.dtype)`."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        target = assignment.targets[0] if assignment is not None else None
        if assignment is None or not isinstance(target, ast.Attribute):
            return None
        owner = spot.rewrite().primary(target.value)
        return followed(spot, assignment.value, code.format(owner=owner))

    return change


def chosen() -> Change:
    """Of two values one is chosen element by element: `a if c else b` as `torch.where(c, a, b)`."""

    def change(spot: Spot) -> Rewrite | None:
        nodes = {id(node): node for one in spot.statements for node in ast.walk(one) if isinstance(node, ast.IfExp)}
        if len(nodes) == 1:
            node = next(iter(nodes.values()))
            code = _where(spot, node, node.test, node.body, node.orelse)
            return spot.rewrite().replace(node, code) if code is not None else None
        return _branches_chosen(spot)

    return change


def _branches_chosen(spot: Spot) -> Rewrite | None:
    """An `if` whose two branches each return, or assign to one name, a value."""
    home = next((one for one in spot.source.statements_on(spot.place.line) if isinstance(one, ast.If)), None)
    body = body_of(spot.source, home) if home is not None else None
    if home is None or body is None or len(home.body) != 1:
        return None
    follow = body[body.index(home) + 1 :]
    first = home.body[0]
    returned = isinstance(first, ast.Return) and not home.orelse
    other = home.orelse[0] if len(home.orelse) == 1 else follow[0] if returned and follow else None
    if isinstance(first, ast.Return) and isinstance(other, ast.Return):
        head = "return "
    elif isinstance(first, ast.Assign) and isinstance(other, ast.Assign) and _alike(first.targets, other.targets):
        head = f"{ast.unparse(first.targets[0])} = "
    else:
        return None
    if first.value is None or other.value is None or not spot.source.segment(home).startswith("if"):
        return None
    code = _where(spot, home, home.test, first.value, other.value)
    end = spot.source.end(other if other in follow else home)
    return spot.rewrite().piece(spot.source.start(home), end, f"{head}{code}") if code is not None else None


def _alike(some: list[ast.expr], others: list[ast.expr]) -> bool:
    return len(some) == len(others) == 1 and ast.unparse(some[0]) == ast.unparse(others[0])


def _where(spot: Spot, at: ast.AST, *parts: ast.expr) -> str | None:
    torch, rewrite = torch_name(spot.source, at), spot.rewrite()
    texts = [spot.source.text[slice(*rewrite.span(one))] for one in parts]
    return None if torch is None or any("\n" in one for one in texts) else f"{torch}.where({', '.join(texts)})"


def mask_multiplied() -> Change:
    """The sum of what a mask picks keeps its size: `x[x > 0].sum()` as `(x * (x > 0)).sum()`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ("sum",))
        picked = call.func.value if call is not None and isinstance(call.func, ast.Attribute) else None
        if not isinstance(picked, ast.Subscript) or isinstance(picked.slice, (ast.Slice, ast.Tuple, ast.Constant)):
            return None
        rewrite = spot.rewrite()
        code = f"({rewrite.primary(picked.value)} * {rewrite.primary(picked.slice)})"
        return rewrite.replace(picked, code)

    return change


def given_joined() -> Change:
    """Of several iterables or modules in the list that a call is given first, all that they hold: `[*a, *b]`."""

    def change(spot: Spot) -> Rewrite | None:
        call = spot.expression
        given = call.args[0] if isinstance(call, ast.Call) and call.args else None
        if not isinstance(given, (ast.List, ast.Tuple)):
            return None
        rewrite = spot.rewrite()
        for one in given.elts:
            if isinstance(one, ast.Starred):
                continue
            start = rewrite.span(one)[0]
            rewrite.insert(start, "*")
            if isinstance(one, ast.Attribute) or (isinstance(one, ast.Name) and not _holds_many(spot, one)):
                rewrite.insert(spot.source.end(one), ".parameters()")
        return rewrite

    return change


def _holds_many(spot: Spot, name: ast.Name) -> bool:
    """Whether a name is given a list, or what `parameters()` returns."""
    made = [
        node.value
        for node in ast.walk(spot.source.tree)
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == name.id for target in node.targets)
    ]
    calls = ("list", "tuple", "parameters", "filter", "chain")
    return bool(made) and all(
        isinstance(one, (ast.List, ast.Tuple, ast.ListComp)) or (isinstance(one, ast.Call) and last_name(one) in calls)
        for one in made
    )


def given_listed() -> Change:
    """What a call is given first, in a list."""

    def change(spot: Spot) -> Rewrite | None:
        call = spot.expression
        given = call.args[0] if isinstance(call, ast.Call) and call.args else None
        return wrap(spot, given, "[", "]")

    return change


def gradient_fitted(code: str) -> Change:
    """The gradient that a backward is given is made to fit; `{result}` is what is differentiated."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ("backward", "grad"))
        if call is None or not isinstance(call.func, ast.Attribute):
            return None
        named = next((one.value for one in call.keywords if one.arg in ("gradient", "grad_outputs")), None)
        if call.func.attr == "backward" and not of_module(spot, call.func.value):
            result, given = call.func.value, named or next(iter(call.args), None)
        else:
            result, given = next(iter(call.args), call), named
        if not isinstance(result, (ast.Name, ast.Attribute)) or isinstance(given, (ast.List, ast.Tuple)):
            return None
        return followed(spot, given, code.format(result=spot.source.segment(result)))

    return change
