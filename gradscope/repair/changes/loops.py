"""Changes by the loop that a statement is in: what is added up over it, done after it, or done once more beside it."""

from __future__ import annotations

import ast

from ...model.findings import Place
from ..rewrite import Rewrite, body_of
from ..scope import bindings
from ..spot import Spot
from ..ways import Change
from .statements import names_of

_LOOPS = (ast.For, ast.While)


def accumulated(until: Place | None) -> Change:
    """What a loop assigns anew each time is added up: `total = f(x)` as `total = total + f(x)`, from 0.0 on.

    The loop ends before `until`, which uses the sum.
    """

    def change(spot: Spot) -> Rewrite | None:
        assignment, loop = spot.assignment, _loop_around(spot)
        target = assignment.targets[0] if assignment is not None else None
        if assignment is None or loop is None or not isinstance(target, ast.Name):
            return None
        name, there = target.id, spot.beside(until)
        within = there is not None and there.statement is not None and loop in spot.source.around(there.statement)
        if within or name in names_of(assignment, ast.Load):
            return None
        home, rewrite = spot.source.function_of(assignment), spot.rewrite()
        start = rewrite.span(assignment.value)[0]
        rewrite.insert(start, f"{name} + ")
        if isinstance(assignment.value, (ast.IfExp, ast.BoolOp, ast.Compare, ast.Lambda, ast.NamedExpr)):
            rewrite.insert(start, "(").insert(rewrite.span(assignment.value)[1], ")")
        outer = [line for node, line in bindings(home, name) if line < loop.lineno and isinstance(node, ast.Name)]
        return rewrite if outer else rewrite.before(loop, f"{name} = 0.0")

    return change


def after_its_loop() -> Change:
    """The statement goes behind the innermost loop that it is in, so that it runs once for all of its turns."""

    def change(spot: Spot) -> Rewrite | None:
        loop, statement = _loop_around(spot), spot.statement
        body = body_of(spot.source, statement) if statement is not None else None
        if loop is None or statement is None or body is not loop.body or loop.orelse:
            return None
        outer = [one for one in spot.source.around(loop) if isinstance(one, _LOOPS)]
        text = spot.rewrite().line_text(statement)
        own = names_of(loop, ast.Store) & names_of(statement, ast.Load)
        if not outer or text is None or own or not isinstance(statement, ast.Expr):
            return None
        last = loop.body[-1] if loop.body[-1] is not statement else loop
        rewrite = spot.rewrite().delete(statement)
        line = spot.source.line_of(spot.source.end(last) - 1)
        at = spot.source.line_start(line + 1)
        ended = spot.source.text[:at].endswith(("\n", "\r"))
        code = f"{rewrite.indent(loop)}{text}"
        return rewrite.insert(at, f"{code}{spot.source.newline}" if ended else f"{spot.source.newline}{code}")

    return change


def into_the_loop(of: Place | None) -> Change:
    """What is made before the loop of another place is made anew at the beginning of each of its turns."""

    def change(spot: Spot) -> Rewrite | None:
        there, made = spot.beside(of), spot.assignment
        body = body_of(spot.source, made) if made is not None else None
        if there is None or there.statement is None or made is None or body is None:
            return None
        loops = [one for one in spot.source.around(there.statement) if isinstance(one, _LOOPS)]
        loop = next((one for one in loops if one in body and body.index(one) > body.index(made)), None)
        text = spot.rewrite().line_text(made)
        if loop is None or text is None or loop.body[0].lineno == loop.lineno:
            return None
        between = body[body.index(made) + 1 : body.index(loop)]
        own = names_of(made, ast.Store)
        if any(own & names_of(one, ast.Load) for one in between) or own & names_of(loop, ast.Store):
            return None
        return spot.rewrite().delete(made).before(loop.body[0], text)

    return change


def buffers_copied() -> Change:
    """After a loop over the parameters of two modules another one copies their buffers."""

    def change(spot: Spot) -> Rewrite | None:
        loop = _loop_around(spot)
        if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Tuple) or len(loop.target.elts) != 2:
            return None
        source = spot.source
        calls = [one for one in ast.walk(loop.iter) if isinstance(one, ast.Attribute) and one.attr == "parameters"]
        names = [one.id for one in loop.target.elts if isinstance(one, ast.Name)]
        if len(calls) != 2 or len(names) != 2:
            return None
        over = ast.unparse(loop.iter).replace(".parameters()", ".buffers()")
        written = _written(spot, names)
        if written is None or over.count(".buffers()") != 2:
            return None
        other = names[1 - names.index(written)]
        rewrite = spot.rewrite()
        indent, line = rewrite.indent(loop), source.newline
        step = "\t" if indent.startswith("\t") else "    "
        code = f"for {', '.join(names)} in {over}:{line}{indent}{step}{written}.copy_({other})"
        return rewrite.after(loop, code)

    return change


def _written(spot: Spot, names: list[str]) -> str | None:
    """Which of two names the statement at the place writes to: the first that it reads."""
    read = [one.id for one in ast.walk(spot.anchor) if isinstance(one, ast.Name) and one.id in names]
    first = min(
        (one for one in ast.walk(spot.anchor) if isinstance(one, ast.Name) and one.id in names),
        key=lambda one: (one.lineno, one.col_offset),
        default=None,
    )
    return first.id if first is not None and len(set(read)) == len(names) else None


def _loop_around(spot: Spot) -> ast.For | ast.While | None:
    """The innermost loop around the statement, in its function."""
    if spot.statement is None:
        return None
    home = spot.source.function_of(spot.statement)
    around = spot.source.around(spot.statement)
    found = next((one for one in around if isinstance(one, _LOOPS)), None)
    return found if found is not None and spot.source.function_of(found) is home else None
