"""HTML-like labels of Graphviz: tables, cells, escaped text. Gaps are cells, never spaces, which viewers drop."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from html import escape

SMALL, NORMAL, LARGE = "9", "10", "12"  # points
GAP = 8


def bold(text: str, colour: str, size: str = LARGE) -> str:
    return f"<B>{font(text, colour, size)}</B>"


def font(text: str, colour: str, size: str) -> str:
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{_html(text)}</FONT>'


def cell(content: str, *, text: str, align: str = "LEFT", span: int = 1, size: float = 10, fill: str = "") -> str:
    """A cell wide enough for `text`, which `content` shows, in any of the fonts that may be there."""
    looks = (f' COLSPAN="{span}"' if span > 1 else "") + (f' BGCOLOR="{fill}"' if fill else "")
    return f'<TD ALIGN="{align}"{looks} WIDTH="{points(text, size)}">{content}</TD>'


def gap(width: int = GAP) -> str:
    return f'<TD WIDTH="{width}"></TD>'


def row(*cells: str) -> str:
    return f"<TR>{''.join(cells)}</TR>"


def table(rows: Iterable[str], spacing: int = 0, padding: int = 1) -> str:
    body = "".join(rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="{padding}">{body}</TABLE>'


def points(text: str, size: float) -> int:
    """How wide `text` is at most, in points: in DejaVu Sans, the widest of the fonts that stand in for Helvetica."""
    return math.ceil(sum(map(_ems, text)) * size) + 1


def _ems(char: str) -> float:
    """How wide a character is, in parts of the font's size."""
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if char in "ijlI.,:;|'!":
        return 0.34
    if char in "frt()[]{}/ -":
        return 0.41
    if char in "mwMW@%→↑≡×":
        return 0.96
    return 0.69 if char.isupper() else 0.635


def _html(text: str) -> str:
    """Text inside an HTML-like label, where Graphviz leaves out empty content."""
    return escape(" ".join(text.split())) or "&#160;"
