"""Leaves that the trace does not know as lasting have figures like any parameter."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.tui.figures import KNOWN, StepFigures
from gradscope.tui.own_leaves import own_leaves
from tests.capturing import record_text
from tests.unit.tui.scenes import scene_of

ONCE = """\
import torch
A = torch.tensor([2.0], requires_grad=True)
B = torch.tensor([3.0])
B.requires_grad_()
C = torch.tensor([4.0])
(A * B * C).sum().backward()
"""
LOOP = """\
import torch
w = torch.ones(3, requires_grad=True)
for step in range(6):
    loss = (w * 2).sum()
    w.grad = None
    loss.backward()
"""


def test_the_leaves_of_a_script_of_one_step_have_rows(tmp_path: Path) -> None:
    trace = record_text(tmp_path, ONCE).trace
    assert not trace.parameters()
    scene = scene_of(trace, trace.source.step_numbers()[-1], -2)
    figures = StepFigures(scene.step, scene.samples)
    assert [one.name for one in figures.leaves] == ["A", "B"]
    shown = {one.name: figures.of(one, scene.state) for one in figures.leaves}
    assert [(one.gradient.kind, one.gradient.norm) for one in shown.values()] == [(KNOWN, 12.0), (KNOWN, 8.0)]
    assert shown["A"].norm == 2.0
    assert shown["A"].status == ()


def test_a_lasting_leaf_has_one_row_from_its_first_step_on(tmp_path: Path) -> None:
    trace = record_text(tmp_path, LOOP).trace
    (w,) = trace.parameters()
    firsts = [number for number in trace.steps if own_leaves(trace.step(number))]
    assert firsts == [0, 1], "it is known as lasting from the third step on"
    for number in trace.steps:
        scene = scene_of(trace, number, -2)
        figures = StepFigures(scene.step, scene.samples)
        assert figures.leaves == ()
        row = figures.of(w, scene.state)
        assert row.gradient.norm == pytest.approx(2 * 3**0.5)
        assert row.status == ()


def test_leaves_that_a_step_makes_are_its_own(tmp_path: Path) -> None:
    made = LOOP.replace("    loss = ", "    x = torch.ones(3, requires_grad=True)\n    loss = x.sum() + ")
    trace = record_text(tmp_path, made).trace
    for number in trace.steps[3:]:
        (x,) = own_leaves(trace.step(number)).values()
        assert x.name == "x"
        assert x.id < 0
