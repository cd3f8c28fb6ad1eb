"""What the user's text tells of a statement that ran: whether it lets go of its value, which loop repeats it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import takewhile

from ...model.findings import Place
from ...repair.source import Source, heads_end
from ...repair.spot import Spot
from .index import Case, at, shared_frames
from .source_lines import place_in


def spot_of(case: Case, stack: int | None) -> Spot | None:
    """The innermost line of a stack in the user's text; None where that is not what ran there, or a library did."""
    place = case.place(stack) if not case.in_library(stack) else None
    source = case.sources.of(place.file) if place is not None else None
    return Spot(source, place) if source is not None and place is not None else None


def lets_go(case: Case, stack: int | None) -> bool:
    """Whether the call at a stack is a whole statement: `x.clamp(0, 1)`. Nothing can keep what it returns.

    So it is with the members of a tuple that is one: `tuple(g * 2 for g in grads)`.
    """
    spot = spot_of(case, stack)
    statement = spot.statement if spot is not None else None
    if spot is None or spot.expression is None or not isinstance(statement, ast.Expr):
        return False
    whole = statement.value
    if isinstance(whole, ast.Call) and isinstance(whole.func, ast.Name) and whole.func.id in ("tuple", "list"):
        members = whole.args[0] if whole.args else whole
        return isinstance(members, (ast.GeneratorExp, ast.ListComp)) and spot.expression in ast.walk(members.elt)
    return whole is spot.expression


def forgets(case: Case, stack: int | None) -> bool:
    """The same, or it is given to a local name that nothing reads before it is given another value."""
    spot = spot_of(case, stack)
    statement = spot.statement if spot is not None else None
    if spot is None or not isinstance(statement, ast.Assign) or statement.value is not spot.expression:
        return lets_go(case, stack)
    names = {one.id for one in statement.targets if isinstance(one, ast.Name)}
    home = spot.source.function_of(statement)
    if len(names) != len(statement.targets) or isinstance(home, ast.Lambda):
        return False
    around = list(takewhile(lambda node: node is not home, spot.source.around(statement)))
    loops = [node for node in around if isinstance(node, (ast.For, ast.While))]
    own = set(ast.walk(statement))
    for node in ast.walk(home):
        if isinstance(node, (ast.Global, ast.Nonlocal)) and names & set(node.names):
            return False
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or node.id not in names or node in own:
            continue
        inner = spot.source.function_of(node) is not home
        if inner or node.lineno > heads_end(statement) or any(node in ast.walk(loop) for loop in loops):
            return False
    return True


def in_loop(case: Case, stack: int | None, other: int | None) -> Place | None:
    """The innermost line of a stack that a loop of its own function repeats, within what does not run `other` as well.

    None where no such loop was seen, or the text is not what ran.
    """
    sites = case.sites(stack)
    for site in sites[: len(sites) - shared_frames(sites, case.sites(other))]:
        source = case.sources.of(site.file)
        statement = Spot(source, at(site)).statement if source is not None else None
        for node in source.around(statement) if source is not None and statement is not None else ():
            if isinstance(node, (ast.For, ast.While)):
                return at(site)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                break
    return None


def loop_over_itself(case: Case, stack: int | None) -> Place | None:
    """The loop around a line that pairs something with itself: `for a, b in zip(net.buffers(), net.buffers())`."""
    spot = spot_of(case, stack)
    statement = spot.statement if spot is not None else None
    for node in spot.source.around(statement) if spot is not None and statement is not None else ():
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Call):
            pairs = [ast.unparse(argument) for argument in node.iter.args]
            if len(pairs) > 1 and len(set(pairs)) == 1 and spot is not None:
                return place_in(spot.source, node)
    return None


def alias_of(case: Case, stack: int | None) -> Place | None:
    """Where one of the two names that a line joins was made another name of the other: `old = new`, for `new - old`."""
    spot = spot_of(case, stack)
    statement = spot.statement if spot is not None else None
    if spot is None or statement is None:
        return None
    read = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in ast.walk(spot.source.function_of(statement)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.lineno < statement.lineno:
            named = {one.id for one in node.targets if isinstance(one, ast.Name)}
            if named & read and node.value.id in read:
                return place_in(spot.source, node)
    return None


def bare_attributes(case: Case) -> Iterator[tuple[ast.Attribute, Place]]:
    """Statements of functions that ran which only name an attribute: `optimizer.step`."""
    for source, node, _ in _statements_that_ran(case):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Attribute):
            yield node.value, place_in(source, node, within=node.value)


def attributes_set(case: Case, name: str) -> Iterator[Place]:
    """Statements of functions that ran which set an attribute of that name, and did nothing that was recorded."""
    for source, node, ran in _statements_that_ran(case):
        targets = node.targets if isinstance(node, ast.Assign) and node.lineno not in ran else ()
        for target in targets:
            if isinstance(target, ast.Attribute) and target.attr == name:
                yield place_in(source, node, within=target)


def _statements_that_ran(case: Case) -> Iterator[tuple[Source, ast.stmt, set[int]]]:
    """The statements of all functions of which a line was recorded, with the lines of their file that were."""
    lines: dict[str, set[int]] = {}
    for site in case.trace.source.sites().values():
        lines.setdefault(site.file, set()).add(site.line)
    for file, ran in lines.items():
        source = case.sources.of(file)
        for node in ast.walk(source.tree) if source is not None else ():
            if source is None or not isinstance(node, (ast.Expr, ast.Assign)):
                continue
            function = source.function_of(node)
            first, last = getattr(function, "lineno", 0), getattr(function, "end_lineno", None)
            if any(first <= line and (last is None or line <= last) for line in ran):
                yield source, node, ran
