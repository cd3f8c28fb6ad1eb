"""The step that goes on is told part by part: at the end it is what it would have been had it been told at once."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from gradscope.capture.recorder import Recorder
from gradscope.model.codec import to_json
from gradscope.model.growth import Growth
from gradscope.model.memory import MemorySource
from gradscope.options import CaptureOptions
from gradscope.store import TraceWriter, open_trace
from tests.builders import INFO
from tests.capturing import Recording, record_text, run_plain
from tests.properties.random_training import program

Every = Callable[[float], None]


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> Every:
    """Sets after how many seconds a step in progress is told; that costs no step its being watched."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr("gradscope.capture.journal.schedule.FREE_SECONDS", math.inf)
        monkeypatch.setattr("gradscope.capture.step.draft.FLUSH_SECONDS", seconds)
        monkeypatch.setattr("gradscope.capture.recorder.FLUSH_SECONDS", seconds)

    return set_to


def told(made: Recording) -> list[object]:
    """All steps: rows without times and ids, and what they did."""
    found: list[object] = []
    for number in made.source.step_numbers():
        row = made.source.step_row(number)
        template = to_json(made.source.template(row.template))
        del template["id"]
        found.append((number, row.kind, row.versions, row.carried, row.shifts, row.open, template))
    return found


@pytest.mark.parametrize("seed", [0, 3, 11, 260])
@pytest.mark.parametrize("detail", ["auto", "graph"])
def test_told_after_each_moment_it_becomes_the_same(seed: int, detail: str, tmp_path: Path, every: Every) -> None:
    every(1e9)
    at_once = record_text(tmp_path, program(seed), detail)
    every(0.0)
    by_part = record_text(tmp_path, program(seed), detail)
    assert told(by_part) == told(at_once)
    assert by_part.faults == ()


@pytest.mark.parametrize("seed", [3, 11])
def test_so_it_does_in_the_file(seed: int, tmp_path: Path, every: Every) -> None:
    every(1e9)
    at_once = record_text(tmp_path, program(seed))
    every(0.0)
    path = tmp_path / "t.gradscope"
    with Recorder(TraceWriter(path), CaptureOptions(detail="full")):
        run_plain(tmp_path / "script.py")
    with open_trace(path) as trace:
        assert told(Recording(at_once.recorder, trace.source)) == told(at_once)  # type: ignore[arg-type]


class Listening(MemorySource):
    """Keeps what is told of steps that go on."""

    def __init__(self) -> None:
        super().__init__(INFO)
        self.growths: list[Growth] = []

    def put_growth(self, growth: Growth) -> None:
        self.growths.append(growth)
        super().put_growth(growth)


def test_each_time_only_what_is_new_is_told(every: Every) -> None:
    every(0.0)
    sink = Listening()
    with Recorder(sink, CaptureOptions(detail="graph")):
        x = torch.ones(2)
        for _ in range(200):
            x = x * 2
    assert sum(len(growth.moments) for growth in sink.growths) == 201
    assert sum(len(growth.tensors) for growth in sink.growths) == 201
    assert len(sink.growths) > 5


def copied(path: Path, to: Path) -> Path:
    """The file as one commit left it: what is written meanwhile is not in the copy."""
    with closing(sqlite3.connect(path)) as connection, closing(sqlite3.connect(to)) as copy:
        connection.backup(copy)
    return to


def test_the_file_of_a_step_that_goes_on_is_whole_at_each_commit(tmp_path: Path, every: Every) -> None:
    every(0.0)
    path = tmp_path / "t.gradscope"
    writer = TraceWriter(path)
    with Recorder(writer, CaptureOptions(detail="full")):
        w = torch.ones(3, requires_grad=True)
        for position in range(30):
            (w * position).sin().sum().backward(retain_graph=True)
            assert writer.flush()
            snapshot = copied(path, tmp_path / f"{position}.gradscope")
            with open_trace(snapshot) as trace:
                step = trace.step(max(trace.source.step_numbers()))
                assert step.broken is None
                assert step.row.open
                assert step.moments[-1].kind in ("grad", "node", "op", "backward", "mutation")
            with closing(sqlite3.connect(snapshot)) as connection:
                counted = connection.execute(
                    "SELECT count(*) FROM moments WHERE template = ?", (step.row.template,)
                ).fetchone()[0]
            assert counted == len(step.moments)


def test_a_step_of_many_phases_tells_the_first_ones_while_it_goes_on(every: Every) -> None:
    every(0.0)
    rows = []
    sink = Listening()
    put = sink.put_step
    sink.put_step = lambda row: (rows.append(row), put(row))[1]  # type: ignore[method-assign, assignment, func-returns-value]
    w = torch.ones(2, requires_grad=True)
    with Recorder(sink, CaptureOptions(detail="graph")):
        for _ in range(200):
            (w * 2).sum().backward()
    assert max(len(row.phases) for row in rows if row.open) <= 256
    assert all(row.open is False for row in rows[-1:])
