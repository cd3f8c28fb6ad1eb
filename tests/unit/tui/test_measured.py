"""Whether a number that was taken at one moment holds at another: past writes, unseen ones, and later gradients."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.model.trace import Step
from gradscope.tui.figures import FILLED, KNOWN, StepFigures
from gradscope.tui.inspection.sheet import sheet
from gradscope.tui.subject import Subject
from tests.capturing import record_text
from tests.unit.tui.scenes import scene_of

HEAD = "import torch\nw = torch.nn.Parameter(torch.ones(3))\nx = torch.ones(3)\n"


def last_step(tmp_path: Path, body: str, detail: str = "full") -> Step:
    trace = record_text(tmp_path, HEAD + body, detail).trace
    return trace.step(trace.source.step_numbers()[-1])


def notes(step: Step, name: str, moment: int = -2) -> list[str]:
    """What the inspector adds to a tensor's value."""
    scene = scene_of(step.trace, step.number, moment)
    number = next(tensor.number for tensor in step.tensors if tensor.name == name)
    sections = sheet(scene, Subject(tensor=number)).sections
    return [fact.text for section in sections if section.title == "value" for fact in section.facts if not fact.label]


@pytest.mark.parametrize(
    ("write", "note"),
    [
        ("y.data.mul_(2)", "as it was before the last change in place"),
        ("y.detach().add_(1)", "as it was before the last change in place"),
        ("y.numpy()[...] += 1", "unless it was written through the array or buffer that shares its memory"),
        ("z = y * 2", None),
    ],
)
def test_a_value_that_was_written_by_another_way_is_no_longer_shown_as_so(
    tmp_path: Path, write: str, note: str | None
) -> None:
    step = last_step(tmp_path, f"y = x * 3\n{write}\n")
    assert [one for one in notes(step, "y") if one.startswith(("as it was", "unless"))] == ([note] if note else [])


def test_a_view_whose_base_was_written_may_have_another_history(tmp_path: Path) -> None:
    step = last_step(tmp_path, "y = x * 3\nv = y.view(-1)\ny += w\n")
    number = next(tensor.number for tensor in step.tensors if tensor.name == "v")
    facts = sheet(scene_of(step.trace, step.number, -2), Subject(tensor=number)).sections[0].facts
    assert any("torch renews its history" in fact.text for fact in facts)


@pytest.mark.parametrize("write", ["w.data.mul_(2)", "w.detach().numpy()[...] += 1"])
def test_a_parameter_that_was_written_past_autograd_has_no_norm_that_is_another_moments(
    tmp_path: Path, write: str
) -> None:
    step = last_step(tmp_path, f"loss = (w * x).sum()\n{write}\n")
    scene = scene_of(step.trace, step.number, -2)
    figures = StepFigures(step, scene.samples)
    (w,) = step.trace.parameters()
    assert figures.of(w, scene.state).norm in (None, pytest.approx(2 * 3**0.5)), "it is 2 or more times 1.73 by now"


def test_of_two_backwards_only_the_last_has_the_rows_gradient(tmp_path: Path) -> None:
    step = last_step(tmp_path, "(w * x).sum().backward()\n(w * 2).sum().backward()\n", "graph")
    (w,) = step.trace.parameters()
    fills = [index for index, moment in enumerate(step.moments) if moment.kind == "grad"]
    found = []
    for moment in fills:
        scene = scene_of(step.trace, step.number, moment)
        found.append(StepFigures(step, scene.samples).gradient(w.id, scene.state))
    assert [one.kind for one in found] == [FILLED, KNOWN]
    assert found[1].norm == pytest.approx(3 * 3**0.5)
