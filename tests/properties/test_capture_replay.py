"""Steps that repeat are taken over from earlier ones, and nothing of the trace tells so."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gradscope.capture.replay import Replay
from gradscope.model.records import StepRow
from tests.capturing import Recording, new_recording, run_plain
from tests.properties.random_scripts import loops
from tests.properties.test_capture_programs import warned

MODEL = """\
import torch
from torch import nn

torch.manual_seed(0)
errors = []
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
optimizer = torch.optim.Adam(model.parameters())
criterion = nn.CrossEntropyLoss()
inputs, labels = torch.randn(5, 4), torch.randint(3, (5,))
for step in range(8):
    optimizer.zero_grad()
    outputs = model(inputs)
    {change}
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
"""
CHANGES = {
    "nothing": "pass",
    "a shape": "inputs, labels = (inputs[:3].clone(), labels[:3].clone()) if step == 5 else (inputs, labels)",
    "a dtype": "model.double() if step == 5 else None; inputs = inputs.double() if step == 5 else inputs",
    "a mode": "model.eval() if step == 5 else None",
    "a frozen layer": "model[0].weight.requires_grad_(step < 5)",
    "a version": "model[0].weight.data.add_(0.0) if step == 5 else None; outputs.detach().add_(step // 6)",
    "an op": "outputs = outputs * 1 if step == 5 else outputs",
    "another input": "inputs = inputs.clone() if step == 5 else inputs",
    "the gradient mode": "torch.set_grad_enabled(True); outputs = outputs if step < 5 else outputs.clone()",
    "a kept gradient": "outputs.retain_grad() if step > 5 else None",
    "a tensor that stays": "kept = outputs if step == 5 else None",
}


def recorded(script: Path, detail: str, replays: bool) -> Recording:
    made = new_recording(detail)
    made.recorder.replays = replays
    made.recorder.start()
    try:
        made.namespace = run_plain(script)
    finally:
        made.recorder.stop(made.namespace.get("__error__"))
    return made


def untimed(row: StepRow) -> StepRow:
    phases = tuple(replace(span, start=0.0, duration=0.0) for span in row.phases)
    return replace(row, start=0.0, duration=0.0, phases=phases, template=0)


def told(recording: Recording) -> list[Any]:
    """All that a trace says, but when things happened and what templates are numbered."""
    source = recording.source
    sites = [site for site in source.sites().values() if site.file.endswith("program.py")]
    said: list[Any] = [sites, source.stacks(), source.modules(), source.optimizers(), source.parameters()]
    for number in source.step_numbers():
        row = source.step_row(number)
        template = replace(source.template(row.template), id=0)
        said += [untimed(row), template, repr(source.samples(number)), source.versions(number)]
    return [*said, recording.faults]


def both(text: str, detail: str) -> tuple[list[Any], list[Any]]:
    with tempfile.TemporaryDirectory() as folder, warned():
        script = Path(folder) / "program.py"
        script.write_text(text)
        plain, replaying = [recorded(script, detail, replays) for replays in (False, True)]
    return told(plain), told(replaying)


@pytest.mark.slow
@settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, print_blob=False,
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
@given(loops(), st.sampled_from(("graph", "graph", "full")))
def test_a_trace_is_the_same_with_and_without_replay(text: str, detail: str) -> None:
    without, replayed = both(text, detail)
    for one, other in zip(without, replayed, strict=True):
        assert one == other


@pytest.mark.parametrize("detail", ["graph", "full"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_step_that_differs_in_one_thing_is_told_as_it_was(change: str, detail: str) -> None:
    without, replayed = both(MODEL.format(change=CHANGES[change]), detail)
    for one, other in zip(without, replayed, strict=True):
        assert one == other


def test_steps_that_repeat_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    ends, taken = Replay.ends, []

    def counted(*arguments: Any) -> bool:
        taken.append(ends(*arguments))
        return taken[-1]

    monkeypatch.setattr(Replay, "ends", counted)
    both(MODEL.format(change="pass"), "graph")
    assert sum(taken) >= 5 * 6  # five ops; the first steps are not what is expected yet
