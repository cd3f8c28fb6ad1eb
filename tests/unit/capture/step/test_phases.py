"""Where phases begin and end: a call's phase ends when the call returns, whatever comes next."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from gradscope.model.records import PhaseSpan, StepRow
from tests.capturing import record_text

LOOP = """import time
import torch
class Slow:
    def __call__(self, *_):
        time.sleep(0.05)
slow = Slow()
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
for _ in range(3):
    optimizer.zero_grad()
    slow()
    loss = torch.nn.functional.mse_loss(model(torch.ones(1, 2)), torch.ones(1, 2))
    loss.backward()
    slow()
    optimizer.step()
    slow()
    scheduler.step()
    slow()
"""


def spent(row: StepRow, phase: str) -> float:
    return sum(span.duration for span in row.phases if span.phase.value == phase)


@pytest.mark.parametrize("detail", ["graph", "steps"])
def test_what_runs_after_a_call_is_not_of_its_phase(tmp_path: Path, detail: str) -> None:
    row = record_text(tmp_path, LOOP, detail).trace.step(2).row
    names = [span.phase.value for span in row.phases]
    calls = ["zero_grad", "forward", "backward", "optimizer_step", "scheduler_step"]
    assert [name for name in names if name in calls] == calls
    for call in ("zero_grad", "backward", "optimizer_step", "scheduler_step"):
        assert names[names.index(call) + 1] == "other"
    assert spent(row, "other") >= 4 * 0.05
    assert names[-1] == "other"


def test_a_call_takes_its_own_time(tmp_path: Path) -> None:
    text = LOOP.replace("    loss.backward()\n", "    loss.register_hook(slow)\n    loss.backward()\n")
    text = text.replace("optimizer.step()", "optimizer.step(slow)")
    row = record_text(tmp_path, text, "graph").trace.step(2).row
    assert spent(row, "optimizer_step") + spent(row, "other") >= 5 * 0.05
    assert spent(row, "optimizer_step") >= 0.05
    assert spent(row, "backward") >= 0.05


def test_spans_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, LOOP, "graph")
    for step in recorded.steps:
        spans = step.row.phases
        for one, other in pairwise(spans):
            assert one.start + one.duration == pytest.approx(other.start, abs=1e-6)
            assert one.moment <= other.moment
            assert one.phase is not other.phase
        last: PhaseSpan = spans[-1]
        assert last.start + last.duration == pytest.approx(step.row.duration, abs=0.01)
    first, second = recorded.trace.step(0).row, recorded.trace.step(1).row
    assert recorded.trace.setup is not None
    assert recorded.trace.setup.row.duration + first.duration <= second.start + 1e-6


def test_each_moment_lies_in_a_span_of_its_phase(tmp_path: Path) -> None:
    for step in record_text(tmp_path, LOOP).steps:
        for index, moment in enumerate(step.moments):
            begun = [span for span in step.row.phases if span.moment <= index]
            assert begun[-1].phase is moment.phase


def test_a_call_that_raises_ends_its_phase(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
x = torch.ones(2, requires_grad=True)
y = (x * 2).sin().sum()
y.backward()
try:
    y.backward()
except RuntimeError:
    z = torch.ones(2)
optimizer = torch.optim.LBFGS([x])
try:
    optimizer.step(lambda: 1 / 0)
except ZeroDivisionError:
    optimizer.zero_grad()
    z = torch.ones(2)
""",
    )
    names = [span.phase.value for step in recorded.steps for span in step.row.phases]
    assert names == [
        "other",
        "forward",
        "backward",
        "other",
        "backward",
        "other",
        "optimizer_step",
        "other",
        "zero_grad",
        "other",
    ]


def test_initialising_parameters_is_no_forward(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
layer = torch.nn.Linear(2, 2)
torch.nn.init.kaiming_uniform_(layer.weight)
leaf = torch.tensor([1.0], requires_grad=True)
with torch.no_grad():
    layer.weight.mul_(2)
out = layer(torch.ones(1, 2))
""",
    )
    phases = {moment.name: moment.phase.value for moment in recorded.moments("op")}  # type: ignore[union-attr]
    assert phases.pop("linear") == "forward"
    assert "kaiming_uniform_" in phases
    assert set(phases.values()) == {"other"}
    assert {moment.phase.value for moment in recorded.moments("mutation")} == {"other"}


AROUND = """import time
import torch
model = torch.nn.Linear(2, 2)
def rest():
    time.sleep(0.2)
with torch.no_grad():
    for _ in range(3):
        model(torch.ones(1, 2))
        rest()
model(torch.ones(1, 2)).sum()
rest()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rest()
for _ in range(2):
    optimizer.zero_grad()
    loss = model(torch.ones(1, 2)).square().mean()
    loss.item()
    rest()
    loss.backward()
    optimizer.step()
    model.weight.sum().item()
"""


@pytest.mark.parametrize("detail", ["graph", "steps", "auto"])
def test_a_phase_ends_with_what_belongs_to_it(tmp_path: Path, detail: str) -> None:
    recorded = record_text(tmp_path, AROUND, detail)
    assert recorded.kinds == ["eval"] * 4 + ["train"] * 2
    rows = [step.row for step in recorded.steps]
    assert sum(spent(row, "eval") for row in rows) < 0.2
    if detail == "steps":  # that the loss is used is not recorded
        rows = rows[:4]
    assert sum(spent(row, "other") for row in rows) >= 0.2 * (5 if detail == "steps" else 7)
    assert sum(spent(row, "forward") + spent(row, "loss") for row in rows) < 0.2


def test_a_call_that_is_no_op_lasts_until_it_returns(tmp_path: Path) -> None:
    text = """import time
import torch
class Slow(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        time.sleep(0.1)
        return y
slow = Slow()
for _ in range(2):
    slow(torch.ones(2, requires_grad=True)).sum().backward()
"""
    for detail in ("graph", "steps"):
        for step in record_text(tmp_path, text, detail).steps:
            assert spent(step.row, "forward") >= 0.1


def test_what_is_computed_after_the_update_is_no_forward(tmp_path: Path) -> None:
    text = """import torch
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    loss = model(torch.ones(1, 2)).square().mean()
    loss.backward()
    optimizer.step()
    model.weight.sum().item()
"""
    for step in record_text(tmp_path, text).steps[1:]:
        names = [span.phase.value for span in step.row.phases if span.phase.value != "other"]
        assert names == ["zero_grad", "forward", "loss", "backward", "optimizer_step"]
