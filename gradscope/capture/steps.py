"""Where one step ends and the next begins, told from the loops of the script's own code.

Three calls tell what an iteration is about: a root module's forward (R), a backward (B) and an update
of parameters (U, by an optimizer or by hand). The step's loop is the innermost loop that holds both B
and U, so accumulation over micro-batches, closures and two optimizers stay one step. A step ends when
that loop comes round: the next event at or before U's place in it. Iterations with B but no U are kept
as *cuts* until an update (they were micro-batches) or the end of the loop (each was a step) decides.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType, FrameType
from typing import NamedTuple

from .source import Frames

Place = tuple[int, CodeType, int]  # id of a live frame, its code, its last instruction
MAX_CUTS = 64


@lru_cache(maxsize=4096)
def loops_of(code: CodeType) -> tuple[tuple[int, int], ...]:
    """Byte ranges (first, last) of the code's loops, found by their backward jumps."""
    ends: dict[int, int] = {}
    for instruction in dis.get_instructions(code):
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            target = instruction.argval
            if target < instruction.offset and "NO_INTERRUPT" not in instruction.opname:  # not an await
                ends[target] = max(ends.get(target, 0), instruction.offset)
    return tuple(sorted(ends.items()))


class Loop(NamedTuple):
    """A loop in a live frame."""

    frame: int
    code: CodeType
    first: int
    last: int

    def holds(self, code: CodeType, lasti: int) -> bool:
        return code is self.code and self.first <= lasti <= self.last


class Watch(NamedTuple):
    """An event whose loop is being watched for the next iteration. `path`: from the loop inwards."""

    kind: str  # "R", "B", "U"
    loop: Loop
    path: tuple[tuple[CodeType, int], ...]


def places(frames: Frames, frame: FrameType | None) -> list[Place]:
    """The user's frames, innermost first."""
    found: list[Place] = []
    while frame is not None:
        if frames.kind(frame.f_code) == Frames.USER:
            found.append((id(frame), frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return found


def innermost_loop(event: list[Place], other: list[Place] | None = None) -> Loop | None:
    """The innermost loop that holds `event` (and `other`, in the same activation)."""
    for frame, code, lasti in event:
        ranges = [span for span in loops_of(code) if span[0] <= lasti <= span[1]]
        for first, last in sorted(ranges, key=lambda span: span[1] - span[0]):
            loop = Loop(frame, code, first, last)
            if other is None or any(place[0] == frame and loop.holds(place[1], place[2]) for place in other):
                return loop
    return None


def path_from(loop: Loop, event: list[Place]) -> tuple[tuple[CodeType, int], ...]:
    """The event's positions from the loop's frame inwards."""
    path: list[tuple[CodeType, int]] = []
    for frame, code, lasti in event:
        path.append((code, lasti))
        if frame == loop.frame:
            break
    return tuple(reversed(path))


def came_round(watch: Watch, frames: Frames, frame: FrameType | None) -> str:
    """Whether the watched loop began another iteration: "again", "left" (the loop is over) or ""."""
    path: list[tuple[CodeType, int]] = []
    loop = watch.loop
    while frame is not None:
        code = frame.f_code
        if frames.kind(code) == Frames.USER:
            path.append((code, frame.f_lasti))
            if id(frame) == loop.frame and code is loop.code:
                break
        frame = frame.f_back
    else:
        return "left"
    if not loop.first <= path[-1][1] <= loop.last:
        return "left"
    path.reverse()
    for (code, lasti), (now_code, now) in zip(watch.path, path):
        if code is not now_code or now > lasti:
            return ""
        if now < lasti:
            return "again"
    return "again" if len(path) >= len(watch.path) else ""
