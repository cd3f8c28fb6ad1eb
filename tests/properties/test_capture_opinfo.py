"""Every differentiable op of torch's own corpus: recording changes no bit, and records the graph that is there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.autograd.graph import get_gradient_edge
from torch.testing._internal.common_methods_invocations import op_db

from tests.capturing import bits, matches_walk, recording

SAMPLES = 3
DIFFERENTIABLE = [op for op in op_db if op.supports_autograd and op.supports_dtype(torch.float64, "cpu")]
CHUNKS = 12  # ops are spread over this many tests


def inputs_of(op: Any) -> list[Any]:
    torch.manual_seed(0)
    return list(itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), SAMPLES))


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)
    elif isinstance(value, dict):
        yield from tensors_of(list(value.values()))


def call(op: Any, sample: Any) -> list[torch.Tensor]:
    return list(tensors_of(op(sample.input, *sample.args, **sample.kwargs)))


def backward(outputs: list[torch.Tensor]) -> None:
    """Runs the backward of all outputs that have one."""
    roots = [output for output in outputs if output.requires_grad]
    if roots:
        torch.autograd.backward(roots, [torch.randn_like(root) for root in roots])


def outcome(op: Any, sample: Any) -> list[Any]:
    """Runs one sample; everything a script could notice of it."""
    torch.manual_seed(1)
    try:
        outputs = call(op, sample)
        backward(outputs)
    except Exception as error:
        return [type(error), str(error), torch.get_rng_state().numpy().tobytes()]
    leaves = [tensor for tensor in tensors_of((sample.input, sample.args, sample.kwargs)) if tensor.is_leaf]
    grads = [None if leaf.grad is None else bits(leaf.grad) for leaf in leaves]
    facts = [(t.requires_grad, t.is_leaf, t._version, type(t.grad_fn).__name__) for t in outputs + leaves]
    return [
        [bits(t) for t in outputs],
        [bits(t) for t in leaves],
        grads,
        facts,
        torch.get_rng_state().numpy().tobytes(),
    ]


@pytest.mark.filterwarnings("ignore")  # the corpus calls deprecated ops on purpose
@pytest.mark.parametrize("detail", ["graph", "full"])
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_bit_changes(chunk: int, detail: str) -> None:
    ops = DIFFERENTIABLE[chunk::CHUNKS]
    plain = {op.full_name: [outcome(op, sample) for sample in inputs_of(op)] for op in ops}
    with recording(detail) as recorded:
        for op in ops:
            assert [outcome(op, sample) for sample in inputs_of(op)] == plain[op.full_name], op.full_name
            recorded.recorder.mark_step()
    assert recorded.faults == ()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_graph_is_the_one_that_is_there(chunk: int) -> None:
    expected: list[tuple[str, list[Any]]] = []
    with recording("full") as recorded:
        for op in DIFFERENTIABLE[chunk::CHUNKS]:
            for sample in inputs_of(op):
                try:
                    roots = [output for output in call(op, sample) if output.requires_grad]
                    nodes = [get_gradient_edge(root).node for root in roots]
                    backward(roots)
                except Exception:
                    continue  # the corpus holds samples that raise; the test above compares how
                if roots:
                    expected.append((op.full_name, nodes))
                recorded.recorder.mark_step()
    assert recorded.faults == ()
    assert len(expected) > 80
    found = [
        (step, step.graphs[moment.graph])
        for step in recorded.steps
        for moment in step.moments
        if moment.kind == "backward" and moment.error is None
    ]
    assert len(found) == len(expected)
    for (name, nodes), (step, graph) in zip(expected, found, strict=True):
        assert matches_walk(graph, nodes) == "", name
        ran = {moment.node for moment in step.moments if moment.kind == "node"}
        assert ran == set(range(len(graph.nodes))), name
