"""The syntax tree of what a frame is in, where parsing its whole file would take long."""

from __future__ import annotations

import linecache
import re
import sys
from types import CodeType, FrameType
from typing import Any, ClassVar

from executing import Source
from executing.executing import Executing

_LONG = 200  # lines; a shorter file is parsed once, as a whole
_GOES_ON = re.compile(r"\s|#|[)\]}]|(else|elif|except|finally)\b|$")  # how a line begins that begins no statement


class BlockSource(Source):
    """A file, or of a long one the lines of one function or statement alone; its tree has their places in the file.

    Only where instructions know their columns (Python 3.11).
    """

    _known: ClassVar[dict[tuple[int, int], tuple[CodeType, Source]]] = {}  # a code's id is its own while it is kept

    @classmethod
    def for_frame(cls, frame: FrameType, use_cache: bool = True) -> Source:
        code = frame.f_code
        inside = _is_inside(code)
        key = (id(code), frame.f_lineno if inside else 0)
        if key not in cls._known:
            lines = linecache.getlines(code.co_filename, frame.f_globals)
            source: Source | None = None
            if len(lines) > _LONG and sys.version_info >= (3, 11):
                span = _statement(frame.f_lineno, lines) if inside else (code.co_firstlineno, _last_line(code))
                source = cls(code.co_filename, _block(lines, *span))
            if source is None or source.tree is None:
                source = super().for_frame(frame, use_cache)
            cls._known[key] = (code, source)
        return cls._known[key][1]

    @classmethod
    def executing(cls, frame_or_tb: Any) -> Executing:
        found = super().executing(frame_or_tb)
        node: Any = found.node
        code = frame_or_tb.f_code
        if node is None and _is_inside(code) and code.co_name != "<module>":
            found = Source.executing(frame_or_tb)  # what looked like a statement may be a line of a text
        return found


def _is_inside(code: CodeType) -> bool:
    """Whether it is a module, a lambda or a comprehension: no statement of its own."""
    return code.co_name.startswith("<")


def _block(lines: list[str], first: int, last: int) -> list[str]:
    """The lines `first` to `last`, in a text that has them at the same places."""
    block = lines[first - 1 : last]
    if block and block[0][:1].isspace():
        return ["\n" * (first - 2), "if True:\n", *block]
    return ["\n" * (first - 1), *block]


def _statement(line: int, lines: list[str]) -> tuple[int, int]:
    """The first and the last line of the outermost statement around `line`."""
    first = last = min(line, len(lines))
    while first > 1 and (_GOES_ON.match(lines[first - 1]) or lines[first - 2].startswith("@")):
        first -= 1
    while last < len(lines) and _GOES_ON.match(lines[last]):
        last += 1
    return first, last


def _last_line(code: Any) -> int:
    """The last line that an instruction of `code`, or of what is defined in it, comes from."""
    last, waiting = code.co_firstlineno, [code]
    while waiting:
        current = waiting.pop()
        last = max(last, *(end or 0 for _, end, _, _ in current.co_positions()))
        waiting += [constant for constant in current.co_consts if isinstance(constant, CodeType)]
    return int(last)
