"""Patterns: what a matched step says of the one before it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gradscope.capture.step.draft import StepMark
from gradscope.capture.step.patterns import Pattern


def test_what_was_met_just_before_has_the_numbers_of_the_step_that_came_before() -> None:
    earlier = StepMark(2, 1)
    pattern: Any = Pattern.__new__(Pattern)
    pattern.template, pattern.after = 7, 3
    pattern.carried = [(0, None, 15), (1, None, 4), (2, earlier, 5)]
    pattern.lasting = [SimpleNamespace(entry=SimpleNamespace(number=0))]
    as_noted, as_itself, as_neither = StepMark(16, 3), StepMark(17, 7), StepMark(18, 9)
    assert list(pattern.carried_after(as_noted)) == [(0, as_noted, 15), (1, as_noted, 4), (2, earlier, 5)]
    assert list(pattern.carried_after(as_itself)) == [(0, as_itself, 0), (2, earlier, 5)]
    assert list(pattern.carried_after(as_neither)) == [(2, earlier, 5)]
    assert list(pattern.carried_after(StepMark(19))) == [(2, earlier, 5)]
    pattern.after = None  # nothing is known of the step that came before it
    assert list(pattern.carried_after(StepMark(19))) == [(2, earlier, 5)]
