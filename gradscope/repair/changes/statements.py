"""Changes of whole statements: one more, one moved, one under `torch.no_grad()`."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from ...model.findings import Place
from ..rewrite import Rewrite, body_of
from ..scope import usable
from ..spot import Spot, names_read
from ..ways import Change
from .calls import last_name


def inserted(code: str, *, before: bool) -> Change:
    """A new statement `code` before or after the place, where its names are known there."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None:
            return None
        if not usable(spot.source, code, statement, after=not before):
            return None
        if not before and isinstance(statement, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
            return None
        rewrite = spot.rewrite()
        return rewrite.before(statement, code) if before else rewrite.after(statement, code)

    return change


def moved(to: Place | None, *, before: bool, same_loops: bool = True) -> Change:
    """The statement of the place goes before or after that of `to`, in the same function, and the same loops."""

    def change(spot: Spot) -> Rewrite | None:
        there = spot.beside(to)
        if there is None or spot.statement is None or there.statement is None:
            return None
        return moved_to(spot, [spot.statement], there.statement, before, same_loops)

    return change


def removed() -> Change:
    """Without the statement, if it is one line."""

    def change(spot: Spot) -> Rewrite | None:
        statement, rewrite = spot.statement, spot.rewrite()
        one = isinstance(statement, ast.Expr) and rewrite.line_text(statement) is not None
        return rewrite.delete(statement) if one and statement is not None else None

    return change


def removed_call(name: str) -> Change:
    """Without a statement that is nothing but a call of this name."""

    def change(spot: Spot) -> Rewrite | None:
        value = spot.statement.value if isinstance(spot.statement, ast.Expr) else None
        return removed()(spot) if isinstance(value, ast.Call) and last_name(value) == name else None

    return change


def built_before_use(name: str, after: Place | None, through: Place | None) -> Change:
    """What makes `name` goes right before the place, with all that only it needs.

    Only if it comes after the statement of `after` so, and what happens at `through` is among it.
    """

    def change(spot: Spot) -> Rewrite | None:
        there, inner = spot.beside(after), spot.beside(through)
        if there is None or inner is None or spot.statement is None or not name.isidentifier():
            return None
        body = body_of(spot.source, spot.statement)
        if body is None or there.statement not in body or body.index(there.statement) > body.index(spot.statement):
            return None
        chain = _only_for(body, {name}, body.index(spot.statement), spot.statement)
        chain = [one for one in chain if one.lineno < there.place.line]
        return moved_to(spot, chain, spot.statement, before=True) if inner.statement in chain else None

    return change


def built_before(name: str) -> Change:
    """What makes `name` before the loop of the place goes right before the place, with all that only it needs."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        loops = _loops(spot, statement) if statement is not None else []
        if statement is None or not loops or not isinstance(loops[0], ast.stmt) or not name.isidentifier():
            return None
        body = body_of(spot.source, loops[0])
        if body is None:
            return None
        chain = _only_for(body, {name}, body.index(loops[0]), loops[0])
        return moved_to(spot, chain, statement, before=True, same_loops=False) if chain else None

    return change


def emptied(pile: str) -> Change:
    """The container that is called `pile` where it is filled is cleared after the place."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None:
            return None
        last = pile.rpartition(".")[2]
        nodes = ast.walk(spot.source.function_of(statement))
        same = {spot.source.segment(one) for one in nodes if isinstance(one, ast.Attribute) and one.attr == last}
        known = [name for name in (*sorted(same), pile) if usable(spot.source, name, statement)]
        return spot.rewrite().after(statement, f"{known[0]}.clear()") if len(same) < 2 and known else None

    return change


def switched(modes: tuple[str, ...]) -> Change:
    """The model that the place calls is put into a mode before, and into the second one after it."""

    def change(spot: Spot) -> Rewrite | None:
        call, statement = spot.expression, spot.statement
        if not isinstance(call, ast.Call) or not isinstance(call.func, (ast.Name, ast.Attribute)) or statement is None:
            return None
        model = spot.source.segment(call.func)
        if not usable(spot.source, model, statement):
            return None
        rewrite = spot.rewrite().before(statement, f"{model}.{modes[0]}()")
        if len(modes) == 1:
            return rewrite
        return None if isinstance(statement, ast.Return) else rewrite.after(statement, f"{model}.{modes[1]}()")

    return change


def group_added(optimizer: str, names: Iterable[str]) -> Change:
    """What the place makes or unfreezes is given to an optimizer after it: the module in which `names` are."""
    words = {word for name in names for word in name.split(".")}

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        owner = _module_on(statement, words)
        if statement is None or owner is None:
            return None
        code = f'{optimizer}.add_param_group({{"params": {spot.source.segment(owner)}.parameters()}})'
        if not all(usable(spot.source, name, statement, after=True) for name in names_read(code)):
            return None
        return spot.rewrite().after(statement, code)

    return change


def _module_on(statement: ast.stmt | None, words: set[str]) -> ast.expr | None:
    """The module that a statement binds, or the one, of these words, that it calls something of or with."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.value, ast.Call):
        target = statement.targets[0]
        return target if isinstance(target, (ast.Name, ast.Attribute)) else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return None
    if isinstance(call.func, ast.Attribute) and call.func.attr == "requires_grad_":
        return call.func.value if isinstance(call.func.value, (ast.Name, ast.Attribute)) else None
    given = [one for one in call.args if isinstance(one, (ast.Name, ast.Attribute))]
    return next((one for one in given if (one.attr if isinstance(one, ast.Attribute) else one.id) in words), None)


def _only_for(body: list[ast.stmt], wanted: set[str], end: int, use: ast.stmt) -> list[ast.stmt]:
    """The assignments before `body[end]` that make `wanted`, and those that nothing but these needs, in their order."""
    chain: list[ast.stmt] = []
    for statement in reversed(body[:end]):
        bound = names_of(statement, ast.Store)
        if not isinstance(statement, ast.Assign) or not bound or not bound <= wanted:
            continue
        later = [one for one in body[body.index(statement) + 1 : end + 1] if one not in chain]
        others = [one for one in later if one is not use or chain]
        if any(names_of(one, ast.Load) & bound for one in others):
            continue
        chain.insert(0, statement)
        wanted = wanted | names_of(statement, ast.Load)
    return chain


def names_of(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    """The names that a statement reads or binds."""
    nodes = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in nodes if isinstance(node.ctx, context)}


def removed_flag(name: str) -> Change:
    """Without the statement that sets an attribute of this name."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        target = assignment.targets[0] if assignment is not None else None
        known = isinstance(target, ast.Attribute) and target.attr == name
        return spot.rewrite().delete(assignment) if known and assignment is not None else None

    return change


def before_its_loop() -> Change:
    """The statement goes in front of the innermost loop that it is in, so that it runs once."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if statement is None or spot.rewrite().line_text(statement) is None:
            return None
        loop = next((one for one in spot.source.around(statement) if isinstance(one, (ast.For, ast.While))), None)
        if loop is None or not isinstance(loop, ast.stmt):
            return None
        names = names_of(statement, ast.Load)
        own = {node.id for node in ast.walk(loop) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        if names & own or spot.source.function_of(loop) is not spot.source.function_of(statement):
            return None
        return moved_to(spot, [statement], loop, before=True, same_loops=False)

    return change


def replaced_by(code: str) -> Change:
    """Another statement in the place of a simple one."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if not isinstance(statement, (ast.Expr, ast.Assign)):
            return None
        if not usable(spot.source, code, statement):
            return None
        return spot.rewrite().piece(spot.source.start(statement), spot.source.end(statement), code)

    return change


def moved_to(
    spot: Spot, statements: list[ast.stmt], there: ast.stmt, before: bool, same_loops: bool = True
) -> Rewrite | None:
    """Statements of one line each go before or after another one of their function."""
    source, rewrite = spot.source, spot.rewrite()
    if source.function_of(there) is not source.function_of(statements[0]) or there in statements:
        return None
    codes = [rewrite.line_text(one) for one in statements]
    if any(code is None for code in codes) or any(isinstance(one, _COMPOUND) for one in statements):
        return None
    if same_loops and _loops(spot, there) != _loops(spot, statements[0]):
        return None
    if not before and isinstance(there, _COMPOUND) and not isinstance(there, (ast.For, ast.With)):
        return None
    if _needed_between(spot, statements, there):
        return None
    for one in statements:
        rewrite.delete(one)
    code = f"{source.newline}{rewrite.indent(there)}".join(code for code in codes if code is not None)
    return rewrite.before(there, code) if before else rewrite.after(there, code)


def _loops(spot: Spot, statement: ast.stmt) -> list[ast.AST]:
    return [one for one in spot.source.around(statement) if isinstance(one, (ast.For, ast.While, ast.AsyncFor))]


def _needed_between(spot: Spot, statements: list[ast.stmt], there: ast.stmt) -> bool:
    """Whether what is passed over needs what the statements bind, or binds what they need."""
    first, last = min(one.lineno for one in (*statements, there)), max(one.lineno for one in (*statements, there))
    binds = set().union(*(names_of(one, ast.Store) for one in statements))
    reads = set().union(*(names_of(one, ast.Load) for one in statements))
    inside = {id(node) for one in (*statements, there) for node in ast.walk(one)}
    for node in ast.walk(spot.source.function_of(there)):
        if isinstance(node, ast.Name) and id(node) not in inside and first <= node.lineno <= last:
            taken = binds if isinstance(node.ctx, ast.Load) else reads
            if node.id in taken:
                return True
    return False


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
