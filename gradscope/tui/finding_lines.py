"""A finding as lines to pick from: where, each line that has to do with it, why, and what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..model.findings import Finding, Place
from ..render.findings.trial import changed_lines, headline, shown
from ..text import printable

_MOST_FIXES = 3


class CodeLine(NamedTuple):
    """A line of the user's; `expression` is one call on it, where it is told."""

    file: str
    line: int
    expression: str = ""

    def __str__(self) -> str:
        return printable(f"{self.file.rpartition('/')[2]}:{self.line}")


class FindingLine(NamedTuple):
    """One line. `place` is where it leads, None for the moment that the finding speaks of."""

    label: str
    text: str
    place: CodeLine | None = None


def lines_of(finding: Finding) -> Iterator[FindingLine]:
    """What there is to say, the culprit first."""
    culprit = finding.culprit
    if culprit is not None:
        yield FindingLine("here", _code(culprit))
    elif finding.no_place:
        yield FindingLine("here", f"no line of yours: {printable(finding.no_place)}")
    for place in finding.related:
        at = CodeLine(place.file, place.line, place.expression)
        yield FindingLine(printable(place.note) or "see", _code(place), at)
    for label, text in (("why", finding.explanation), ("fix", finding.fix)):
        if text:
            yield FindingLine(label, printable(text))
    for position, fix in enumerate(finding.fixes[:_MOST_FIXES]):
        file = fix.patch.file if fix.patch is not None else ""
        yield FindingLine("or" if position else "patch", printable(headline(fix)))
        changed: CodeLine | None = None
        for number, sign, code in changed_lines(fix) if shown(fix) else ():
            changed = CodeLine(file, int(number)) if number else changed
            yield FindingLine("", f"{number:>5} {sign} {printable(code.rstrip().expandtabs(4))}", changed)


def _code(place: Place) -> str:
    return f"{CodeLine(place.file, place.line)}  {printable(place.code.strip())}"
