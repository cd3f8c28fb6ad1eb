"""The part of a sample that one file of tests runs; several files, so that several workers share them."""

from __future__ import annotations

import os

import pytest

from . import environment
from .judging import judge, sample
from .kinds import KINDS
from .program import Program

SEED = int(os.environ.get("PROMISE_SEED", "0"))  # tests/conftest.py chooses one by chance, and prints it


def sampled(*kinds: str) -> pytest.MarkDecorator:
    """Parametrizes a test by `program` and `hows`. The seed is part of its name."""
    chosen = sample([program for kind in kinds for program in KINDS[kind]()], SEED)
    return pytest.mark.parametrize(
        ("program", "hows"), chosen, ids=[f"{program.id}-seed{SEED}" for program, _ in chosen]
    )


def assert_the_same(program: Program, hows: tuple[str, ...]) -> None:
    if program.kind == "frameworks" and not environment.is_ready():
        pytest.skip("the frameworks are not installed: `python -m tests.promise.environment` does that")
    verdict = judge(program, hows)
    assert verdict.right, verdict.told()
