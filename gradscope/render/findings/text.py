"""Findings for a terminal: what, the line with a caret, why, the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.findings import Finding, Place
from ...text import printable
from .look import Look


def as_text(target: str, findings: Sequence[Finding], look: Look) -> str:
    """All findings, the most likely culprit first; one line when there are none."""
    if not findings:
        return f"{printable(target)}: no findings\n"
    return "\n".join(line for finding in findings for line in _finding(finding, look)) + "\n"


def _finding(finding: Finding, look: Look) -> Iterator[str]:
    del look
    yield f"{finding.severity.value} {finding.code} {finding.name}: {printable(finding.message)}"
    if finding.culprit is not None:
        yield from _place(finding.culprit)
    else:
        yield f"  no line: {printable(finding.no_place or '')}"
    for place in finding.related:
        yield from _place(place)
    if finding.explanation:
        yield f"  why: {printable(finding.explanation)}"
    if finding.fix:
        yield f"  fix: {printable(finding.fix)}"
    yield ""


def _place(place: Place) -> Iterator[str]:
    note = f"  ({printable(place.note)})" if place.note else ""
    yield f"  {printable(place.file)}:{place.line}{note}"
    yield f"    {printable(place.code)}"
