"""Where the user's code behind an opaque call lies, and where modules and loaders were made."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

import gradscope
from gradscope.model.moments import OpCall
from gradscope.model.records import Sample
from gradscope.model.trace import Trace


class Cube(torch.autograd.Function):
    factor = 3.0

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * Cube.factor * x**2  # the return of Cube's backward


def _behind(trace: Trace, name: str) -> list[str]:
    found = []
    for number in trace.source.step_numbers():
        for moment in trace.step(number).moments:
            if isinstance(moment, OpCall) and moment.name == name:
                lines = trace.source_lines(moment.behind)
                found.append(lines[0].code if lines else "")
    return found


def _derivatives(trace: Trace) -> list[Sample]:
    numbers = trace.source.step_numbers()
    return [sample for number in numbers for sample in trace.step(number).samples if sample.what == "derivative"]


def test_a_custom_function_tells_where_its_backward_returns() -> None:
    x = torch.linspace(1, 2, 20, requires_grad=True)
    with gradscope.record(detail="full") as trace:
        Cube.apply(x).sum().backward()
    assert _behind(trace, "Cube") == ["return grads[0] * Cube.factor * x**2  # the return of Cube's backward"]


def test_a_hook_tells_where_it_returns() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    with gradscope.record(detail="full") as trace:
        y.register_hook(lambda grad: grad * 0)  # the hook
        y.sum().backward()
    assert _behind(trace, "register_hook") == ["y.register_hook(lambda grad: grad * 0)  # the hook"]


def test_a_batch_tells_where_its_loader_was_made() -> None:
    with gradscope.record(detail="full") as trace:
        loader: DataLoader[Any] = DataLoader(list(torch.arange(4.0)), batch_size=2)  # the loader
        for batch in loader:
            assert batch.sum() >= 1
    assert set(_behind(trace, "DataLoader")) == {
        "loader: DataLoader[Any] = DataLoader(list(torch.arange(4.0)), batch_size=2)  # the loader"
    }


def test_a_module_tells_where_it_was_made() -> None:
    with gradscope.record() as trace:
        model = nn.Sequential(
            nn.Linear(2, 2),
            nn.Sigmoid(),  # the sigmoid
        )
        model(torch.ones(1, 2))
    made = {module.type: trace.source_lines(module.stack)[0].code for module in trace.source.modules().values()}
    assert made["Sigmoid"] == "nn.Sigmoid(),  # the sigmoid"


def test_the_derivative_a_backward_gives_stands_beside_the_slope_of_its_forward() -> None:
    x = torch.linspace(1, 2, 40, requires_grad=True)
    with gradscope.record(detail="full") as trace:
        Cube.apply(x).sum().backward()
    (sample,) = _derivatives(trace)
    triples = list(zip(sample.values[::3], sample.values[1::3], sample.values[2::3]))  # type: ignore[index]
    assert len(triples) >= 8
    for at, given, slope in triples:
        assert math.isclose(given, 3 * at**2, rel_tol=1e-4)
        assert math.isclose(slope, 3 * at**2, rel_tol=0.01)


def test_no_derivative_where_results_depend_on_more_than_their_own_element() -> None:
    class Mixed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rand(x.shape) + x.flip(0)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return grads[0]

    x = torch.randn(100, requires_grad=True)
    with gradscope.record(detail="full") as trace:
        Mixed.apply(x).sum().backward()
    assert not _derivatives(trace)
