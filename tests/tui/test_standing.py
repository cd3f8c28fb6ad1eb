"""The header's words for what holds are what torch says at the same call, on random programs of modes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from gradscope.model.moments import OpCall
from gradscope.tui.standing import standing
from tests.capturing import record_text
from tests.unit.tui.scenes import scene_of

HEAD = """\
import torch
from torch import nn
net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
x = torch.randn(2, 4)
said = []
def told():
    grad = "grad on" if torch.is_grad_enabled() else "no grad"
    grad = "inference mode" if torch.is_inference_mode_enabled() else grad
    cast = ["autocast cpu:bfloat16"] if torch.is_autocast_enabled("cpu") else []
    said.append(["train" if net.training else "eval", grad, *cast, "cpu"])
"""
CONTEXTS = ("torch.no_grad()", "torch.enable_grad()", "torch.inference_mode()", "torch.autocast('cpu', torch.bfloat16)")


def program(seed: int) -> str:
    random, lines = Random(seed), []
    for _ in range(10):
        depth = random.randrange(3)
        lines += [random.choice(["net.train()", "net.eval()", "net.train(False)", "pass"])]
        lines += [f"{'    ' * at}with {random.choice(CONTEXTS)}:" for at in range(depth)]
        lines += [f"{'    ' * depth}net(x)", f"{'    ' * depth}told()"]
    return HEAD + "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(8))
def test_what_holds_at_a_models_call_is_what_torch_says(tmp_path: Path, seed: int) -> None:
    made = record_text(tmp_path, program(seed))
    assert made.error is None
    seen = []
    for step in made.steps:
        for call in step.template.calls:
            if call.parent is None:
                op = next(at for at in step.positions(OpCall) if at >= call.moment)
                seen.append(standing(scene_of(made.trace, step.number, op)))
    assert seen == made.namespace["said"]


def test_a_part_with_a_mode_of_its_own_is_told_beside_the_models(tmp_path: Path) -> None:
    trace = record_text(tmp_path, HEAD + "net.train()\nnet[1].eval()\nnet(x)\n").trace
    step = trace.step(trace.source.step_numbers()[0])
    at = next(index for index, one in enumerate(step.moments) if getattr(one, "name", "") == "dropout")
    assert standing(scene_of(trace, step.number, at))[0] == "train (1 eval)"


def test_a_loss_that_is_a_module_is_no_model(tmp_path: Path) -> None:
    source = (
        HEAD + "criterion = nn.MSELoss()\nnet.eval()\nloss = criterion(net(x), torch.zeros(2, 2))\nloss.backward()\n"
    )
    trace = record_text(tmp_path, source).trace
    step = trace.step(trace.source.step_numbers()[-1])
    ends = [index for index, one in enumerate(step.moments) if one.kind in ("backward", "op")][-3:]
    assert {standing(scene_of(trace, step.number, at))[0] for at in ends} == {"eval"}
