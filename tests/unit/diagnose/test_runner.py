"""What `judge` does with what checks find. The checks here are made up; the trace has nothing wrong."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from gradscope.diagnose import judge
from gradscope.diagnose.evidence.index import Case
from gradscope.diagnose.rules import Check, Rule, check
from gradscope.errors import UnknownName
from gradscope.model.findings import Finding, Place, Severity
from tests.builders import ab2_trace

LINE = Place("train.py", 3, "y.mul_(2)")
MADE_UP = Rule("GS998", "made-up", Severity.WARNING, "Made up.")


def _finds(*findings: Finding) -> Check:
    @check(MADE_UP)
    def finds(case: Case) -> Iterator[Finding]:
        yield from findings

    return finds


def _finding(line: Place | None = LINE, confidence: float = 0.9, message: str = "it is wrong") -> Finding:
    return MADE_UP.finding(message, culprit=line, confidence=confidence)


def test_a_check_that_fails_is_a_note_and_the_others_go_on() -> None:
    @check(MADE_UP)
    def fails(case: Case) -> Iterator[Finding]:
        yield _finding(message="found before")
        raise KeyError("no such thing")

    found = judge(ab2_trace(), checks=(fails, _finds(_finding(Place("train.py", 9, "z"), message="found after"))))
    assert [one.message for one in found[:2]] == ["found before", "found after"]
    note = found[2]
    assert (note.code, note.severity) == ("GS000", Severity.NOTE)
    assert "fails" in note.message
    assert "no such thing" in note.message


def test_one_finding_for_each_code_and_line() -> None:
    found = judge(ab2_trace(), checks=(_finds(_finding(confidence=0.5), _finding(confidence=0.9), _finding(None)),))
    assert [(one.culprit, one.confidence) for one in found] == [(LINE, 0.9), (None, 0.9)]


@pytest.mark.parametrize(
    ("comment", "kept"),
    [
        ("# gradscope: ignore[GS998]", 0),
        ("# gradscope: ignore", 0),
        ("# gradscope:ignore[GS101, gs998]", 0),
        ("# gradscope: ignore[GS101]", 1),
        ("# ignore[GS998]", 1),
    ],
)
def test_a_comment_on_the_culprits_line_silences_it(comment: str, kept: int) -> None:
    found = judge(ab2_trace(), checks=(_finds(_finding(Place("train.py", 3, f"y.mul_(2)  {comment}"))),))
    assert len(found) == kept


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(on: bool) -> None:
    seen = []

    @check(MADE_UP)
    def looks(case: Case) -> Iterator[Finding]:
        seen.append(gc.isenabled())
        yield _finding()

    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        judge(ab2_trace(), checks=(looks,))
        assert (seen, gc.isenabled()) == ([False], on)
    finally:
        (gc.enable if was_on else gc.disable)()


def test_select_and_ignore_take_codes_and_beginnings_of_codes() -> None:
    checks = (_finds(_finding()),)
    assert not judge(ab2_trace(), select=("GS1",), checks=checks)
    assert not judge(ab2_trace(), ignore=("gs0",), select=("GS1",), checks=checks)
    assert judge(ab2_trace(), ignore=("GS1",), checks=checks)


def test_a_code_that_does_not_exist_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'GS101'"):
        judge(ab2_trace(), select=("XS101",))


def test_a_finding_without_a_line_says_why() -> None:
    (found,) = judge(ab2_trace(), checks=(_finds(_finding(None)),))
    assert found.no_place
