"""What the syntax tree of the script's source says about a call: its name, its operands', and where its value goes."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable
from dataclasses import dataclass
from dis import opname
from types import FrameType, SimpleNamespace
from typing import Any

from .assignments import ADDING
from .blocks import BlockSource

_OF_A_MODULE = ("__name__", "__loader__", "__spec__")  # what linecache finds a source by
_FIELDS = {"values": 0, "indices": 1, "eigenvalues": 0, "eigenvectors": 1, "Q": 0, "R": 1, "U": 0, "S": 1, "Vh": 2}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the syntax tree says about one call site.

    `targets`: the names its value is bound to, one for each element when it is unpacked; `target`: the same, as code.
    `turn`: it is iterated over, and each turn's value is bound.
    `operands`: the source of each operand, "" where it is no plain name, None where it is a constant.
    `receiver`: what a method was called on, None where none was. `binary`: an operator with two sides.
    `picked`: one element is (`x.max(0).values`, `x.sort()[0]`), and only that is bound to a name.
    `returned`: the value leaves the function, so the caller's line may name it. `stored`: the container that
    the value goes into on this line.
    """

    targets: tuple[str, ...] = ()
    operands: tuple[str | None, ...] = ()
    receiver: str | None = None
    binary: bool = False
    callee: str = ""
    picked: bool = False
    returned: bool = False
    expression: str = ""
    stored: str = ""
    target: ast.expr | None = None
    turn: bool = False


def node_at(frame: FrameType) -> tuple[ast.AST | None, list[str]]:
    """What the frame is at in the syntax tree, and the file's lines; (None, []) where the source cannot tell."""
    # On Python 3.10 executing leaves cycles that hold what it is given, so it is not given the frame.
    known = {name: frame.f_globals[name] for name in _OF_A_MODULE if name in frame.f_globals}
    place: Any = SimpleNamespace(f_code=frame.f_code, f_lasti=frame.f_lasti, f_lineno=frame.f_lineno, f_globals=known)
    try:
        source = BlockSource.for_frame(place)
        if source.tree is None:
            return None, []
        found = BlockSource.executing(place)
        node: ast.AST | None = found.node
        lines = linecache.getlines(source.filename, known)
        return node if node is not None else _augmented(found.statements or (), frame), lines
    except (SyntaxError, ValueError, KeyError, IndexError, AssertionError, OSError, RecursionError):
        return None, []  # the source is gone, or not what was compiled: the line alone must do


def _augmented(statements: Iterable[ast.stmt], frame: FrameType) -> ast.AST | None:
    """The `a += b` that the frame is at: on Python 3.10, where instructions have no columns, if there is only one."""
    if not opname[frame.f_code.co_code[frame.f_lasti]].startswith("INPLACE_"):
        return None
    found = [statement for statement in statements if isinstance(statement, ast.AugAssign)]
    return found[0] if len(found) == 1 else None


def read_node(node: ast.AST, lines: list[str]) -> Reading:
    """What the tree around `node` says about the value it makes (`node.parent` comes from executing)."""
    parent = getattr(node, "parent", None)
    target: ast.expr | None = None
    targets: tuple[str, ...] = ()
    loop = _loop_over(node)
    picked = _picked(parent, node)
    whole = _chosen(node)  # what a statement gives a name to, or returns
    taker = getattr(whole, "parent", None)
    returned = isinstance(taker, (ast.Return, ast.Await)) or (
        isinstance(node, (ast.FunctionDef, ast.Lambda)) or (isinstance(parent, ast.Lambda) and parent.body is node)
    )
    if isinstance(node, ast.AugAssign):
        target = node.target
    elif loop is not None:
        target = _bound_each_turn(loop)
        returned = _is_yielded(loop)
    elif isinstance(taker, ast.Assign) and taker.value is whole:
        target = taker.targets[0]
    elif isinstance(taker, (ast.AnnAssign, ast.NamedExpr)) and taker.value is whole:
        target = taker.target
    elif element := _element(node):
        targets = (element,)
    elif picked is not None and isinstance(outer := getattr(parent, "parent", None), ast.Assign):
        targets = ("",) * picked + (_plain(outer.targets[0]), "")
    if target is not None and not returned:
        targets = _unpacked(target)
    expression = ""
    if isinstance(node, ast.expr):
        expression = " ".join(_segment(node, lines).split())[:200]
    callee = _plain(node.func) if isinstance(node, ast.Call) else ""
    receiver: str | None = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        receiver = _plain(node.func.value)
    return Reading(
        targets=targets if any(targets) else (),
        operands=_operands(node),
        receiver=receiver,
        binary=isinstance(node, (ast.BinOp, ast.Compare)),
        callee=callee,
        picked=picked is not None,
        returned=returned,
        expression=expression,
        stored=_container(node),
        target=target,
        turn=loop is not None,
    )


def _loop_over(node: ast.AST) -> ast.For | ast.comprehension | None:
    """The loop that `node` is the turning of, or whose turns its value gives."""
    if isinstance(node, (ast.For, ast.comprehension)):
        return node
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return node.generators[0] if len(node.generators) == 1 else None
    parent = getattr(node, "parent", None)
    return parent if isinstance(parent, (ast.For, ast.comprehension)) and parent.iter is node else None


def _bound_each_turn(loop: ast.For | ast.comprehension) -> ast.expr | None:
    """What the value of a turn is bound to: beside the number that `enumerate` gives; None for one of `zip`'s."""
    target, source = loop.target, loop.iter
    while isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.args:
        if source.func.id == "zip":
            return None
        if source.func.id == "enumerate":
            pair = isinstance(target, (ast.Tuple, ast.List)) and len(target.elts) == 2
            target = target.elts[1] if pair else ast.Subscript(target, ast.Constant(1))  # type: ignore[attr-defined]
        source = source.args[0]
    return target


def _is_yielded(loop: ast.For | ast.comprehension) -> bool:
    """Whether a generator's loop hands on what its turns are bound to, as progress bars do: its user names that."""
    name = _plain(loop.target)
    body = loop.body if isinstance(loop, ast.For) else ()
    values = [line.value for line in body if isinstance(line, ast.Expr) and isinstance(line.value, ast.Yield)]
    return bool(name) and any(value.value is not None and _plain(value.value) == name for value in values)


def _segment(node: ast.expr, lines: list[str]) -> str:
    """The source of an expression. `ast.get_source_segment` splits the whole file for each."""
    if node.end_lineno is None or node.end_col_offset is None or node.end_lineno > len(lines):
        return ""
    part = lines[node.lineno - 1 : node.end_lineno]
    part[-1] = part[-1].encode()[: node.end_col_offset].decode()  # columns count bytes
    part[0] = part[0].encode()[node.col_offset :].decode()
    return "\n".join(part)


def _chosen(node: ast.AST) -> ast.AST:
    """The whole conditional expression that `node` is one outcome of; else the node itself."""
    while isinstance(parent := getattr(node, "parent", None), ast.IfExp) and node is not parent.test:
        node = parent
    return node


def _element(node: ast.AST) -> str:
    """The name of a value that stands in a literal which gets a name: `b` in `a, b = f(), g()`, `p["w"]`; else ""."""
    steps: list[ast.expr] = []  # how the literals lead to the value, innermost first
    while isinstance(parent := getattr(node, "parent", None), (ast.Tuple, ast.List, ast.Dict)):
        members = parent.values if isinstance(parent, ast.Dict) else parent.elts
        found = next((place for place, member in enumerate(members) if member is node), None)
        key = None if found is None else parent.keys[found] if isinstance(parent, ast.Dict) else ast.Constant(found)
        if key is None or any(isinstance(member, ast.Starred) for member in members):
            return ""
        steps.append(key)
        node = parent
    if not steps or not isinstance(parent, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) or parent.value is not node:
        return ""
    return _within(parent.targets[0] if isinstance(parent, ast.Assign) else parent.target, reversed(steps))


def name_within(target: ast.expr, path: Iterable[int | str]) -> str:
    """What a part of the value that is bound to `target` is called; `path` leads to it by index and key."""
    return _within(target, map(ast.Constant, path))


def _within(target: ast.expr, steps: Iterable[ast.expr]) -> str:
    for step in steps:
        if not isinstance(target, (ast.Tuple, ast.List)):
            target = ast.Subscript(target, step)
        elif any(isinstance(member, ast.Starred) for member in target.elts):
            return ""
        else:
            place = step.value if isinstance(step, ast.Constant) else None
            if not isinstance(place, int) or place >= len(target.elts):
                return ""
            target = target.elts[place]
    return _plain(target)


def _container(node: ast.AST) -> str:
    """What the value of `node` goes into as it is, as code: `losses` of `losses.append(node)`; "" if nothing."""
    passed = ""
    while isinstance(parent := getattr(node, "parent", None), (ast.expr, ast.keyword, ast.Assign, ast.AugAssign)):
        if isinstance(parent, ast.Call):
            adds = isinstance(parent.func, ast.Attribute) and parent.func.attr in ADDING and node is not parent.func
            return ast.unparse(parent.func.value) if adds and isinstance(parent.func, ast.Attribute) else passed
        if isinstance(parent, (ast.Assign, ast.AugAssign)):
            target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
            if isinstance(target, ast.Subscript):
                return ast.unparse(target.value)
            whole = isinstance(node, (ast.List, ast.ListComp, ast.Dict, ast.DictComp))
            return ast.unparse(target) if whole else passed
        if isinstance(parent, (ast.ListComp, ast.SetComp, ast.DictComp)):
            if node is not (parent.value if isinstance(parent, ast.DictComp) else parent.elt):
                return passed
            passed = "a comprehension"
        elif not isinstance(parent, (ast.List, ast.Tuple, ast.Dict, ast.keyword, ast.IfExp, ast.Starred)):
            return passed
        node = parent
    return passed


def _picked(parent: ast.AST | None, node: ast.AST) -> int | None:
    """Which element of what `node` makes is picked right away, by a constant index or a result's field."""
    if isinstance(parent, ast.Subscript) and parent.value is node and isinstance(parent.slice, ast.Constant):
        index = parent.slice.value
        return index if type(index) is int and 0 <= index < 16 else None
    if isinstance(parent, ast.Attribute):
        return _FIELDS.get(parent.attr)
    return None


def _operands(node: ast.AST) -> tuple[str | None, ...]:
    if isinstance(node, ast.BinOp):
        return (_operand(node.left), _operand(node.right))
    if isinstance(node, ast.AugAssign):
        return (_plain(node.target), _plain(node.value))
    if isinstance(node, ast.UnaryOp):
        return (_plain(node.operand),)
    if isinstance(node, (ast.Attribute, ast.Subscript)):
        return (_plain(node.value),)
    if isinstance(node, ast.Compare):
        return (_operand(node.left), *(_operand(other) for other in node.comparators))
    if isinstance(node, ast.Call):
        arguments = [_plain(a) for a in node.args] + [_plain(k.value) for k in node.keywords]
        return tuple(arguments)
    return ()


def _operand(node: ast.expr) -> str | None:
    constant = isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)
    return None if constant else _plain(node)


def _unpacked(target: ast.expr) -> tuple[str, ...]:
    if isinstance(target, (ast.Tuple, ast.List)):
        return tuple(_plain(element) for element in target.elts)
    return (_plain(target),)


def _plain(node: ast.expr) -> str:
    """The source of a name, attribute or constant-index chain; "" for anything else."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Name):
            parts.append(node.id)
            return "".join(reversed(parts))
        if isinstance(node, ast.Attribute):
            parts.append("." + node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, (ast.Constant, ast.Name)):
            parts.append(f"[{_key(node.slice)}]")
            node = node.value
        elif isinstance(node, ast.Starred):
            node = node.value
        else:
            return ""


def _key(node: ast.expr) -> str:
    """A subscript's source, its text in double quotes."""
    text = ast.unparse(node)
    plain = isinstance(node, ast.Constant) and isinstance(node.value, str) and not set(text) & {'"', "\\"}
    return f'"{text[1:-1]}"' if plain else text
