"""Findings as text, JSON, SARIF and GitHub annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ...errors import UnknownName
from ...model.findings import Finding, findings_to_json
from .github import as_github
from .look import Look
from .sarif import as_sarif
from .text import as_text, one

__all__ = ["FORMATS", "Look", "one", "report"]


def _as_json(target: str, findings: Sequence[Finding]) -> str:
    return json.dumps(findings_to_json(target, findings), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


_REPORTS: Mapping[str, Callable[[str, Sequence[Finding], Look, Mapping[str, str]], str]] = {
    "text": lambda target, findings, look, _: as_text(target, findings, look),
    "json": lambda target, findings, *_: _as_json(target, findings),
    "sarif": lambda _target, findings, _look, titles: as_sarif(findings, titles),
    "github": lambda _, findings, *__: as_github(findings),
}
FORMATS = tuple(_REPORTS)


def report(
    target: str, findings: Sequence[Finding], form: str, look: Look, titles: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The findings of `target` in one of `FORMATS`. Raises UnknownName for another.

    `titles` say in a sentence what codes stand for, where a format tells of codes too.
    """
    if form not in _REPORTS:
        raise UnknownName("format", form, FORMATS)
    return _REPORTS[form](target, findings, look, titles)
