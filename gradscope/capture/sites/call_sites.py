"""Where a call was made: user frames, interned to small numbers, and what the source says there.

A *stack* is the tuple of (code object, last instruction) of the user's frames, innermost first. Torch's
and gradscope's own frames are left out. Frame objects and their locals are never kept.
"""

from __future__ import annotations

import dis
import linecache
import os
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

from ...model.records import Site, Stack
from ..hiding.frames import TRAMPOLINE
from .ast_names import Reading, name_within, node_at, read_node

_PACKAGE = str(Path(__file__).resolve().parents[2]) + os.sep
_STDLIB = tuple(
    os.path.realpath(path) + os.sep for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)
_DEFINES = re.compile(r"(async\s+)?def\b")
_SWITCHES = re.compile(r"no_grad|enable_grad|inference_mode|set_grad_enabled")
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
        # Where the tensors that a loader gives at a stack stand in its batch: by index and key.
        self.layouts: dict[int, list[tuple[int | str, ...]]] = {}
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
            identity = id(code)
            known = users.get(identity)
            if known or (known is None and users.users(code)):
                key += (identity, frame.f_lasti)
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
        node, lines = node_at(frame)
        reading = read_node(node, lines) if node is not None else Reading()
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
            if reading.returned:
                continue
            layout = self.layouts.get(stack)
            if layout is not None and len(layout) == outputs and reading.target is not None:
                return name_within(reading.target, layout[output])
            if reading.turn:  # each of several results is one turn's
                return reading.targets[0] if len(reading.targets) == 1 < outputs and layout is None else ""
            if reading.targets:
                if reading.picked and outputs == 1:
                    return ""  # what is picked from it has a name, not the value itself
                if len(reading.targets) == 1:
                    return reading.targets[0] if outputs == 1 else f"{reading.targets[0]}[{output}]"
                return reading.targets[output] if output < len(reading.targets) else ""
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
