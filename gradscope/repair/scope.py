"""Which names stand for something at a statement, and by which name the file knows torch."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from .source import Source

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_OWN_SCOPE = (*_FUNCTIONS, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def usable(source: Source, code: str, at: ast.AST, *, after: bool = False) -> bool:
    """Whether every name in a piece of code is bound where `at` stands: a parameter, or assigned before it.

    `after`: what the statement `at` itself assigns counts, too.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if not all(_has(source, node, at) for node in ast.walk(tree) if isinstance(node, ast.Attribute)):
        return False
    stored = (node for node in ast.walk(at) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    own = {node.id for node in stored} if after else set()
    return all(name in own or is_bound(source, name, at) for name in names)


def _has(source: Source, attribute: ast.Attribute, at: ast.AST) -> bool:
    """Whether the class around speaks of an attribute of `self`; of other objects' attributes nothing is known."""
    if not isinstance(attribute.value, ast.Name) or attribute.value.id != "self":
        return True
    home = next((one for one in source.around(at) if isinstance(one, ast.ClassDef)), None)
    nodes = ast.walk(home) if home is not None else ()
    return any(isinstance(one, ast.Attribute) and one.attr == attribute.attr and _of_self(one) for one in nodes)


def _of_self(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "self"


def is_bound(source: Source, name: str, at: ast.AST) -> bool:
    """Whether a name is bound where `at` stands, by what the text tells."""
    line = getattr(at, "lineno", 0)
    home = source.function_of(at)
    if binds(home, name):
        return any(first < line or _turns(source, at, node) for node, first in bindings(home, name))
    outer = source.function_of(home) if home is not source.tree else None
    while outer is not None:
        if binds(outer, name):
            return True
        outer = source.function_of(outer) if outer is not source.tree else None
    return hasattr(builtins, name)


def _turns(source: Source, at: ast.AST, binding: ast.AST) -> bool:
    """Whether a loop around both brings a later binding to `at` in its next turn; parameters hold at once."""
    if isinstance(binding, ast.arg):
        return True
    loops = [one for one in source.around(at) if isinstance(one, (ast.For, ast.While, ast.AsyncFor))]
    around = set(source.around(binding))
    return any(loop in around and getattr(loop, "target", None) is not binding for loop in loops) and any(
        isinstance(one, (ast.For, ast.While)) for one in around
    )


def binds(scope: ast.AST, name: str) -> bool:
    """Whether a function, lambda or module binds a name of its own."""
    return next(iter(bindings(scope, name)), None) is not None


def bindings(scope: ast.AST, name: str) -> Iterator[tuple[ast.AST, int]]:
    """What binds a name in a scope, and on which line: assignments, parameters, imports, definitions."""
    if isinstance(scope, _FUNCTIONS):
        given = scope.args
        extra = [one for one in (given.vararg, given.kwarg) if one is not None]
        for parameter in (*given.posonlyargs, *given.args, *given.kwonlyargs, *extra):
            if parameter.arg == name:
                yield parameter, 0
    for node in inside(scope):
        if name in _bound_by(node):
            yield node, getattr(node, "lineno", 0)


def _bound_by(node: ast.AST) -> tuple[str, ...]:
    """The names that one node gives a value to."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return (node.id,)
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return tuple(alias.asname or alias.name.partition(".")[0] for alias in node.names)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return (node.name,)
    if isinstance(node, ast.ExceptHandler) and node.name is not None:
        return (node.name,)
    return ()


def inside(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope in their order, not those of functions, classes and comprehensions within it."""
    body = getattr(scope, "body", [])
    waiting = list(reversed(body if isinstance(body, list) else [body]))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _OWN_SCOPE):
            waiting += reversed(list(ast.iter_child_nodes(node)))


def torch_name(source: Source, at: ast.AST) -> str | None:
    """What the file calls torch where `at` stands: `torch`, `th`; None where it is not imported under a name."""
    home: ast.AST | None = source.function_of(at)
    while home is not None:
        for node in inside(home):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    known = alias.asname or alias.name.partition(".")[0]
                    whole = alias.name == "torch" or (alias.asname is None and alias.name.startswith("torch."))
                    if whole and is_bound(source, known, at):
                        return known
        home = source.function_of(home) if home is not source.tree else None
    return None


def nn_name(source: Source, at: ast.AST) -> str | None:
    """What the file calls torch.nn where `at` stands: `nn`, `torch.nn`; None where it is not imported."""
    for node in ast.walk(source.tree):
        aliases = node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ()
        home = node.module if isinstance(node, ast.ImportFrom) else None
        for alias in aliases:
            known = alias.asname or alias.name
            whole = (home == "torch" and alias.name == "nn") or (alias.name == "torch.nn" and alias.asname is not None)
            if whole and is_bound(source, known, at):
                return known
    torch = torch_name(source, at)
    return f"{torch}.nn" if torch is not None else None


def is_module(source: Source, name: str, at: ast.AST) -> bool:
    """Whether a name stands for an imported module or what was imported from one."""
    home: ast.AST | None = source.function_of(at)
    while home is not None:
        found = [node for node, _ in bindings(home, name)]
        if found:
            return any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in found)
        home = source.function_of(home) if home is not source.tree else None
    return False
