"""Colour for terminals, by rich: the same words as without, cut to the same width."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_GRAVE = frozenset({"failure", "without", "not recorded"})  # labels of a summary that call for a look


def fitted(lines: Iterable[str], width: int) -> str:
    """Lines with ANSI codes, each cut to `width` columns."""
    from rich.text import Text

    texts = [Text.from_ansi(line) for line in lines]
    for text in texts:
        text.rstrip()
        text.truncate(width, overflow="ellipsis")
    return _ansi(texts)


def summary_in_colour(lines: Iterable[str], label: int) -> str:
    """The lines of a summary: the headline bold, labels (`label` columns after two) set apart."""
    from rich.text import Text

    texts = []
    for line in lines:
        text = Text(line)
        if not line.startswith("  "):
            text.stylize("bold red" if " failed with " in line else "bold")
        elif line[2 : 2 + label].strip() in _GRAVE:
            text.stylize("bold red", 2, 2 + label)
        else:
            text.stylize("cyan", 2, 2 + label)
        texts.append(text)
    return _ansi(texts)


def _ansi(texts: Iterable[Text]) -> str:
    from rich.console import Console

    console = Console(file=StringIO(), force_terminal=True, no_color=False, color_system="standard", highlight=False)
    with console.capture() as drawn:
        for text in texts:
            console.print(text, soft_wrap=True)
    return drawn.get()
