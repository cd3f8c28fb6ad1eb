"""A sample of the programs does the same traced as plain. `python -m tests.promise --all` runs them all."""

from __future__ import annotations

from .program import Program
from .sampled import assert_the_same, sampled


@sampled("demos", "zoo", "cases", "programs")
def test_a_program_does_the_same(program: Program, hows: tuple[str, ...]) -> None:
    assert_the_same(program, hows)
