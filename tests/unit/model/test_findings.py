"""Findings and their JSON, as the contract has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.model.codec import dumps, loads
from gradscope.model.findings import Finding, Place, Severity, findings_from_json, findings_to_json, in_order

STALE = Finding(
    code="GS101",
    name="saved-tensor-modified",
    severity=Severity.ERROR,
    step=0,
    confidence=0.99,
    message="y was changed in place after pow saved it for its backward",
    culprit=Place("train.py", 23, "y.mul_(2)"),
    related=(Place("train.py", 19, "z = y ** 2", "saved here, at version 0"),),
    explanation="…",
    fix="…",
    nodes=(12, 15),
)


def test_the_json_is_the_contract_s() -> None:
    assert findings_to_json("train.gradscope", [STALE]) == {
        "schema": "gradscope.findings/1",
        "trace": "train.gradscope",
        "findings": [
            {
                "code": "GS101",
                "name": "saved-tensor-modified",
                "severity": "error",
                "step": 0,
                "confidence": 0.99,
                "message": "y was changed in place after pow saved it for its backward",
                "culprit": {"file": "train.py", "line": 23, "code": "y.mul_(2)"},
                "related": [{"file": "train.py", "line": 19, "code": "z = y ** 2", "note": "saved here, at version 0"}],
                "explanation": "…",
                "fix": "…",
                "fixes": [],
                "nodes": [12, 15],
            }
        ],
    }


def test_a_finding_without_a_place_says_why_and_has_every_key() -> None:
    bare = Finding("GS900", "x", Severity.NOTE, "words", 0.5, no_place="the optimizer did it")
    data = bare.to_json()
    assert data["culprit"] is None
    assert data["no_place"] == "the optimizer did it"
    assert set(STALE.to_json()) <= set(data)
    assert Finding.from_json(data) == bare


def test_a_file_of_findings_comes_back() -> None:
    findings = [STALE, replace(STALE, step=None, culprit=None, related=(), nodes=())]
    text = dumps(findings_to_json("t", findings))
    assert findings_from_json(loads(text)) == ("t", findings)


@pytest.mark.parametrize(
    "data", [None, {}, {"schema": "gradscope.findings/9"}, {"schema": "gradscope.findings/1", "trace": "t"}]
)
def test_other_files_are_refused(data: object) -> None:
    with pytest.raises(ValueError, match="findings file"):
        findings_from_json(data)


def test_the_gravest_and_most_likely_comes_first() -> None:
    note = replace(STALE, severity=Severity.NOTE, confidence=1.0)
    unsure = replace(STALE, confidence=0.2)
    warning = replace(STALE, severity=Severity.WARNING)
    assert in_order([note, unsure, warning, STALE]) == [STALE, unsure, warning, note]
    assert Severity.ERROR.reaches(Severity.WARNING)
    assert Severity.WARNING.reaches(Severity.WARNING)
    assert not Severity.NOTE.reaches(Severity.WARNING)


def test_a_confidence_is_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(STALE, confidence=1.5)
