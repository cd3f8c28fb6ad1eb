"""Error messages are what a user reads."""

from __future__ import annotations

import pytest

from gradscope.errors import NoSuchStep


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ([], "there is no step 7: the trace has no steps"),
        ([-1, 0], "there is no step 7: the trace has 1 step; the nearest is 0"),
        ([2, 3, 5], "there is no step 7: the trace has 3 steps, 2 to 5; the nearest is 5"),
    ],
)
def test_an_unknown_step_names_the_nearest(known: list[int], words: str) -> None:
    assert str(NoSuchStep(7, known)) == words
