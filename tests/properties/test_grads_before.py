"""At a step's start and end, the `.grad` of a leaf and the norm of a parameter are as torch has them, or not known."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import nn

from gradscope.model.samples import SampleIndex
from gradscope.model.state import State
from gradscope.model.trace import Trace
from gradscope.tui.figures import KNOWN, NONE, ZERO, Beside, Gradient, StepFigures
from tests.capturing import recording

STEPS = 14
Loop = Callable[[int], None]
CLEARINGS = ("none", "zero", "by hand", "every second", "never", "at the end")


def ways(random: Random, net: nn.Module, w: torch.Tensor, clearing: str) -> Loop:
    """One step of a loop that clears gradients in one way, and leaves some parameters out of some losses."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    skipped = random.randrange(3)

    def clear(step: int) -> None:
        if clearing in ("none", "zero"):
            optimizer.zero_grad(set_to_none=clearing == "none")
        elif clearing == "every second" and step % 2:
            optimizer.zero_grad()
        elif clearing == "by hand":
            for parameter in net.parameters():
                parameter.grad = None
            if w.grad is not None:
                w.grad.zero_()

    def one(step: int) -> None:
        clear(step)
        x = torch.randn(4, 3)
        hidden = net[0](x) if step % 3 != skipped else x  # type: ignore[index]
        (net[1](hidden) * w).square().mean().backward()  # type: ignore[index]
        optimizer.step()
        if clearing == "at the end":
            optimizer.zero_grad()

    return one


Grads = list[dict[str, torch.Tensor | None]]
Norms = list[dict[str, float]]


def run(seed: int, clearing: str, detail: str) -> tuple[Trace, Grads, Norms]:
    """The trace of a loop, and the gradients and |p| that torch had at each step's start."""
    random, found, norms = Random(seed), [], []
    torch.manual_seed(seed)
    with recording(detail) as made:
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        w = torch.ones(3, requires_grad=True)
        one = ways(random, net, w, clearing)
        for step in range(STEPS):
            found.append({"w": copied(w.grad), **{f"net[{at}].weight": copied(net[at].weight.grad) for at in (0, 1)}})
            norms.append({f"net[{at}].weight": net[at].weight.detach().norm().item() for at in (0, 1)})
            one(step)
            made.recorder.mark_step()
    return made.trace, found, norms


def copied(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.clone()


def shown(trace: Trace, number: int, name: str) -> Gradient | None:
    """What the parameters' table shows of a leaf's `.grad` at the start of a step; None where it has no such leaf."""
    step = trace.step(number)
    parameter = next((one for one in trace.parameters() if one.name == name), None)
    if parameter is None:
        return None
    figures = StepFigures(step, SampleIndex(step.samples), Beside.of(trace, number))
    return figures.gradient(parameter.id, State.at(step, -1))


@pytest.mark.parametrize("clearing", CLEARINGS)
@pytest.mark.parametrize("detail", ["full", "auto"])
@pytest.mark.parametrize("seed", range(2))
def test_a_step_begins_with_the_gradients_that_torch_has_there(seed: int, detail: str, clearing: str) -> None:
    trace, truth, _ = run(seed, clearing, detail)
    known = 0
    for number, leaves in enumerate(truth):
        step = trace.step(number)
        start = State.at(step, -1)
        for tensor in step.tensors:
            if tensor.name in leaves and tensor.is_leaf and tensor.made_by is None:
                has_grad = start.tensors[tensor.number].has_grad
                assert has_grad in (None, leaves[tensor.name] is not None), (number, tensor.name)
                known += has_grad is not None
        for name, gradient in leaves.items():
            told = shown(trace, number, name)
            if told is None:
                continue
            if told.kind in (NONE, ZERO):
                assert (gradient is None) == (told.kind == NONE), (number, name)
                assert gradient is None or not gradient.any()
            if told.kind == KNOWN and told.norm is not None:
                assert gradient is not None
                assert told.norm == pytest.approx(gradient.norm().item(), rel=1e-4), (number, name)
    assert known > 30


@pytest.mark.parametrize("detail", ["full", "graph", "auto", "steps"])
def test_a_parameters_norm_is_that_of_the_moment(detail: str) -> None:
    trace, _, truth = run(0, "none", detail)
    known = 0
    for number in range(STEPS - 1):
        step = trace.step(number)
        figures = StepFigures(step, SampleIndex(step.samples), Beside.of(trace, number))
        for parameter in trace.parameters():
            if parameter.name in truth[number]:
                for moment, norms in ((-1, truth[number]), (len(step.moments) - 1, truth[number + 1])):
                    norm = figures.of(parameter, State.at(step, moment)).norm
                    assert norm is None or norm == pytest.approx(norms[parameter.name], rel=1e-5), (number, moment)
                    known += norm is not None
    assert known > 30
