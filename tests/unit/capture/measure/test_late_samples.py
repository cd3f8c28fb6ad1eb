"""Statistics that are on their way from a device when their step ends: they join it, unless it is gone by then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gradscope.capture.measure.reading import Reading
from gradscope.capture.measure.stats import Pending, Statistics
from gradscope.capture.recorder import Recorder
from gradscope.options import CaptureOptions
from gradscope.store import TraceWriter, open_trace
from tests.capturing import Recording, record_text, run_plain

TEXT = """
import torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for i in range(6):
    optimizer.zero_grad()
    net(torch.ones(2, 3)).sum().backward()
    optimizer.step()
"""


class Device:
    """Measures as the CPU does, but says so only when the recording ends or `arrives` says that it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, arrives: Callable[[], bool]) -> None:
        read = Statistics.read

        def late(statistics: Statistics, tensor: torch.Tensor, passing: bool = False) -> Reading | None:
            found = read(statistics, tensor, passing)
            statistics.settle()
            if found is None:
                return None
            reading = Reading(found.form, None, found.values)
            stats = found.stats

            def deliver(_: object) -> None:
                reading.stats = stats

            statistics.pending.append(Pending(torch.zeros(1), deliver))
            return reading

        monkeypatch.setattr(Statistics, "read", late)
        monkeypatch.setattr(Pending, "ready", lambda pending: arrives())


def measured(recorded: Recording) -> list[str]:
    return [repr(recorded.source.samples(number)) for number in recorded.source.step_numbers()]


@pytest.mark.parametrize("arriving", ["at the end", "a step later", "some of them"])
def test_samples_that_come_later_are_those_that_would_have_come_at_once(
    arriving: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = record_text(tmp_path, TEXT)
    turns = iter(range(1_000_000))
    Device(monkeypatch, lambda: {"at the end": False, "a step later": True}.get(arriving, next(turns) % 3 == 0))
    later = record_text(tmp_path, TEXT)
    assert later.faults == ()
    assert measured(later) == measured(at_once)
    assert len(later.trace.step(3).samples) > 20


def test_a_step_that_is_gone_gets_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(TEXT)
    kept = record_text(tmp_path, TEXT, last=2)
    Device(monkeypatch, lambda: False)
    writer = TraceWriter(tmp_path / "t.gradscope")
    with Recorder(writer, CaptureOptions(detail="full", last=2)):
        run_plain(script)
    assert writer.failed is None
    with open_trace(writer.path) as read:
        assert read.steps == [number for number in kept.source.step_numbers() if number >= 0][-2:]
        for number in (-1, 0, 1, 2, 3):
            assert read.source.samples(number) == tuple(kept.source.samples(number))
        for number in read.steps:
            assert read.source.samples(number) == tuple(kept.source.samples(number)) != ()
