"""A backward that shows that a step had ended before it belongs to the new step, with all that it fills in."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

import gradscope
from gradscope.model.moments import Backward, GradChange, NodeRun


def _batches(x: torch.Tensor) -> Iterator[torch.Tensor]:
    yield from x.split(4)


def test_its_runs_and_gradients_name_the_new_steps_graph() -> None:
    net = nn.Linear(3, 1)
    with gradscope.record(detail="full") as trace:
        for _ in range(2):
            for batch in _batches(torch.randn(12, 3)):
                net.zero_grad()
                net(batch).sum().backward()
                torch.stack([p.grad.norm() for p in net.parameters() if p.grad is not None])
    assert len(trace.steps) >= 5
    for number in trace.steps:
        step = trace.step(number)
        backwards = [moment.graph for moment in step.moments if isinstance(moment, Backward)]
        assert backwards == list(range(len(step.graphs)))
        runs = {(moment.graph, moment.node) for moment in step.moments if isinstance(moment, NodeRun)}
        assert runs == {(graph, node.index) for graph in backwards for node in step.graphs[graph].nodes}
        for filled in step.moments:
            if isinstance(filled, GradChange) and filled.has_grad:
                assert {step.tensors[tensor].name for tensor in filled.tensors} == {"weight", "bias"}
