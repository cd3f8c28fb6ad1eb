"""Error messages are what a user reads."""

from __future__ import annotations

import pytest

from gradscope.errors import NoSuchStep, UnknownName


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


def test_an_unknown_name_lists_what_is_known_or_says_how_many_more() -> None:
    assert str(UnknownName("format", "svgg", ["svg", "dot"])) == (
        "no format is called 'svgg': did you mean 'svg'? known are dot, svg"
    )
    many = str(UnknownName("module", "layer.7", [f"layer.{number}" for number in range(100, 200)]))
    assert many.endswith(" and 84 more")
    assert many.count("layer.") == 1 + 1 + 16
    assert str(UnknownName("module", "x", [])).endswith("known are none")
