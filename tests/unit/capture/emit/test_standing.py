"""The step that goes on, told to whoever asks where nothing happens in it any more."""

from __future__ import annotations

import pytest
import torch

from gradscope.capture.recorder import Recorder
from gradscope.model.memory import MemorySource
from gradscope.model.records import StepRow
from gradscope.model.source import Unfinished
from gradscope.options import CaptureOptions
from tests.capturing import new_recording


@pytest.fixture(autouse=True)
def never_told_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradscope.capture.step.draft.FLUSH_SECONDS", 1e9)


def begun(**options: object) -> tuple[Unfinished, Recorder, MemorySource]:
    """A recorder that runs, what its sink may ask, and the sink."""
    made, asked = new_recording("graph"), list[Unfinished]()
    made.recorder.options = CaptureOptions(detail="graph", **options)  # type: ignore[arg-type]
    made.source.ask = asked.append  # type: ignore[method-assign]
    made.recorder.start()
    return asked[0], made.recorder, made.source


def affordable(recorder: Recorder) -> None:
    recorder._ask_again = 0.0  # as after some time


def test_it_is_told_once_it_stands_and_again_when_it_went_on() -> None:
    unfinished, recorder, sink = begun()
    try:
        a = torch.ones(2, requires_grad=True)
        b = a * 2
        assert unfinished() is None  # it went on since the last question, which nobody asked
        told = unfinished()
        assert told is not None
        growth, row = told
        assert growth.fresh
        assert [(place, moment.kind) for place, moment in growth.moments] == [(n, "op") for n in range(growth.size[1])]
        assert growth.moments[-1][1].name == "mul"  # type: ignore[union-attr]
        assert row.open
        assert (row.number, row.template) == (0, growth.template)
        assert unfinished() is None  # told already
        b.sum().backward()
        affordable(recorder)
        assert unfinished() is None
        again = unfinished()
        assert again is not None
        assert again[0].template == growth.template
        assert "backward" in [moment.kind for _, moment in again[0].moments]
    finally:
        recorder.stop()
    assert unfinished() is None
    assert sink.info().faults == ()


def test_it_is_not_told_what_is_thrown_away_anyway_nor_more_often_than_it_costs() -> None:
    unfinished, recorder, sink = begun(every=2)
    try:
        weight = torch.ones(2, requires_grad=True)
        for number in range(4):
            (weight * 2).sum().backward()
            affordable(recorder)
            assert unfinished() is None
            assert (unfinished() is None) is (number % 2 == 1)
            recorder.mark_step()
        (weight * 3).sum()
        recorder._ask_again = float("inf")
        assert unfinished() is None
        assert unfinished() is None
    finally:
        recorder.stop()
    assert sink.info().faults == ()


def test_what_goes_on_while_it_is_read_is_not_told() -> None:
    unfinished, recorder, sink = begun()
    try:
        weight = torch.ones(2, requires_grad=True)
        weight * 2
        assert unfinished() is None
        told = recorder.writer.rows.unfinished

        def interrupted(*arguments: object) -> StepRow:
            weight * 3
            return told(*arguments)  # type: ignore[arg-type]

        recorder.writer.rows.unfinished = interrupted  # type: ignore[method-assign]
        assert unfinished() is None
    finally:
        recorder.stop()
    assert sink.info().faults == ()
