"""Where a call was made: user frames, interned to small numbers, and what the source says there.

A *stack* is the tuple of (code object, last instruction) of the user's frames, innermost first. Torch's
and gradscope's own frames are left out. Frame objects and their locals are never kept.
"""

from __future__ import annotations

import ast
import dis
import linecache
import os
import re
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

from executing import Source

from ..model.records import Site, Stack
from .frames import TRAMPOLINE
from .statements import ADDING

_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
_STDLIB = tuple(
    os.path.realpath(path) + os.sep for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the syntax tree says about one call site.

    `targets`: the names its value is bound to, one for each element when it is unpacked.
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


_DEFINES = re.compile(r"(async\s+)?def\b")
_SWITCHES = re.compile(r"no_grad|enable_grad|inference_mode|set_grad_enabled")
_OF_A_MODULE = ("__name__", "__loader__", "__spec__")  # what linecache finds a source by
ALONE = -2  # a position: the only tensor of two operands
NOWHERE = -3  # a position: inside a list, or not among the arguments


class Frames(dict[int, bool]):
    """For each code object, by its id, whether it is the user's: not torch's, gradscope's or the standard library's.

    By id, for a code object's hash is computed anew each time, and slowly.
    """

    def __init__(self, torch_folder: str) -> None:
        super().__init__()
        self._hidden = (_PACKAGE, torch_folder + os.sep, "<frozen")
        self._codes: list[CodeType] = []  # kept, so that their ids stay their own

    def users(self, code: CodeType) -> bool:
        """Whether the code is the user's."""
        known = self.get(id(code))
        if known is None:
            self._codes.append(code)
            known = self[id(code)] = code.co_name != TRAMPOLINE and self._is_users(code.co_filename)
        return known

    def _is_users(self, file: str) -> bool:
        real = os.path.realpath(file)
        if file.startswith(self._hidden) or real.startswith(self._hidden):
            return False
        installed = "site-packages" in real or "dist-packages" in real
        return installed or not real.startswith(_STDLIB)


class Sites:
    """Interns call stacks. `locate` is on the path of every recorded call, so it only makes keys."""

    def __init__(self, frames: Frames, on_site: Callable[[Site], None], on_stack: Callable[[Stack], None]) -> None:
        self.frames = frames
        self._on_site, self._on_stack = on_site, on_stack
        self._stacks: dict[tuple[int, ...], int] = {}
        self._by_positions: dict[tuple[tuple[CodeType, int], ...], int] = {}
        # Calls made below the frame `anchor` have `anchor_stack` as their outer part. The frame is one that is
        # running a call of ours, so holding it lengthens no life.
        self.anchor: FrameType | None = None
        self.anchor_stack = -1
        self._sites: dict[tuple[CodeType, int], int] = {}
        self._statements: dict[tuple[str, int], int] = {}
        self.stack_sites: list[tuple[int, ...]] = []
        self.positions: list[tuple[tuple[CodeType, int], ...]] = []
        self.readings: list[Reading] = []
        self._folder = str(Path.cwd()) + os.sep

    def locate(self, frame: FrameType | None) -> int:
        """The number of the stack that `frame` is the innermost frame of.

        Below a module call (the anchor) only the frames since that call are walked.
        """
        users, anchor = self.frames, self.anchor
        key: list[int] = []
        innermost = frame
        while frame is not anchor and frame is not None:
            code = frame.f_code
            known = users.get(id(code))
            if known or (known is None and users.users(code)):
                key += (id(code), frame.f_lasti)
            frame = frame.f_back
        if frame is None:
            key.append(-1)
        elif not key:
            return self.anchor_stack
        else:
            key.append(self.anchor_stack)
        interned = tuple(key)
        found = self._stacks.get(interned)
        return found if found is not None else self._intern(interned, innermost)

    def _intern(self, key: tuple[int, ...], frame: FrameType | None) -> int:
        places: list[tuple[CodeType, int]] = []
        sites: list[int] = []
        while frame is not None:
            if self.frames.users(frame.f_code):
                place = (frame.f_code, frame.f_lasti)
                places.append(place)
                if place not in self._sites:
                    self._sites[place] = self._read(frame)
                sites.append(self._sites[place])
            frame = frame.f_back
        positions = tuple(places)
        number = self._by_positions.get(positions)
        if number is None:  # else: known, but reached another way
            number = self._by_positions[positions] = len(self.stack_sites)
            self.stack_sites.append(tuple(sites))
            self.positions.append(positions)
            self._on_stack(Stack(number, tuple(sites)))
        self._stacks[key] = number
        return number

    def behind(self, function: object, caller: int) -> int | None:
        """The stack of a Python function's last `return`, as called from the stack `caller`; None for others."""
        code = getattr(function, "__code__", None)
        if not isinstance(code, CodeType) or not self.frames.users(code):
            return None
        positions = ((code, _last_return(code)), *self.positions[caller])
        number = self._by_positions.get(positions)
        if number is None:
            if positions[0] not in self._sites:
                self._sites[positions[0]] = self._read_return(code)
            number = self._by_positions[positions] = len(self.stack_sites)
            self.stack_sites.append((self._sites[positions[0]], *self.stack_sites[caller]))
            self.positions.append(positions)
            self._on_stack(Stack(number, self.stack_sites[number]))
        return number

    def _read_return(self, code: CodeType) -> int:
        number = len(self.readings)
        self.readings.append(Reading())
        line = _line_of(code, _last_return(code))
        text = linecache.getline(code.co_filename, line).strip()
        self._on_site(Site(number, self._shown(code.co_filename), line, line, 0, code.co_name, text))
        return number

    def decorator(self, stack: int, code: CodeType) -> int:
        """The stack of a context that a decorator of the function `code` enters when called at `stack`.

        Its innermost site is the decorator's line.
        """
        place = (code, -1)
        if place not in self._sites:
            self._sites[place] = self._read_decorator(code)
        positions = ((code, -1), *self.positions[stack])
        number = self._by_positions.get(positions)
        if number is None:
            number = self._by_positions[positions] = len(self.stack_sites)
            self.stack_sites.append((self._sites[place], *self.stack_sites[stack]))
            self.positions.append(self.positions[stack])  # where the script is: for telling loops
            self._on_stack(Stack(number, self.stack_sites[-1]))
        return number

    def _read_decorator(self, code: CodeType) -> int:
        first = line = code.co_firstlineno
        while (text := linecache.getline(code.co_filename, line).strip()) and not _DEFINES.match(text):
            if text.startswith("@") and _SWITCHES.search(text):
                break
            line += 1
        else:
            line, text = first, linecache.getline(code.co_filename, first).strip()
        number = len(self.readings)
        self.readings.append(Reading())
        file = self._shown(code.co_filename)
        self._on_site(Site(number, file, line, line, 0, code.co_name, text, text.removeprefix("@")))
        return number

    def outer(self, stack: int, depth: int) -> int:
        """The stack without its `depth` innermost sites."""
        positions = self.positions[stack][depth:]
        number = self._by_positions.get(positions)
        if number is None:
            number = self._by_positions[positions] = len(self.stack_sites)
            self.stack_sites.append(self.stack_sites[stack][depth:])
            self.positions.append(positions)
            self._on_stack(Stack(number, self.stack_sites[-1]))
        return number

    def statement(self, file: str, line: int) -> int:
        """A stack of one site: the statement on that line."""
        number = self._statements.get((file, line))
        if number is None:
            number = self._statements[file, line] = len(self.stack_sites)
            site = len(self.readings)
            self.readings.append(Reading())
            text = linecache.getline(file, line).strip()
            self._on_site(Site(site, self._shown(file), line, line, 0, "", text))
            self.stack_sites.append((site,))
            self.positions.append(())
            self._on_stack(Stack(number, (site,)))
        return number

    def _shown(self, file: str) -> str:
        """The file as a person in the folder where recording began would name it."""
        return file[len(self._folder) :] if file.startswith(self._folder) else file

    def _read(self, frame: FrameType) -> int:
        number = len(self.readings)
        code = frame.f_code
        line = frame.f_lineno or code.co_firstlineno
        node, text = _node_at(frame)
        reading = read_node(node, text) if node is not None else Reading()
        self.readings.append(reading)
        where = node if node is not None else None
        self._on_site(
            Site(
                id=number,
                file=self._shown(code.co_filename),
                line=line,
                end_line=getattr(where, "end_lineno", None) or line,
                column=getattr(where, "col_offset", 0),
                function=code.co_name,
                code=linecache.getline(code.co_filename, line).strip(),
                expression=reading.expression,
                targets=reading.targets,
            )
        )
        return number

    # -- names -----------------------------------------------------------------------------------

    def result_name(self, stack: int, output: int, outputs: int) -> str:
        """The name that the value made at `stack` gets: its target, looking through `return`s."""
        for site in self.stack_sites[stack]:
            reading = self.readings[site]
            if reading.targets:
                if reading.picked and outputs == 1:
                    return ""  # what is picked from it has a name, not the value itself
                if len(reading.targets) == 1:
                    return reading.targets[0] if outputs == 1 else f"{reading.targets[0]}[{output}]"
                return reading.targets[output] if output < len(reading.targets) else ""
            if not reading.returned:
                return ""
        return ""

    def expression(self, stack: int) -> str:
        sites = self.stack_sites[stack]
        return self.readings[sites[0]].expression if sites else ""

    def operand_name(self, stack: int, position: int, method: bool) -> str:
        """The source of the operand at `position` of a call (a method's receiver is its first).

        `ALONE`: the only tensor of two operands, which may stand on either side of an operator.
        """
        sites = self.stack_sites[stack]
        if not sites:
            return ""
        reading = self.readings[sites[0]]
        if position == ALONE and reading.binary:
            able = [operand for operand in reading.operands if operand is not None]
            return able[0] or "" if len(able) == 1 else ""
        position = 0 if position == ALONE else position
        receives = method and reading.receiver is not None
        operands = (reading.receiver, *reading.operands) if receives else reading.operands
        return operands[position] or "" if 0 <= position < len(operands) else ""

    def callee_name(self, stack: int) -> str:
        sites = self.stack_sites[stack]
        return self.readings[sites[0]].callee if sites else ""


def _last_return(code: CodeType) -> int:
    """Where the bytecode of the last `return` of a function is."""
    returns = [step.offset for step in dis.get_instructions(code) if step.opname in ("RETURN_VALUE", "RETURN_CONST")]
    return max(returns, key=lambda offset: _line_of(code, offset), default=0)


def _line_of(code: CodeType, offset: int) -> int:
    lines = (line for start, end, line in code.co_lines() if start <= offset < end and line is not None)
    return next(lines, code.co_firstlineno)


def _node_at(frame: FrameType) -> tuple[ast.AST | None, str]:
    # On Python 3.10 executing leaves cycles that hold what it is given, so it is not given the frame.
    known = {name: frame.f_globals[name] for name in _OF_A_MODULE if name in frame.f_globals}
    place: Any = SimpleNamespace(f_code=frame.f_code, f_lasti=frame.f_lasti, f_lineno=frame.f_lineno, f_globals=known)
    try:
        source = Source.for_frame(place)
        if source.tree is None:
            return None, ""
        return Source.executing(place).node, source.text
    except (SyntaxError, ValueError, KeyError, IndexError, AssertionError, OSError, RecursionError):
        return None, ""  # the source is gone, or not what was compiled: the line alone must do


def read_node(node: ast.AST, text: str) -> Reading:
    """What the tree around `node` says about the value it makes (`node.parent` comes from executing)."""
    parent = getattr(node, "parent", None)
    targets: tuple[str, ...] = ()
    picked = _picked(parent, node)
    whole = _chosen(node)  # what a statement gives a name to, or returns
    taker = getattr(whole, "parent", None)
    returned = isinstance(taker, (ast.Return, ast.Await)) or (
        isinstance(node, (ast.FunctionDef, ast.Lambda)) or (isinstance(parent, ast.Lambda) and parent.body is node)
    )
    if isinstance(node, ast.AugAssign):
        targets = (_plain(node.target),)
    elif isinstance(node, (ast.For, ast.comprehension)):
        targets = _unpacked(node.target)
    elif isinstance(taker, ast.Assign) and taker.value is whole:
        targets = _unpacked(taker.targets[0])
    elif isinstance(taker, (ast.AnnAssign, ast.NamedExpr)) and taker.value is whole:
        targets = (_plain(taker.target),)
    elif isinstance(parent, ast.For) and parent.iter is node:
        targets = _unpacked(parent.target)
    elif element := _element(node):
        targets = (element,)
    elif picked is not None and isinstance(outer := getattr(parent, "parent", None), ast.Assign):
        targets = ("",) * picked + (_plain(outer.targets[0]), "")
    expression = ""
    if isinstance(node, ast.expr):
        expression = " ".join((ast.get_source_segment(text, node) or "").split())[:200]
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
    )


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
    target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
    for step in reversed(steps):
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


_FIELDS = {"values": 0, "indices": 1, "eigenvalues": 0, "eigenvectors": 1, "Q": 0, "R": 1, "U": 0, "S": 1, "Vh": 2}


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
