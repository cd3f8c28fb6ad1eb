"""Statements that put a value away, where it outlives the call that made it: read from the source, once a file.

A statement stores what it appends to a list, assigns to an attribute or an element, or adds to a container.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

ADDING = frozenset({"append", "appendleft", "extend", "add", "insert", "put", "push", "update", "setdefault"})
_NUMBERS_OF = frozenset({"item", "detach", "detach_", "tolist", "numpy", "clone_detached"})
_PLAIN_OF = frozenset({"float", "int", "bool", "str", "len", "repr"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MODULE = -1


class Storing(NamedTuple):
    """One statement: its line, what it stores into (as code), the variables that the stored value is made of.

    `function` is the first line of the function it is in, `MODULE` outside functions. `inside` says that the
    value goes into a container, not just under a name of its own.
    """

    line: int
    receiver: str
    names: frozenset[str]
    function: int
    inside: bool

    @property
    def last_name(self) -> str:
        """`outputs` of `self.outputs` and of `log["a"].outputs`."""
        return self.receiver.partition("[")[0].rpartition(".")[2]


def function_of(code: CodeType) -> int:
    """The function that a code object is of, as `Storing.function` tells it."""
    return MODULE if code.co_name == "<module>" else code.co_firstlineno


class Statements(NamedTuple):
    """What a source file stores, in order, and the variables that each of its functions returns or yields."""

    storings: tuple[Storing, ...]
    returned: Mapping[int, frozenset[str]]


@lru_cache(maxsize=64)
def statements(file: str) -> Statements:
    """What is to know of a source file; nothing of one that cannot be read."""
    text = "".join(linecache.getlines(file))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Statements((), {})
    found: list[Storing] = []
    returned: dict[int, frozenset[str]] = {}
    waiting: list[tuple[ast.AST, int]] = [(tree, MODULE)]
    while waiting:
        node, function = waiting.pop()
        if isinstance(node, _FUNCTIONS):
            function = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        elif isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
            returned[function] = returned.get(function, frozenset()) | names_in([node.value])
        for receiver, value, inside in _stored(node):
            line = getattr(node, "lineno", 0)
            found.append(Storing(line, ast.unparse(receiver), names_in(value), function, inside))
        waiting.extend((child, function) for child in ast.iter_child_nodes(node))
    return Statements(tuple(sorted(found)), returned)


def _stored(node: ast.AST) -> Iterator[tuple[ast.expr, Sequence[ast.expr], bool]]:
    """(what is stored into, the value's parts, whether it is a container) of one node."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ADDING:
        yield node.func.value, [*node.args, *(keyword.value for keyword in node.keywords)], True
    elif isinstance(node, ast.AugAssign):
        if isinstance(node.value, (ast.List, ast.Tuple)):
            yield node.target, [node.value], True
        elif isinstance(node.target, (ast.Attribute, ast.Subscript)):
            yield node.target, [node.value], False
    elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from _assigned(target, node.value)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, Sequence[ast.expr], bool]]:
    if isinstance(target, ast.Attribute):
        yield target, [value], False
    elif isinstance(target, ast.Subscript):
        yield target.value, [value], True
    elif isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from _assigned(element, value)
    elif isinstance(value, ast.BinOp) and isinstance(value.right, (ast.List, ast.Tuple)):  # losses = losses + [loss]
        yield target, [value.right], True
    elif isinstance(value, (ast.List, ast.Tuple)):  # losses = [*losses, loss]
        spread = [ast.unparse(element.value) for element in value.elts if isinstance(element, ast.Starred)]
        if ast.unparse(target) in spread:
            yield target, [element for element in value.elts if not isinstance(element, ast.Starred)], True


def names_in(values: Sequence[ast.expr]) -> frozenset[str]:
    """The variables that reach into a value as they are: not the `loss` of `loss.item()`."""
    found = set()
    waiting: list[ast.AST] = list(values)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute) and called.attr in _NUMBERS_OF:
                continue
            if isinstance(called, ast.Name) and called.id in _PLAIN_OF:
                continue
        if isinstance(node, ast.Name):
            found.add(node.id)
        waiting.extend(ast.iter_child_nodes(node))
    return frozenset(found)
