"""The line that keeps a value beyond its step: that gives it a lasting name, or from which it comes again unmade."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ...model.findings import Place
from ...model.records import Site
from ...model.trace import Step
from ...repair.source import Source
from .index import Case, at, once_a_step
from .source_lines import function_at, handed_over, last_name, place_in, statement_at
from .step_links import Home
from .wording import is_code

_ADDING = frozenset({"append", "appendleft", "add", "insert", "put", "push"})


class Keeper(NamedTuple):
    """A line that keeps a value, what the value is called there ("" if nothing), and further lines that do the same."""

    place: Place | None
    name: str = ""
    others: tuple[Place, ...] = ()


def keeper_of(case: Case, home: Home, step: Step, came: int) -> Keeper:
    """What keeps a value that `step` took over from its home, where it computes such a value anew as well."""
    made = home.op.stack if home.op is not None else None
    lasting = _lasting(case, made)
    if lasting is not None:
        return Keeper(lasting)
    name, places = _assignments(case, step.tensors[came].first_use)
    if places:
        return Keeper(places[0], name, places[1:])
    own = home.step.tensors[home.tensor].name
    handed = handed_over(case, made, own) if own.isidentifier() else None
    return Keeper(handed or binding(case, home.step, made))


def built_once_at(case: Case, home: Home, step: Step) -> Keeper:
    """What keeps a value that was computed once: its lasting name, else the first line of its making that `step`
    did not come to again. A function that keeps its result is such a line's own.
    """
    made = home.op.stack if home.op is not None else None
    lasting, sites = _lasting(case, made), case.sites(made)
    if lasting is not None or not sites:
        return Keeper(lasting)
    chains = _lines_of(case, step)
    for depth in reversed(range(len(sites))):
        if tuple((site.file, site.line) for site in sites[depth:]) not in chains:
            asked = sites[depth + 1].expression if depth + 1 < len(sites) else ""
            return Keeper(at(sites[depth]), asked if is_code(asked) else "")
    return Keeper(binding(case, home.step, made))


def remembered_by(case: Case, place: Place | None) -> str:
    """The decorator by which the function of a line keeps its results, as code; "" if it has none."""
    here = function_at(case, place)
    function = here[1] if here is not None else None
    for decorator in function.decorator_list if isinstance(function, ast.FunctionDef) else ():
        if last_name(decorator) in ("cached_property", "lru_cache", "cache"):
            return ast.unparse(decorator)
    return ""


def block_around(case: Case, place: Place | None, opened: str) -> Place | None:
    """The innermost `with` around a line that opens what a call of this name gives."""
    here = statement_at(case, place)
    for node in here[0].around(here[1]) if here is not None else ():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return None
        for item in node.items if isinstance(node, ast.With) else ():
            call = item.context_expr
            if here is not None and isinstance(call, ast.Call) and last_name(call) == opened:
                return place_in(here[0], call, within=call)
    return None


@once_a_step
def _lines_of(case: Case, step: Step) -> frozenset[tuple[tuple[str, int], ...]]:
    """All chains of lines, inner ones first, that a step ran: each stack, and what it was called from."""
    found: set[tuple[tuple[str, int], ...]] = set()
    for stack in {moment.stack for moment in step.moments}:
        lines = tuple((site.file, site.line) for site in case.sites(stack))
        found.update(lines[depth:] for depth in range(len(lines)))
    return frozenset(found)


def _assignments(case: Case, use: int | None) -> tuple[str, tuple[Place, ...]]:
    """The attribute that a value was read from where it was used first, and the lines that set it after __init__."""
    site = next(iter(case.sites(use)), None)
    here = statement_at(case, at(site)) if site is not None else None
    if site is None or here is None:
        return "", ()
    found = {name: places for name in _attributes(site) if (places := tuple(_setting(*here, name)))}
    return next(iter(found.items())) if len(found) == 1 else ("", ())


def _attributes(site: Site) -> Iterator[str]:
    """The attributes of `self` that a call site's expression reads."""
    try:
        tree = ast.parse(site.expression, mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield ast.unparse(node)


def _setting(source: Source, statement: ast.stmt, attribute: str) -> Iterator[Place]:
    """The lines of the class around a statement that give an attribute its value, without __init__ and what is
    constant: those that take what they are given first, those that read the attribute itself last.
    """
    owner = next((node for node in source.around(statement) if isinstance(node, ast.ClassDef)), None)
    found = []
    for method in owner.body if owner is not None else ():
        if not isinstance(method, ast.FunctionDef) or method.name == "__init__":
            continue
        for node in ast.walk(method):
            targets = node.targets if isinstance(node, ast.Assign) else ()
            named = any(ast.unparse(target) == attribute for target in targets)
            if isinstance(node, ast.Assign) and named and not isinstance(node.value, ast.Constant):
                found.append(node)
    found.sort(key=lambda node: (attribute in map(ast.unparse, _parts(node.value)), node.lineno))
    return (place_in(source, node) for node in found)


def _parts(value: ast.expr) -> Iterator[ast.expr]:
    return (node for node in ast.walk(value) if isinstance(node, ast.Attribute))


def binding(case: Case, step: Step, stack: int | None, note: str = "") -> Place | None:
    """The line of a stack that gives a value its lasting name: an attribute's assignment, else the loop's own line."""
    lasting = _lasting(case, stack, note)
    if lasting is not None:
        return lasting
    sites = case.sites(stack)
    depth = len(sites) - 1 - common_depth(case, step)
    return at(sites[max(min(depth, len(sites) - 1), 0)], note) if sites else None


def _lasting(case: Case, stack: int | None, note: str = "") -> Place | None:
    """The innermost line of a stack that puts the value into an attribute, an element or a container."""
    for site in case.sites(stack):
        named = any("." in target or "[" in target for target in site.targets)
        if named or container(site.code, site.expression) or _gathered(site.code, site.expression):
            return at(site, note)
    return None


@lru_cache(maxsize=256)
def _gathered(code: str, expression: str) -> bool:
    """Whether a line gives a lasting name to all that an expression makes: `self.codes = [encode(x) for x in xs]`."""
    try:
        body, asked = ast.parse(code).body, ast.parse(expression, mode="eval").body
    except SyntaxError:
        return False  # part of a statement
    statement = body[0] if len(body) == 1 else None
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], (ast.Attribute, ast.Subscript)):
        return False
    value = statement.value
    each = value.value if isinstance(value, ast.DictComp) else getattr(value, "elt", value)
    return value is not each and ast.dump(asked) in (ast.dump(value), ast.dump(each))


@lru_cache(maxsize=256)
def container(code: str, expression: str) -> str:
    """What a line puts the value of an expression into, as code: `self.saved` of `self.saved.append(x)`; else ""."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return ""  # part of a statement
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in _ADDING:
            continue
        if not expression or any(ast.unparse(given) == expression for given in call.args):
            return ast.unparse(call.func.value)
    return ""


@once_a_step
def common_depth(case: Case, step: Step) -> int:
    """How many outer call sites all moments of a step share: those outside the loop's own function."""
    stacks = {moment.stack for moment in step.moments if moment.stack is not None}
    shared: list[Site] | None = None
    for stack in stacks:
        outer = list(reversed(case.sites(stack)))
        if shared is None:
            shared = outer
            continue
        same = next((i for i, (one, other) in enumerate(zip(shared, outer)) if one.id != other.id), None)
        shared = shared[: min(len(shared), len(outer)) if same is None else same]
    return len(shared or ()) if len(stacks) > 1 else max(len(shared or ()) - 1, 0)
