"""Large traces for the terminal UI, written from hand-built records: many steps, or one large graph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gradscope.model.records import Detail, Phase, StepRow
from gradscope.model.source import TraceSource
from gradscope.store import TraceWriter
from tests.builders import TraceBuilder
from tests.unit.store.helpers import pour_names


def layers(count: int, steps: int = 3) -> TraceSource:
    """`steps` training steps of a chain of `count` linear and ReLU layers, at detail `full`: 7 moments a layer."""
    trace = TraceBuilder("line\n" * 20, "large.py")
    trace.module("", "Net")
    modules = [trace.module(f"layers.{index}", "Linear", 0) for index in range(count)]
    parameters = [trace.parameter(f"layers.{index}.weight", (64, 64)) for index in range(count)]
    trace.optimizer("Adam", parameters)
    for number in range(steps):
        step = trace.step(number, detail=Detail.FULL)
        weights = [step.parameter(parameter) for parameter in parameters]
        step.phase = Phase.OTHER
        last = step.op("randn", (), "x", line=3, shape=(16, 64), role="input")
        step.zero_grad(line=4, tensors=weights if number else ())
        for index, weight in enumerate(weights):
            hidden = step.op(
                "linear", (last, weight), f"h{index}", line=5, shape=(16, 64), module=modules[index],
                saved=(last, weight), grad_fn="AddmmBackward0", through={1: "TBackward0"},
            )  # fmt: skip
            last = step.op("relu", (hidden,), f"r{index}", line=6, shape=(16, 64), grad_fn="ReluBackward0", module=0)
        loss = step.op("mean", (last,), "loss", line=7, shape=(), values=[1.0], grad_fn="MeanBackward0", saved=(last,))
        step.backward(loss, line=8)
        step.update(0, weights, line=9)
        step.done(loss=1 / (number + 1), lr=1e-3)
    return trace.source


def many_steps(path: Path, moments: int) -> int:
    """A trace of at least so many moments, in equal steps of about a hundred; returns how many it has."""
    source = layers(16)
    rows = list(source.step_rows())
    size = len(source.template(rows[-1].template).moments)
    steps = moments // size + 1
    more = (rows[-1]._replace(number=number, loss=1 / (number + 1)) for number in range(len(rows), steps))
    _write(path, source, [*rows, *more])
    return steps * size


def large_graph(path: Path, nodes: int) -> int:
    """A trace of three steps whose graph has about so many nodes; returns how many it has."""
    source = layers(nodes // 7 + 1)
    _write(path, source, source.step_rows())
    template = source.template(source.step_row(1).template)
    return len(template.graphs[0].nodes) + len(template.tensors)


def large_step(path: Path, moments: int) -> int:
    """A trace of three steps of about so many moments; returns how many each has."""
    source = layers(moments // 7 + 1)
    _write(path, source, source.step_rows())
    return len(source.template(source.step_row(1).template).moments)


def _write(path: Path, source: TraceSource, rows: Iterable[StepRow]) -> None:
    writer = TraceWriter(path)
    pour_names(source, writer)
    written: set[int] = set()
    for row in rows:
        if row.template not in written:
            written.add(row.template)
            writer.put_template(source.template(row.template))
            writer.put_samples(source.samples(row.number))
        writer.put_step(row)
    writer.put_info(source.info())
    writer.close()
