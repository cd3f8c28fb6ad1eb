"""What the user's text tells of an error: where a function is defined, a name was bound, a value was put away."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ...model.findings import Place
from ...repair.source import Source
from .index import Case

_GROWS = frozenset({"append", "appendleft", "extend", "add", "insert", "update", "setdefault"})


def place_in(source: Source, node: ast.expr | ast.stmt, note: str = "", within: ast.expr | None = None) -> Place:
    """The line of a node, and what of it is meant: the part `within` it."""
    part = " ".join(source.segment(within).split()) if within is not None else ""
    return Place(source.file, node.lineno, source.line(node.lineno).strip(), note, part)


def statement_at(case: Case, place: Place | None) -> tuple[Source, ast.stmt] | None:
    """The statement on a line, the outermost of several, with the text that it stands in."""
    source = case.sources.of(place.file) if place is not None else None
    found = source.statements_on(place.line) if source is not None and place is not None else []
    return (source, found[0]) if source is not None and found else None


def function_at(case: Case, place: Place | None) -> tuple[Source, ast.AST] | None:
    """The function, lambda or module that a line runs in."""
    here = statement_at(case, place)
    return (here[0], here[0].function_of(here[1])) if here is not None else None


def last_name(node: ast.expr) -> str:
    """The last part of what is called, or named: `no_grad` of `torch.no_grad()`."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


def definition(case: Case, owner: str, method: str) -> Place | None:
    """Where the method of a class is defined, in the files that ran; None where it is not there exactly once."""
    found = [place_in(source, part) for source, part in _methods(case, owner, (method,))]
    return found[0] if len(found) == 1 else None


def called_in(case: Case, owner: str, methods: tuple[str, ...], name: str) -> Place | None:
    """The one call of a name in these methods of a class."""
    found = [
        place_in(source, call, within=call)
        for source, method in _methods(case, owner, methods)
        for call in ast.walk(method)
        if isinstance(call, ast.Call) and last_name(call) == name
    ]
    return found[0] if len(found) == 1 else None


def halved_model(case: Case) -> Place | None:
    """The one call of half() in the files that ran, if it is a module's: of a tensor it would be an op."""
    found = [
        place_in(source, node, within=node)
        for source in _sources(case)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "half"
    ]
    ops = {(one.file, one.line) for event in case.calls("half") for one in case.sites(event.moment.stack)[:1]}
    return found[0] if len(found) == 1 and (found[0].file, found[0].line) not in ops else None


def yields_under(case: Case, place: Place | None) -> bool:
    """Whether the `with` on a line yields inside: what it switches then holds for whoever asks for the next value."""
    source = case.sources.of(place.file) if place is not None else None
    blocks = source.statements_on(place.line) if source is not None and place is not None else []
    return any(
        isinstance(node, (ast.Yield, ast.YieldFrom))
        for block in blocks
        if isinstance(block, ast.With)
        for node in ast.walk(block)
    )


def switched_by(case: Case, place: Place | None, name: str) -> Place | None:
    """What runs a line under a mode of this name: the innermost `with` around it, or a decorator of its function."""
    here = statement_at(case, place)
    for node in (here[1], *here[0].around(here[1])) if here is not None else ():
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        switches = [item.context_expr for item in node.items] if isinstance(node, ast.With) else []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            switches = node.decorator_list
        found = next((one for one in switches if last_name(one) == name), None)
        if here is not None and found is not None:
            return place_in(here[0], found, within=found)
        if function:
            return None
    return None


def given_first(call: str) -> str:
    """What a call is given first, if it is a name of any kind: `log['loss']` of `np.mean(log["loss"])`."""
    try:
        node = ast.parse(call, mode="eval").body
    except SyntaxError:
        return ""
    first = node.args[0] if isinstance(node, ast.Call) and node.args else None
    return ast.unparse(first) if isinstance(first, (ast.Name, ast.Attribute, ast.Subscript)) else ""


def handed_over(case: Case, stack: int | None, name: str) -> Place | None:
    """The line that keeps a value of this name which the function that made it gives to a method: `self.h = h`."""
    here = function_at(case, case.place(stack))
    for call in ast.walk(here[1]) if here is not None else ():
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        given = [index for index, one in enumerate(call.args) if isinstance(one, ast.Name) and one.id == name]
        found = list(_kept_by(case, call.func.attr, given[0])) if given else []
        if len(found) == 1:
            return found[0]
    return None


def _kept_by(case: Case, method: str, index: int) -> Iterator[Place]:
    """The statements of methods of a name that keep the argument at an index, after self, in an attribute."""
    for source in _sources(case):
        owners = (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))
        for node in (part for owner in owners for part in owner.body):
            if not isinstance(node, ast.FunctionDef) or node.name != method or len(node.args.args) <= index + 1:
                continue
            argument = node.args.args[index + 1].arg
            for one in ast.walk(node):
                kept = isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Attribute)
                if kept and isinstance(one, ast.Assign) and ast.unparse(one.value) == argument:
                    yield place_in(source, one)


def fills(case: Case, place: Place | None, name: str) -> list[Place]:
    """The statements of a file that put something into what this name holds: `self.values.append(x)`."""
    source = case.sources.of(place.file) if place is not None else None
    return [
        place_in(source, node, within=node)
        for node in (ast.walk(source.tree) if source is not None else ())
        if source is not None
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("append", "appendleft")
        and ast.unparse(node.func.value) == name
    ]


def decorator_of(case: Case, owner: str, method: str, name: str) -> Place | None:
    """The decorator of a name that the method of a class has."""
    found = [
        place_in(source, decorator, within=decorator)
        for source, node in _methods(case, owner, (method,))
        for decorator in node.decorator_list
        if last_name(decorator) == name
    ]
    return found[0] if len(found) == 1 else None


def owner_of(call: str, method: str) -> str:
    """The class that a call of its method names: `Spike` of `Spike.apply(x)`; "" if it names none."""
    try:
        node = ast.parse(call, mode="eval").body
    except SyntaxError:
        return ""
    function = node.func if isinstance(node, ast.Call) else None
    named = isinstance(function, ast.Attribute) and function.attr == method
    return ast.unparse(function.value).rpartition(".")[2] if named and isinstance(function, ast.Attribute) else ""


def function_named(case: Case, name: str) -> tuple[Source, ast.FunctionDef] | None:
    """The one function of a name in the files that ran."""
    found = [
        (source, node)
        for source in _sources(case)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    return found[0] if len(found) == 1 else None


def returned(case: Case, name: str) -> Place | None:
    """The one `return` of a value that the function of a name has."""
    found = function_named(case, name)
    if found is None:
        return None
    returns = [node for node in ast.walk(found[1]) if isinstance(node, ast.Return) and not _is_none(node.value)]
    return place_in(found[0], returns[0]) if len(returns) == 1 else None


def bound_before(case: Case, place: Place | None, name: str) -> Place | None:
    """The last line before a place, in the same function, that gives a name its value."""
    here = function_at(case, place)
    if here is None or place is None:
        return None
    lines = [
        node
        for node in ast.walk(here[1])
        if isinstance(node, ast.Assign)
        and node.lineno < place.line
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
    return place_in(here[0], max(lines, key=lambda one: one.lineno)) if lines else None


def put_away(case: Case, stack: int | None, name: str) -> Place | None:
    """The statement, in the function that made a value of this name, that keeps it in an attribute or a container."""
    here = function_at(case, case.place(stack))
    for node in ast.walk(here[1]) if here is not None else ():
        if here is not None and isinstance(node, (ast.Assign, ast.Expr)) and _keeps(node, name):
            return place_in(here[0], node)
    return None


def _keeps(node: ast.Assign | ast.Expr, name: str) -> bool:
    if isinstance(node, ast.Assign):
        lasting = any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)
        return lasting and isinstance(node.value, ast.Name) and node.value.id == name
    call = node.value
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in _GROWS
        and any(isinstance(one, ast.Name) and one.id == name for one in call.args)
    )


def memories_of(case: Case, lines: dict[str, set[int]]) -> Iterator[Place]:
    """The statements, in functions that ran these lines, that change what outlives the call: `self.calls += 1`."""
    for file, ran in lines.items():
        source = case.sources.of(file)
        for function in ast.walk(source.tree) if source is not None else ():
            if source is None or not isinstance(function, ast.FunctionDef):
                continue
            inside = range(function.lineno, (function.end_lineno or function.lineno) + 1)
            if not ran.isdisjoint(inside):
                yield from (place_in(source, node) for node in ast.walk(function) if isinstance(node, ast.stmt)
                            if _remembers(node))  # fmt: skip


def _remembers(node: ast.stmt) -> bool:
    if isinstance(node, ast.AugAssign):
        return isinstance(node.target, ast.Attribute)
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in _GROWS:
        return False
    return isinstance(call.func.value, ast.Attribute) or (
        isinstance(call.func.value, ast.Name) and call.func.attr in ("append", "extend")
    )


def loads_of(case: Case, file: str, owner: str) -> Place | None:
    """The one call of `OWNER.load_state_dict(…)` in a file."""
    source = case.sources.of(file)
    found = [
        place_in(source, node)
        for node in (ast.walk(source.tree) if source is not None else ())
        if source is not None
        and isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "load_state_dict"
        and ast.unparse(node.func.value) == owner
    ]
    return found[0] if len(found) == 1 else None


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _methods(case: Case, owner: str, names: tuple[str, ...]) -> Iterator[tuple[Source, ast.FunctionDef]]:
    """The methods of these names in the classes of a name."""
    for source in _sources(case):
        for node in ast.walk(source.tree):
            for part in node.body if isinstance(node, ast.ClassDef) and node.name == owner else ():
                if isinstance(part, ast.FunctionDef) and part.name in names:
                    yield source, part


def _sources(case: Case) -> Iterator[Source]:
    for file in dict.fromkeys(site.file for site in case.trace.source.sites().values()):
        source = case.sources.of(file)
        if source is not None:
            yield source
