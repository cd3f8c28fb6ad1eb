"""Parameters that take no part in the training are not counted as ones that never got a gradient."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.model.overview import Overview, overview
from tests.capturing import record_script

START = """\
import copy
import torch
from torch import nn
torch.manual_seed(0)
def train(model, steps=3, target=lambda x: x.sum(1, keepdim=True)):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        x = torch.randn(5, 4)
        optimizer.zero_grad()
        (model(x) - target(x)).square().mean().backward()
        optimizer.step()
"""
TIED = """
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 4, bias=False)
        {init}
        {tie}
    def forward(self, x):
        return self.head(self.enter(x).relu()).sum(1, keepdim=True)
train(Tied())
"""


def told(text: str, folder: Path, detail: str = "full") -> Overview:
    script = folder / "train.py"
    script.write_text(START + text)
    recorded = record_script(script, detail)
    assert recorded.namespace["__error__"] is None
    return overview(recorded.trace)


@pytest.mark.parametrize("detail", ["full", "graph", "steps"])
@pytest.mark.parametrize("init", ["pass", "nn.init.normal_(self.head.weight)", "self.head.weight.data.mul_(0.1)"])
@pytest.mark.parametrize(
    "tie", ["self.head.weight = self.enter.weight", "self.enter.weight = nn.Parameter(self.head.weight.detach())"]
)
def test_a_weight_that_was_replaced_before_any_use_is_none(tie: str, init: str, detail: str, tmp_path: Path) -> None:
    found = told(TIED.format(tie=tie, init=init), tmp_path, detail)
    assert found.without_gradient == ()
    assert len(found.parameters) == len(found.with_gradient) == (1 if "head.weight =" in tie else 2)


def test_a_layer_of_a_trained_model_that_is_never_called_still_never_trains(tmp_path: Path) -> None:
    text = """
model = nn.Sequential(nn.Linear(4, 1))
model.spare = nn.Linear(2, 2)
model.forward = lambda x: model[0](x)
train(model)
"""
    assert told(text, tmp_path).without_gradient == ("spare.weight", "spare.bias")


@pytest.mark.parametrize(
    "target",
    [
        "lambda x: torch.no_grad()(teacher)(x)",
        "lambda x: teacher(x).detach()",
    ],
)
def test_a_model_that_is_only_evaluated_lacks_no_gradient(target: str, tmp_path: Path) -> None:
    text = f"teacher, student = nn.Linear(4, 1), nn.Linear(4, 1)\nteacher.eval()\ntrain(student, target={target})\n"
    found = told(text, tmp_path)
    assert found.without_gradient == ()
    assert len(found.with_gradient) == len(found.evaluated) == 2
    assert len(found.parameters) == 4


def test_a_leaf_that_a_script_updates_by_hand_counts_without_a_model(tmp_path: Path) -> None:
    text = """
w, unused = torch.ones(3, requires_grad=True), nn.Parameter(torch.ones(3))
for step in range(3):
    (w * 2 + 0 * unused.detach()).sum().backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
        w.grad = None
"""
    found = told(text, tmp_path)
    assert found.without_gradient == ("unused",)
