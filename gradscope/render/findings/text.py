"""Findings for a terminal: what, the line with a caret under the call, why, and the smallest fix."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ...model.findings import Finding, Place, Severity
from ...model.fixes import Fix
from ...text import cells, printable
from .excerpt import Sources
from .look import Look
from .trial import changed_lines, headline, shown

_LEAST = 40  # columns; a narrower terminal wraps
_MOST_FIXES = 3  # shown of a finding
_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}


def as_text(target: str, findings: Sequence[Finding], look: Look) -> str:
    """All findings, the most likely culprit first, and how many there are; one line when there are none."""
    console = _console(look)
    sources = Sources()
    for finding in findings:
        for block in _finding(finding, sources, look):
            _print(console, block)
        console.print()
    console.print(_count(target, findings))
    return _printed(console)


def one(finding: Finding, look: Look) -> str:
    """One finding."""
    console = _console(look)
    for block in _finding(finding, Sources(), look):
        _print(console, block)
    return _printed(console)


def _console(look: Look) -> Console:
    return Console(
        file=io.StringIO(),
        width=max(look.width, _LEAST),
        force_terminal=look.colour,
        no_color=not look.colour,
        color_system="standard" if look.colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )


def _print(console: Console, block: Text | Padding) -> None:
    """A block, wrapped unless it asks not to be."""
    whole = isinstance(block, Text) and block.no_wrap is True  # print() would join texts to one without it
    console.print(block, no_wrap=whole, overflow="ignore" if whole else None, crop=not whole)


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def _finding(finding: Finding, sources: Sources, look: Look) -> Iterator[Text | Padding]:
    where = f"{printable(finding.culprit.file)}:{finding.culprit.line}: " if finding.culprit else ""
    colour = _COLOURS[finding.severity]
    step = "" if finding.step is None else " (before the first step)" if finding.step < 0 else f" (step {finding.step})"
    title = (finding.severity.value, colour)
    yield Text.assemble((where, "bold"), title, f" {finding.code} {finding.name}", (step, "dim"))
    yield Padding(Text(printable(finding.message)), (0, 0, 0, 2))
    if finding.culprit is not None:
        yield from _excerpt(finding.culprit, sources, look, colour, before=2)
    else:
        yield Padding(Text(f"no line of yours: {printable(finding.no_place or '')}"), (0, 0, 0, 2))
    for place in finding.related:
        note = f" ({printable(place.note)})" if place.note else ""
        yield Padding(Text(f"{printable(place.file)}:{place.line}{note}", "bold"), (0, 0, 0, 2))
        yield from _excerpt(place, sources, look, "cyan", before=0)
    for label, text in (("why", finding.explanation), ("fix", finding.fix)):
        if text:
            yield Padding(Text.assemble((f"{label}: ", "bold"), printable(text)), (0, 0, 0, 2))
    for position, fix in enumerate(finding.fixes[:_MOST_FIXES]):
        yield from _fix(fix, "or" if position else "patch")


def _fix(fix: Fix, label: str) -> Iterator[Text | Padding]:
    """A way to mend it, and the lines that it changes."""
    yield Padding(Text.assemble((f"{label}: ", "bold"), printable(headline(fix))), (0, 0, 0, 2))
    lines = list(changed_lines(fix)) if shown(fix) else []
    width = max((len(number) for number, _, _ in lines), default=0)
    for number, sign, code in lines:
        text = printable(code.rstrip().expandtabs(4))
        colour = "red" if sign == "-" else "green"
        parts = (f"    {number:>{width}} {sign} ", "dim"), (text, colour)
        yield Text.assemble(*parts, no_wrap=True)  # whole, to be copied


def _excerpt(place: Place, sources: Sources, look: Look, colour: str, before: int) -> Iterator[Text]:
    lines = sources.around(place, before)
    bar = "|" if look.ascii else "│"
    width = len(str(place.line))
    for number, code in lines:
        here = number == place.line and before > 0
        sign = (">" if look.ascii else "▶") if here else " "
        text = printable(code.rstrip().expandtabs(4))
        under = _caret(text, place.expression) if number == place.line else ""
        text, under = _window(text, under, max(look.width, _LEAST) - width - 7, "..." if look.ascii else "…")
        yield Text.assemble(f"  {sign} ", (f"{number:>{width}} {bar} ", "dim"), (text, "bold" if here else ""))
        if under:
            yield Text.assemble(" " * (4 + width) + f" {bar} ", (under, colour))


def _window(code: str, under: str, room: int, more: str) -> tuple[str, str]:
    """As much of a line, and of the carets under it, as fits: from its start, or so that the carets are seen."""
    if cells(code) <= room:
        return code, under
    caret = under.find("^")
    end = len(under) if under else 0
    skipped = max(0, min(caret - 4, end - room + len(more))) if caret >= 0 else 0
    head = more if skipped else ""
    code, under = head + code[skipped + len(head) :], " " * len(head) + under[skipped + len(head) :]
    if cells(code) > room:
        while cells(code) > room - len(more):
            code = code[:-1]
        code += more
    return code, under[:room].rstrip()


def _caret(code: str, expression: str) -> str:
    """Carets under `expression` in `code`, where it stands there once and is not the whole line."""
    start = code.find(expression) if expression else -1
    if start < 0 or code.find(expression, start + 1) >= 0 or expression == code.strip():
        return ""
    return " " * cells(code[:start]) + "^" * cells(expression)


def _count(target: str, findings: Sequence[Finding]) -> Text:
    if not findings:
        return Text(f"{printable(target)}: nothing found")
    counts = Counter(finding.severity for finding in findings)
    parts = [f"{counts[one]} {one.value}{'s' * (counts[one] > 1)}" for one in Severity if counts[one]]
    return Text(f"{printable(target)}: {', '.join(parts)}; `gradscope explain {findings[0].code}` tells more")
