"""A sample of settings, faults and frameworks: a program among them does the same traced as plain."""

from __future__ import annotations

from .program import Program
from .sampled import assert_the_same, sampled


@sampled("settings", "faults", "frameworks")
def test_a_program_does_the_same(program: Program, hows: tuple[str, ...]) -> None:
    assert_the_same(program, hows)
