"""Gradients along the depth of a network: the order in which it is read, and bars on one log scale."""

from __future__ import annotations

from pathlib import Path

from gradscope.tui.depth import Depth
from gradscope.tui.figures import CARRIED, KNOWN, NONE, UNKNOWN, ZERO, Figures, Gradient, StepFigures
from tests.capturing import record_text
from tests.unit.tui.scenes import scene_of

# the modules are registered from the output to the input, and one is not used
BACKWARDS = """\
import torch
from torch import nn
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.unused, self.first = nn.Linear(4, 1), nn.Linear(4, 4), nn.Linear(3, 4)
    def forward(self, x):
        return self.last(torch.sigmoid(self.first(x) * 1e-6))
net = Net()
for step in range(2):
    net(torch.ones(2, 3)).sum().backward()
"""


def row(gradient: Gradient, *status: str) -> Figures:
    return Figures(None, None, gradient, None, True, None, status)


def depth_of(tmp_path: Path) -> Depth:
    scene = scene_of(record_text(tmp_path, BACKWARDS).trace, 1, -2)
    return Depth(StepFigures(scene.step, scene.samples), scene.touches)


def test_parameters_stand_in_the_order_in_which_they_are_read(tmp_path: Path) -> None:
    depth = depth_of(tmp_path)
    known = depth.figures.step.trace.parameters()
    assert [one.name for one in known] == [
        f"{module}.{name}" for module in ("last", "unused", "first") for name in ("weight", "bias")
    ]
    assert [one.name for one in depth.along(known)] == [
        f"{module}.{name}" for module in ("first", "last", "unused") for name in ("weight", "bias")
    ]


def test_a_gradient_that_vanishes_has_a_short_bar(tmp_path: Path) -> None:
    depth = depth_of(tmp_path)
    assert 0 < depth.low < 1e-5
    assert depth.high > 1
    bars = [depth.bar(row(Gradient(KNOWN, norm)), 40, ascii=True) for norm in (depth.low, 1e-3, depth.high)]
    assert [len(bar) for bar in bars] == sorted({len(bar) for bar in bars})
    assert len(bars[0]) == 1
    assert bars[-1] == "#" * 40


def test_what_is_no_number_is_said(tmp_path: Path) -> None:
    depth = depth_of(tmp_path)
    said = {kind: depth.bar(row(Gradient(kind)), 20, ascii=False) for kind in (NONE, ZERO, CARRIED, UNKNOWN)}
    assert said == {NONE: "None", ZERO: "0", CARRIED: "not known", UNKNOWN: "not known"}
    assert depth.bar(row(Gradient(NONE), "frozen"), 20, ascii=False) == "frozen"
    assert depth.bar(row(Gradient(NONE), "buffer"), 20, ascii=False) == ""
    assert depth.bar(row(Gradient(KNOWN, float("nan"))), 5, ascii=False) == "!!!!!"
