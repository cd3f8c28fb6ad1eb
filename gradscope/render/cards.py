"""Cards: a node as a small table: title, type, the leaf table's row, what is drawn inside it, notes, badges."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from ..transforms import SEVERITY_MARKS
from .labels import NORMAL, SMALL, bold, cell, font, gap, row, table
from .pieces import NodeView
from .theme import NodeStyle, Theme
from .words import Role

WRAP = 48  # characters of a note before it goes on in the next line
_BOLD = 13.2  # bold letters of 12 points are as wide as plain ones of this size
_WHOLE = 3  # columns: a key, a gap, a value


def card(node: NodeView, look: Theme) -> str:
    """The node's HTML-like label."""
    style = look.nodes[node.role]
    rows = ['<TR><TD HEIGHT="5"></TD></TR>'] if style.corner in ("drum", "stack") else []
    if node.role is Role.OP and not node.parts:  # an op is one word on a line of the picture
        rows = [row(cell(bold(node.heading, style.ink), text=node.heading, size=_BOLD, align="CENTER"))]
    else:
        rows.append(_head(node, style, look))
        rows += [_line(node.type_line, look.muted)] if node.type_line else []
    rows += _findings(node, look)
    for key, value in node.rows:
        words = cell(font(key, look.muted, NORMAL), text=key)
        rows.append(row(words, gap(), cell(font(value, style.ink, NORMAL), text=value)))
    rows += [_line(*_part(part.role, part.words, look)) for part in node.parts]
    for note in node.notes:
        rows += [_line(words, look.muted) for words in wrap(note, WRAP)]
    for mark, word in zip(node.marks, node.badges, strict=True):
        if mark not in SEVERITY_MARKS:
            badge = look.badge(mark)
            words = f"{badge.sign} {word}"
            rows.append(row(cell(bold(words, badge.line, SMALL), text=words, size=10, span=_WHOLE)))
    return f"<{table(rows)}>"


def _line(words: str, colour: str) -> str:
    return row(cell(font(words, colour, SMALL), text=words, size=9, span=_WHOLE))


def _part(role: Role, words: str, look: Theme) -> tuple[str, str]:
    """The line and colour of something inside a node; arguments need no sign."""
    if role is Role.OP:
        return words, look.muted
    style = look.nodes[role]
    return f"{style.sign} {words}", style.line


def _findings(node: NodeView, look: Theme) -> Iterator[str]:
    """A banner for each severity, and what the findings say."""
    for mark, word in zip(node.marks, node.badges, strict=True):
        if mark in SEVERITY_MARKS:
            badge = look.badge(mark)
            for part in wrap(f"{badge.sign} {word}", WRAP):
                yield row(cell(bold(part, look.paper, NORMAL), text=part, span=_WHOLE, fill=badge.line))
    for message in node.messages:
        for part in wrap(message, WRAP):
            yield _line(part, look.nodes[node.role].ink)


def _head(node: NodeView, style: NodeStyle, look: Theme) -> str:
    """The title with the role's sign and word beside it; where a call is a module's, with the module's class."""
    title = bold(node.heading, style.ink)
    if node.caption or node.rows:
        words = node.caption if node.parts else f"{style.sign} {node.caption}".rstrip()
        colour = look.muted if node.parts else style.line
        beside = cell(font(words, colour, SMALL), text=words, size=9)
        return row(cell(title, text=node.heading, size=_BOLD), gap(), beside)
    if node.parts:
        return row(cell(title, text=node.heading, size=_BOLD, span=_WHOLE))
    sign = cell(font(style.sign, style.line, SMALL), text=style.sign, size=9)
    return row(sign, cell(title, text=node.heading, size=_BOLD, span=_WHOLE - 1))
