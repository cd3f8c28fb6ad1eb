"""Where one step ends and the next begins, told from the loops of the script's own code.

Three calls tell what an iteration is about: a root module's forward (R), a backward (B) and an update
of parameters (U, by an optimizer or by hand). The step's loop is the innermost loop that holds both B
and U, so accumulation over micro-batches, closures and two optimizers stay one step. A step ends when
that loop comes round: the next event at or before U's place in it.

A pass is one time round a loop that has no U. Where a pass made no graph it is a step, an evaluation. Else
its end is kept as a *cut* until it is known what closes it: an update or a backward (what its graph or its
loop holds was part of its step), or the end of the loop (each pass was a step). How many passes there
are decides nothing: a step that grows long is only looked at, and passes that no graph holds any more and
no gradient waits from are over.
"""

from __future__ import annotations

import dis
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

Positions = tuple[tuple[CodeType, int], ...]  # a stack's (code, last instruction), innermost first

_ENDS = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP_BACKWARD")


class Instruction(NamedTuple):
    """One instruction, in the order of `offset`; `target`: where it jumps to, if it does."""

    offset: int
    name: str
    target: int | None


@lru_cache(maxsize=4096)
def loops_of(code: CodeType) -> tuple[tuple[int, int], ...]:
    """Byte ranges (first, last) of the code's loops."""
    jumps = {*dis.hasjrel, *dis.hasjabs}
    found = dis.get_instructions(code)
    return tuple(
        loops_in([Instruction(at.offset, at.opname, at.argval if at.opcode in jumps else None) for at in found])
    )


def loops_in(instructions: Sequence[Instruction]) -> list[tuple[int, int]]:
    """Byte ranges (first, last) of the loops, found by their backward jumps.

    A handler of exceptions stands at the function's end and jumps back to where the script goes on: a jump is
    a loop's only if its target leads to it without an exception.
    """
    ends: dict[int, int] = {}
    targets: set[int] = set()
    led_to: dict[int, set[int]] = {}
    for offset, name, target in instructions:
        if target is not None and target < offset and "NO_INTERRUPT" not in name:  # not an await
            ends[target] = offset
            if target not in led_to:
                led_to[target] = _led_to(instructions, target)
            if offset in led_to[target]:
                targets.add(target)
    return sorted((first, last) for first, last in ends.items() if first in targets)


def _led_to(instructions: Sequence[Instruction], start: int) -> set[int]:
    """The offsets that are reached from `start` while nothing is raised."""
    places = {instruction.offset: place for place, instruction in enumerate(instructions)}
    waiting, reached = [places[start]], set[int]()
    while waiting:
        place = waiting.pop()
        if place >= len(instructions) or instructions[place].offset in reached:
            continue
        offset, name, target = instructions[place]
        reached.add(offset)
        if target is not None and target in places:
            waiting.append(places[target])
        if not name.startswith(_ENDS):
            waiting.append(place + 1)
    return reached


class Loop(NamedTuple):
    """A loop of a function."""

    code: CodeType
    first: int
    last: int

    def holds(self, positions: Positions) -> bool:
        """Whether a stack with these positions runs inside the loop."""
        return any(code is self.code and self.first <= lasti <= self.last for code, lasti in positions)


class Watch:
    """An event whose loop is being watched for the next iteration. `path`: from the loop inwards.

    What a later stack means never changes, so each is judged once.
    """

    __slots__ = ("_around", "event", "judged", "kind", "loop", "path")

    def __init__(self, kind: str, loop: Loop, event: Positions) -> None:
        self.kind = kind  # "R", "B", "U"
        self.loop, self.event = loop, event
        self.path = path_from(loop, event)
        self.judged: dict[int, str] = {}
        self._around: Watch | None = None

    def around(self) -> Watch | None:
        """The same event, watched for the next loop outwards; None where no other holds it."""
        if self._around is None:
            loops = loops_around(self.event)
            outer = loops[loops.index(self.loop) + 1 :]
            self._around = Watch(self.kind, outer[0], self.event) if outer else None
        return self._around

    def judge(self, stack: int, positions: Positions) -> str:
        """Tells what an event at `stack` means: "again" (the loop came round), "left" (it is over) or ""."""
        found = self.judged.get(stack)
        if found is None:
            found = self.judged[stack] = self._judge(positions)
        return found

    def _judge(self, positions: Positions) -> str:
        if not self.loop.holds(positions):
            return "left"
        now = path_from(self.loop, positions)
        for depth, ((code, lasti), (now_code, now_lasti)) in enumerate(zip(self.path, now)):
            if code is not now_code or now_lasti > lasti:
                return ""
            if now_lasti < lasti or depth == len(self.path) - 1:
                return "" if self._inner_loop_holds(code, lasti, now_lasti) else "again"
        return ""

    def _inner_loop_holds(self, code: CodeType, lasti: int, now: int) -> bool:
        """Whether a loop inside the watched one holds both places: then that one may have come round."""
        for first, last in loops_of(code):
            outer = code is self.loop.code and first <= self.loop.first and self.loop.last <= last
            if not outer and first <= now and lasti <= last:
                return True
        return False


def loops_around(event: Positions) -> list[Loop]:
    """All loops that hold `event`, the innermost first."""
    found: list[Loop] = []
    for code, lasti in event:
        ranges = [span for span in loops_of(code) if span[0] <= lasti <= span[1]]
        found += [Loop(code, first, last) for first, last in sorted(ranges, key=lambda span: span[1] - span[0])]
    return found


def innermost_loop(event: Positions, other: Positions | None = None) -> Loop | None:
    """The innermost loop that holds `event` (and `other`)."""
    return next((loop for loop in loops_around(event) if other is None or loop.holds(other)), None)


def path_from(loop: Loop, event: Positions) -> Positions:
    """The event's positions from the loop's function inwards."""
    path: list[tuple[CodeType, int]] = []
    for code, lasti in event:
        path.append((code, lasti))
        if code is loop.code and loop.first <= lasti <= loop.last:
            break
    return tuple(reversed(path))


class Loops:
    """The loops that stacks run in. What is found is remembered: a stack never means anything else."""

    def __init__(self, positions: Sequence[Positions]) -> None:
        self._positions = positions  # by stack
        self._around: dict[tuple[int, int | None], Loop | None] = {}
        self._inside: dict[tuple[int, int], bool] = {}
        self._watches: dict[tuple[str, int, int | None], Watch | None] = {}

    def around(self, stack: int, other: int | None = None) -> Loop | None:
        """The innermost loop that holds both stacks."""
        key = (stack, other)
        if key not in self._around:
            positions = self._positions
            self._around[key] = innermost_loop(positions[stack], None if other is None else positions[other])
        return self._around[key]

    def holds(self, loop: Loop, stack: int) -> bool:
        """Whether the stack runs inside the loop. Loops are asked for by identity: each is made once."""
        key = (id(loop), stack)
        if key not in self._inside:
            self._inside[key] = loop.holds(self._positions[stack])
        return self._inside[key]

    def watch(self, kind: str, stack: int, other: int | None = None) -> Watch | None:
        """A watch for the event of that kind at `stack`, on the innermost loop that holds both stacks."""
        key = (kind, stack, other)
        if key not in self._watches:
            loop = self.around(stack, other)
            self._watches[key] = Watch(kind, loop, self._positions[stack]) if loop is not None else None
        return self._watches[key]
