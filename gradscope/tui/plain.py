"""Terminals without Unicode: every line on its way to the screen is made ASCII, cell for cell."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from ..render.signs import to_ascii
from ..text import cells

_SIGNS = str.maketrans(
    {"▶": ">", "▹": "+", "◂": "<", "←": "<", "↑": "^", "↓": "v", "⏎": "^", "▌": "|", "▐": "|", "█": "#", "●": "*"}
    | dict.fromkeys("▁▂▃▄▅▆▇▉▊▋▍▎▏▔", " ")  # the ends of scroll bars
)


class AsciiFilter(LineFilter):
    """Replaces what is not ASCII: signs by signs, anything else by as many question marks as it is wide."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            segment if segment.text.isascii() else Segment(plain(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def plain(text: str) -> str:
    """`text` in ASCII, as wide as it was."""
    signs = to_ascii(text.translate(_SIGNS))
    return signs if signs.isascii() else "".join(char if char.isascii() else "?" * cells(char) for char in signs)
