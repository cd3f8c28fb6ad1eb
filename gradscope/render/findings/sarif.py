"""Findings as SARIF 2.1.0, which code hosts and editors read.

The format: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from ...model.findings import Finding, Place, Severity
from ...model.fixes import Fix
from ...version import __version__
from .trial import headline

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def as_sarif(findings: Sequence[Finding], titles: Mapping[str, str]) -> str:
    """One SARIF log with one run. Results without a place have no location; their message says why.

    `titles` say in a sentence what the codes stand for.
    """
    rules = list(dict.fromkeys((finding.code, finding.name) for finding in findings))
    numbers = {code: position for position, (code, _) in enumerate(rules)}
    driver = {
        "name": "gradscope",
        "version": __version__,
        "rules": [_rule(code, name, titles.get(code)) for code, name in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, numbers[finding.code]) for finding in findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=False) + "\n"


def _rule(code: str, name: str, title: str | None) -> dict[str, Any]:
    return {"id": code, "name": name, **({"shortDescription": {"text": title}} if title is not None else {})}


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    parts = (finding.message, finding.no_place or "", finding.explanation, f"Fix: {finding.fix}" if finding.fix else "")
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": "\n".join(part for part in parts if part)},
        "rank": round(finding.confidence * 100, 1),
        "properties": {"step": finding.step, "confidence": finding.confidence},
    }
    if finding.culprit is not None:
        result["locations"] = [_location(finding.culprit)]
    if finding.related:
        result["relatedLocations"] = [{"id": n, **_location(place)} for n, place in enumerate(finding.related, 1)]
    changes = [_fix(fix) for fix in finding.fixes if fix.patch is not None and fix.verified is not False]
    if changes:
        result["fixes"] = changes
    return result


def _fix(fix: Fix) -> dict[str, Any]:
    """A patch as whole lines that become others."""
    assert fix.patch is not None
    change = {
        "artifactLocation": {"uri": _uri(fix.patch.file)},
        "replacements": [
            {
                "deletedRegion": _lines(edit.line, len(edit.old)),
                "insertedContent": {"text": "".join(f"{line}\n" for line in edit.new)},
            }
            for edit in fix.patch.edits
        ],
    }
    return {"description": {"text": headline(fix)}, "artifactChanges": [change]}


def _lines(first: int, count: int) -> dict[str, int]:
    """A region of whole lines; without any, the place in front of the first."""
    return {"startLine": first, "startColumn": 1, "endLine": first + count, "endColumn": 1}


def _location(place: Place) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(place.file)},
            "region": {"startLine": place.line, "snippet": {"text": place.code}},
        }
    }
    if place.note:
        location["message"] = {"text": place.note}
    return location


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
