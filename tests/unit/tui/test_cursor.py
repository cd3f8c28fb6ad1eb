"""Where each key leads, as pure arithmetic on places."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.model.records import Phase
from gradscope.tui import cursor
from gradscope.tui.bad_numbers import bad_moments
from gradscope.tui.cursor import LAST, SAME, START, Place
from tests import builders
from tests.capturing import record_text

STEPS = [-1, 0, 1, 5, 9]


@pytest.mark.parametrize(
    ("here", "by", "there"),
    [
        (Place(0, 3), 1, Place(0, 4)),
        (Place(0, 3), -1, Place(0, 2)),
        (Place(0, 0), -1, Place(0, START)),
        (Place(1, 9), 1, Place(5, START)),
        (Place(5, START), -1, Place(1, LAST)),
        (Place(-1, START), -1, Place(-1, START)),
        (Place(9, 9), 1, Place(9, 9)),
    ],
)
def test_by_moments(here: Place, by: int, there: Place) -> None:
    assert cursor.by_moments(here, by, 10, STEPS) == there


@pytest.mark.parametrize(
    ("step", "by", "there"),
    [(0, 1, Place(1, SAME)), (5, -1, Place(1, SAME)), (9, 1, Place(9, 3)), (-1, -1, Place(-1, 3))],
)
def test_by_steps_keeps_the_place_at_the_ends(step: int, by: int, there: Place) -> None:
    assert cursor.by_steps(Place(step, 3), by, STEPS) == there


@pytest.mark.parametrize(
    ("here", "by", "there"),
    [
        (Place(1, 0), 1, Place(1, 4)),
        (Place(1, 6), -1, Place(1, 4)),
        (Place(1, 4), -1, Place(1, 0)),
        (Place(1, 0), -1, Place(1, START)),
        (Place(1, START), -1, Place(0, LAST)),
        (Place(1, 8), 1, Place(5, START)),
        (Place(9, 8), 1, Place(9, 8)),
        (Place(-1, START), -1, Place(-1, START)),
    ],
)
def test_by_phases(here: Place, by: int, there: Place) -> None:
    assert cursor.by_phases(here, by, (0, 4, 8), STEPS) == there


@given(st.lists(st.integers(-1, 50), unique=True).map(sorted), st.integers(-1, 50), st.sampled_from((-1, 1)))
def test_nearest_is_the_nearest(moments: list[int], here: int, by: int) -> None:
    beyond = [moment for moment in moments if (moment - here) * by > 0]
    assert cursor.nearest(moments, here, by) == (min(beyond, key=lambda moment: abs(moment - here)) if beyond else None)


@given(st.integers(-4, 60), st.integers(0, 40), st.integers(-1, 60), st.booleans())
def test_a_resolved_place_is_always_there(moment: int, count: int, here: int, same: bool) -> None:
    if same:
        here = min(here, count - 1)
    resolved = cursor.resolve(Place(4, moment), count, here, same, count - 1)
    assert resolved.step == 4
    assert START <= resolved.moment < max(count, 1)


def test_phase_starts_are_where_the_phase_changes() -> None:
    template = builders.mlp_trace().step(1).template
    starts = cursor.phase_starts(template)
    assert [template.moments[start].phase for start in starts] == [
        Phase.OTHER, Phase.ZERO_GRAD, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER_STEP,
    ]  # fmt: skip


def test_landmarks_of_writes_and_moves() -> None:
    step = builders.move_trace().step(0)
    assert [step.moments[moment].kind for moment in cursor.landmarks(step).moves] == ["move", "move"]
    step = builders.inplace_trace().step(0)
    assert [step.moments[moment].kind for moment in cursor.landmarks(step).mutations] == ["mutation"]
    assert cursor.landmarks(step).bad == ()


def test_bad_numbers_are_found_in_samples_and_in_norms() -> None:
    trace = builders.TraceBuilder("x\ny\n", "bad.py")
    step = trace.step(0)
    x = step.leaf("x", [1.0], 1)
    bad = step.op("log", (x,), "y", line=2, values=[float("nan")])
    step.done()
    first = trace.trace().step(0)
    assert bad_moments(first) == (first.tensors[bad].made_by,)
    row = first.row._replace(norms=((0, None, float("inf")),))
    assert not row.finite
    finite = row._replace(norms=((0, 1.0, None),), loss=2.0)
    assert finite.finite
    assert finite._replace(distances=((0, float("inf")),)).finite, "it may overflow a step before the parameter does"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("12", Place(12, START)),
        ("12:40", Place(12, 39)),
        (":40", Place(3, 39)),
        (" 7:0 ", Place(7, START)),
        ("setup", Place(-1, START)),
        ("setup:2", Place(-1, 1)),
    ],
)
def test_a_typed_place(text: str, place: Place) -> None:
    assert cursor.parse_place(text, Place(3, 5)) == place


@pytest.mark.parametrize("text", ["", ":", "x", "1:y", "1.5", "1:2:3"])
def test_what_is_no_place_is_refused_with_what_is_meant(text: str) -> None:
    with pytest.raises(ValueError, match=r"a step \(12\)"):
        cursor.parse_place(text, Place(3, 5))


FAILS = """\
import torch
w = torch.ones(2, requires_grad=True)
for step in range(4):
    loss = (w * 2).sum()
    loss.backward()
    if step == 2:
        torch.ones(2, 3) @ torch.ones(2, 3)
"""


def test_a_reader_begins_where_the_backward_starts_or_the_script_failed(tmp_path: Path) -> None:
    mlp, forward = builders.mlp_trace().step(1), builders.ab2_trace(backward=False).step(0)
    assert mlp.moments[cursor.opening(mlp)].kind == "backward"
    assert cursor.opening(forward) == len(forward.moments) - 1
    trace = record_text(tmp_path, FAILS).trace
    failed = trace.step(trace.steps[-1])
    assert failed.moments[cursor.opening(failed)].kind == "failure"
