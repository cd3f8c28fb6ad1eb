"""Recordings inside recordings: each sees what it would see alone, and the script what it would see without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradscope.capture.recorder import active_recorders
from gradscope.model.moments import Moment
from gradscope.model.trace import Step, Trace
from tests.capturing import Recording, new_recording, record_text, recording, run_plain
from tests.conftest import leftovers, snapshot, torch_state

TRAIN = """
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(inplace=True))
optimizer = torch.optim.Adam(model.parameters())
for _ in range(2):
    x = torch.ones(4, 2)
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), torch.zeros(4, 3))
    loss.backward()
    optimizer.step()
with torch.no_grad():
    seen = model.eval()(x)
"""
GRADS = """
w = torch.ones(2, requires_grad=True)
y = (w * 2).sum()
(g,) = torch.autograd.grad(y, w, create_graph=True)
z = w.detach() * torch.nn.Parameter(torch.ones(2))
z.sum().backward(inputs=None)
try:
    w @ torch.ones(3)
except RuntimeError:
    caught = True
"""
CUSTOM = """
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2
t = torch.ones(2, requires_grad=True)
with torch.autocast('cpu', dtype=torch.bfloat16):
    Double.apply(t).sum().backward()
t.grad = None
scaled = t.data.mul_(3)
"""
SCRIPTS = {"train": TRAIN, "grads": GRADS, "custom": CUSTOM}


def script(inner: str, body: str) -> str:
    """A script that computes before, in and after a block."""
    block = "\n".join("    " + line for line in body.strip().splitlines())
    return f"""import gradscope
import torch
before = torch.ones(3, requires_grad=True)
(before * 2).sum().backward()
with {inner} as trace:
{block}
after = before + 1
"""


NOTHING = "__import__('contextlib').nullcontext()"


def told(trace: Trace) -> Iterator[list[Any]]:
    """What a trace says, without the numbers that it gives to places."""
    for number in trace.source.step_numbers():
        step = trace.step(number)
        yield [number, step.kind, step.detail, step.row.learning_rates, step.row.versions]
        yield [replace(tensor, first_use=None) for tensor in step.tensors]
        yield [[*said(moment), *lines(trace, moment)] for moment in step.moments]
        for graph in step.graphs:
            yield [replace(node, stack=None) for node in graph.nodes]
            yield [graph.edges, graph.roots]
        yield sorted_samples(step)


def lines(trace: Trace, moment: Moment) -> list[int]:
    return [place.line for place in trace.source_lines(moment.stack) if place.file.endswith("script.py")]


def said(moment: Moment) -> list[Any]:
    return [moment.kind, *(getattr(moment, item.name) for item in fields(moment) if item.name != "stack")]


def sorted_samples(step: Step) -> list[Any]:
    return sorted(repr(sample) for sample in step.samples)


@pytest.mark.parametrize("detail", ["full", "graph", "steps"])
@pytest.mark.parametrize("body", SCRIPTS)
def test_the_inner_recording_is_the_same_inside_another(tmp_path: Path, body: str, detail: str) -> None:
    text = script(f"gradscope.record(detail='{detail}')", SCRIPTS[body])
    (tmp_path / "script.py").write_text(text)
    torch.manual_seed(0)
    alone = run_plain(tmp_path / "script.py")
    assert alone["__error__"] is None
    torch.manual_seed(0)
    nested = record_text(tmp_path, text)
    assert nested.error is None
    assert nested.faults == alone["trace"].info.faults == nested.namespace["trace"].info.faults == ()
    for ours, theirs in zip(told(nested.namespace["trace"]), told(alone["trace"]), strict=True):
        assert ours == theirs


@pytest.mark.parametrize("detail", ["full", "graph", "steps"])
@pytest.mark.parametrize("body", SCRIPTS)
def test_the_outer_recording_is_the_same_with_one_inside(tmp_path: Path, body: str, detail: str) -> None:
    recorded: list[Recording] = []
    for inner in (NOTHING, "gradscope.record()"):
        torch.manual_seed(0)
        recorded.append(record_text(tmp_path, script(inner, SCRIPTS[body]), detail))
    without, within = recorded
    assert within.error is None
    assert within.faults == ()
    for ours, theirs in zip(told(within.trace), told(without.trace), strict=True):
        assert ours == theirs


def test_an_exception_leaves_all_of_them(tmp_path: Path) -> None:
    before, state = snapshot(), torch_state()
    recorded = record_text(tmp_path, script("gradscope.record()", "x = torch.ones(2)\nx @ torch.ones(3)"))
    assert isinstance(recorded.error, RuntimeError)
    for trace in (recorded.trace, recorded.namespace["trace"]):
        assert trace.info.status == "failed"
        failures = [m for n in trace.source.step_numbers() for m in trace.step(n).moments if m.kind == "failure"]
        assert [m.call for m in failures] == ["matmul", ""]
    assert leftovers(before, state) == []


def test_the_outer_may_end_first() -> None:
    before, state = snapshot(), torch_state()
    outer, inner = new_recording(), new_recording()
    outer.recorder.start()
    inner.recorder.start()
    torch.ones(1)
    outer.recorder.stop()
    torch.zeros(1)
    assert active_recorders() == [inner.recorder]
    inner.recorder.stop()
    assert (outer.ops(), inner.ops()) == (["ones"], ["ones", "zeros"])
    assert leftovers(before, state) == []


def test_another_thread_records_for_itself() -> None:
    made: list[Recording] = []

    def work() -> None:
        with recording() as recorded:
            torch.nn.Linear(2, 2)(torch.zeros(1, 2)).sum().backward()
        made.append(recorded)

    with recording() as main:
        thread = threading.Thread(target=work)
        torch.ones(1)
        thread.start()
        thread.join()
        torch.nn.Linear(2, 2)(torch.ones(1, 2))
    assert (main.faults, made[0].faults) == ((), ())
    assert [name for name in main.ops() if name in ("ones", "zeros", "linear")] == ["ones", "ones", "linear"]
    assert len(main.moments("backward")) == 0
    assert len(made[0].moments("backward")) == 1
    assert not active_recorders()


def test_looking_at_a_tensor_is_no_op_of_the_scripts(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import gradscope
import torch
a = torch.tensor([2.0], requires_grad=True)
b = a * 3
row = gradscope.inspect(a)
picture = str(gradscope.draw(b))
""",
    )
    assert recorded.ops() == ["tensor", "mul"]
    assert "6." in recorded.namespace["picture"]
