"""A change on a text: what the tests of `repair` share."""

from __future__ import annotations

import textwrap

from gradscope.model.findings import Place
from gradscope.repair.apply import patched
from gradscope.repair.source import Source
from gradscope.repair.spot import Spot
from gradscope.repair.ways import Change

HERE = "# here"


def place_in(text: str, expression: str = "", marker: str = HERE) -> Place:
    """The line with the marker; `expression` is the one on it that is meant."""
    (number,) = (number for number, line in enumerate(text.split("\n"), 1) if marker in line)
    return Place("a.py", number, text.split("\n")[number - 1].strip(), expression=expression)


def changed(text: str, change: Change, expression: str = "") -> str | None:
    """What a change makes of a text at the line that ends in `# here`; None where it says nothing."""
    text = textwrap.dedent(text).lstrip("\n")
    data = text.encode()
    rewrite = change(Spot(Source("a.py", data), place_in(text, expression)))
    patch = rewrite.patch() if rewrite is not None else None
    return patched(data, patch).decode() if patch is not None else None


def line_changed(text: str, change: Change, expression: str = "") -> str | None:
    """The same where one line changes: what the marked line becomes, without blanks and marker."""
    after = changed(text, change, expression)
    if after is None:
        return None
    (line,) = (line for line in after.split("\n") if HERE in line)
    return line.partition(HERE)[0].strip()
