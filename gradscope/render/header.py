"""The head of a picture: its title, what was done to fit it, and the legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from .cards import WRAP
from .labels import GAP, NORMAL, SMALL, bold, cell, font, gap, points, row, table
from .theme import LegendEntry, NodeStyle, Theme, legend
from .view import GraphView

_WIDEST = 440  # points of a legend's row
_SWATCH = 34
BORDERS = {"dashed": "dashed", "dotted": "dotted"}


def header(view: GraphView, look: Theme, *, with_legend: bool = True) -> str:
    """The graph's HTML-like label."""
    notes = [line for note in view.notes for line in wrap(note, 2 * WRAP - 16)]
    lines = [bold(view.title, look.ink, "15"), *(font(n, look.muted, NORMAL) for n in (view.subtitle, *notes))]
    rows = [f'<TR><TD ALIGN="LEFT">{line}</TD></TR>' for line in lines]
    if with_legend:
        widest = max(points(view.title, 15), *(points(line, 10) for line in (view.subtitle, *notes)))
        entries = (_legend_row(entries, look, widest) for entries in _rows(legend(view, look)))
        rows += [f'<TR><TD ALIGN="LEFT">{line}</TD></TR>' for line in entries]
    rows.append('<TR><TD HEIGHT="6"></TD></TR>')
    return f"<{table(rows, spacing=2)}>"


def _rows(entries: Sequence[LegendEntry]) -> Iterator[list[LegendEntry]]:
    """The legend's entries, as many in a row as fit."""
    line: list[LegendEntry] = []
    for entry in entries:
        if line and sum(map(_width, (*line, entry))) > _WIDEST:
            yield line
            line = []
        line.append(entry)
    if line:
        yield line


def _width(entry: LegendEntry) -> int:
    return points(entry.word, 9) + _SWATCH + GAP


def _legend_row(entries: Sequence[LegendEntry], look: Theme, widest: int) -> str:
    """A table fills its cell, so what is left of the width goes to an empty last column."""
    filler = gap(max(widest - sum(map(_width, entries)), 1))
    return table([row(*(_cells(entry, look) for entry in entries), filler)], spacing=2)


def _cells(entry: LegendEntry, look: Theme) -> str:
    word = cell(font(entry.word, look.muted, SMALL), text=entry.word, size=9) + gap()
    if entry.node is not None:
        return f'<TD ALIGN="LEFT">{_swatch(entry.node)}</TD>{word}'
    if entry.badge is not None:
        return f'<TD ALIGN="CENTER">{bold(entry.badge.sign, entry.badge.line, NORMAL)}</TD>{word}'
    assert entry.edge is not None
    strokes = {"solid": "──►", "dotted": "· · ·", "dashed": "─ ─ ┤"}
    return f'<TD ALIGN="CENTER">{font(strokes[entry.edge.border], entry.edge.line, SMALL)}</TD>{word}'


def _swatch(style: NodeStyle) -> str:
    width = {"bold": "2", "double": "1"}.get(style.border, "1")
    styles = [*(["ROUNDED"] if style.corner in ("round", "pill") else []), *_border(style.border)]
    attribute = f' STYLE="{",".join(styles)}"' if styles else ""
    sign = font(style.sign, style.line, SMALL)
    inner = (
        f'<TABLE BORDER="{width}"{attribute} COLOR="{style.line}" BGCOLOR="{style.fill}" CELLBORDER="0" '
        f'CELLSPACING="0" CELLPADDING="1"><TR><TD WIDTH="18" HEIGHT="11">{sign}</TD></TR></TABLE>'
    )
    if style.border != "double":
        return inner
    return (
        f'<TABLE BORDER="1" COLOR="{style.line}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">'
        f"<TR><TD>{inner}</TD></TR></TABLE>"
    )


def _border(border: str) -> Iterator[str]:
    if border in BORDERS:
        yield border.upper()
