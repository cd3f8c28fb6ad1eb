"""Findings as text, JSON, SARIF and GitHub annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from ...errors import UnknownName
from ...model.findings import Finding, findings_to_json
from .github import as_github
from .look import Look
from .sarif import as_sarif
from .text import as_text, one

__all__ = ["FORMATS", "Look", "one", "report"]


def _as_json(target: str, findings: Sequence[Finding], look: Look) -> str:
    del look
    return json.dumps(findings_to_json(target, findings), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


_REPORTS: Mapping[str, Callable[[str, Sequence[Finding], Look], str]] = {
    "text": as_text,
    "json": _as_json,
    "sarif": as_sarif,
    "github": as_github,
}
FORMATS = tuple(_REPORTS)


def report(target: str, findings: Sequence[Finding], form: str, look: Look) -> str:
    """The findings of `target` in one of `FORMATS`. Raises UnknownName for another."""
    if form not in _REPORTS:
        raise UnknownName("format", form, FORMATS)
    return _REPORTS[form](target, findings, look)
