"""Findings as workflow commands, which GitHub shows as annotations on the lines of a pull request.

The format: GitHub Actions, "Workflow commands", setting an error, warning or notice message.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...model.findings import Finding, Severity

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def as_github(findings: Sequence[Finding]) -> str:
    """One command a finding, each one line."""
    return "".join(f"{_command(finding)}\n" for finding in findings)


def _command(finding: Finding) -> str:
    settings = {"title": f"{finding.code} {finding.name}"}
    if finding.culprit is not None:
        settings = {"file": finding.culprit.file, "line": str(finding.culprit.line), **settings}
    told = [finding.message, finding.no_place or "", finding.explanation, f"Fix: {finding.fix}" if finding.fix else ""]
    told += [f"{place.file}:{place.line} {place.note}".strip() for place in finding.related]
    properties = ",".join(f"{key}={_escaped(value, properties=True)}" for key, value in settings.items())
    return f"::{_COMMANDS[finding.severity]} {properties}::{_escaped(chr(10).join(part for part in told if part))}"


def _escaped(text: str, *, properties: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if properties else text
