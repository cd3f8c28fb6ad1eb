"""Where steps end, in loops that are easy to cut in the wrong place; and what the first step starts with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gradscope
from gradscope.model.memory import MemorySource
from gradscope.model.trace import Trace
from tests.capturing import record_text
from tests.scripts import run

UPDATES = {
    "data add_": "p.data.add_(-0.1 * p.grad)",
    "data =": "p.data = p.data - 0.1 * p.grad",
    "no_grad -=": "with torch.no_grad():\n            p -= 0.1 * p.grad",
    "no_grad copy_": "with torch.no_grad():\n            p.copy_(p - 0.1 * p.grad)",
}
BY_HAND = """
import torch
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
for i in range(4):
    loss = net(torch.ones(2, 3)).sum()
    net.zero_grad()
    loss.backward()
    for p in net.parameters():
        {update}
"""


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_a_loop_over_parameters_is_no_step(tmp_path: Path, update: str) -> None:
    recorded = record_text(tmp_path, BY_HAND.format(update=update), "graph")
    assert recorded.kinds == ["train"] * 4
    assert all(
        sum(moment.kind == "backward" for moment in step.moments) == 1 for step in recorded.steps if step.number >= 0
    )


def test_an_update_in_a_helper_is_no_step(tmp_path: Path) -> None:
    text = """
import torch
def sgd(parameters):
    with torch.no_grad():
        for p in parameters:
            p -= 0.1 * p.grad
def iteration(w, b):
    loss = (w * 3 + b).sum()
    loss.backward()
    sgd([w, b])
    for p in (w, b):
        p.grad = None
w, b = torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)
for i in range(5):
    iteration(w, b)
"""
    recorded = record_text(tmp_path, text, "graph")
    assert recorded.kinds == ["train"] * 5


def test_an_evaluation_between_epochs_is_its_own_step(tmp_path: Path) -> None:
    text = """
import torch
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for batch in torch.ones(3, 4, 2):
        optimizer.zero_grad()
        net(batch).sum().backward()
        optimizer.step()
    with torch.no_grad():
        net(torch.ones(4, 2))
"""
    recorded = record_text(tmp_path, text, "graph")
    assert recorded.kinds == ["train"] * 3 + ["eval"] + ["train"] * 3 + ["eval"]


def test_the_first_step_knows_what_the_setup_changed(tmp_path: Path) -> None:
    text = """
import torch
net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
for p in net[0].parameters():
    p.requires_grad = False
x = torch.ones(1, 2)
x.mul_(2)
for i in range(2):
    net(x).sum().backward()
"""
    recorded = record_text(tmp_path, text)
    first, second = (step for step in recorded.steps if step.number >= 0)
    for step in (first, second):
        frozen = {tensor.name: tensor.requires_grad for tensor in step.tensors if tensor.role == "parameter"}
        assert frozen == {"0.weight": False, "0.bias": False, "1.weight": True, "1.bias": True}
    assert recorded.tensor("x", 0).version == 1
    values = {sample.subject: sample.values for sample in first.samples if sample.what == "value"}
    assert values[recorded.tensor("x", 0).number] is not None


def test_attention_takes_the_path_it_takes_without_a_recording(tmp_path: Path) -> None:
    script = tmp_path / "attention.py"
    script.write_text(
        "import torch\n"
        "torch.manual_seed(0)\n"
        "attention = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()\n"
        "x = torch.randn(2, 5, 16)\n"
        "with torch.no_grad():\n"
        "    print(attention(x, x, x)[0].double().sum().item().hex())\n"
        "print(torch.overrides.has_torch_function((x,)))\n"
    )
    plain = run([script.name], tmp_path)
    assert plain.stdout.endswith("False\n")
    assert run(["-m", "gradscope", "trace", "--quiet", script.name], tmp_path) == plain


def test_a_chain_of_50_000_ops_is_recorded_and_freed(tmp_path: Path) -> None:
    script = tmp_path / "chain.py"
    script.write_text(
        "import torch\n"
        "w = torch.ones(1, requires_grad=True)\n"
        "x = w\n"
        "for _ in range(50_000):\n"
        "    x = x + 1\n"
        "x.backward()\n"
        "del x\n"
        "print(w.grad)\n"
    )
    traced = run(["-m", "gradscope", "trace", "--quiet", "--detail", "graph", script.name], tmp_path)
    assert (traced.status, traced.stdout, traced.stderr) == (0, "tensor([1.])\n", "")
    from gradscope.store import open_trace

    with open_trace(tmp_path / "chain.gradscope") as trace:
        assert isinstance(trace, Trace)
        step = trace.last_backward()
        assert step is not None
        assert len(step.graphs[0].nodes) == 50_001
        assert len(step.graph("backward").nodes) == 50_001


def test_a_custom_function_may_go(tmp_path: Path) -> None:
    text = """
import gc, weakref
import torch
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, grad):
        return grad * 2
x = torch.ones(2, requires_grad=True)
Double.apply(x).sum().backward()
seen = weakref.ref(Double)
del Double
gc.collect()
gone = seen() is None
"""
    recorded = record_text(tmp_path, text)
    assert recorded.namespace["gone"] is True
    assert torch.equal(recorded.namespace["x"].grad, torch.full((2,), 2.0))


def test_a_custom_function_is_recorded_where_apply_is_written_in_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = vars(torch._C._FunctionBase)["apply"]  # what torch 2.15 has in `Function` itself
    assert type(base).__name__ == "classmethod_descriptor"
    monkeypatch.setattr(torch.autograd.Function, "apply", base)
    text = """
import torch
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, by):
        return x * 2 + by
    @staticmethod
    def backward(ctx, grad):
        return grad * 2, None
x = torch.ones(2, requires_grad=True)
Double.apply(x, 1).sum().backward()
"""
    recorded = record_text(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ()
    assert [op.name for op in recorded.moments("op")] == ["ones", "Double", "sum", "mul"]
    assert torch.equal(recorded.namespace["x"].grad, torch.full((2,), 2.0))
    assert vars(torch.autograd.Function)["apply"] is base


@pytest.mark.parametrize("detail", ["graph", "steps"])
def test_a_loop_that_updates_first(tmp_path: Path, detail: str) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = model(torch.ones(1, 2)).sum()
loss.backward()
for i in range(4):
    optimizer.step()
    optimizer.zero_grad()
    loss = model(torch.ones(1, 2) * i).sum()
    loss.backward()
""",
        detail,
    )
    assert recorded.kinds == ["train"] * 4
    for step in recorded.steps:
        calls = [moment.kind for moment in step.moments if moment.kind in ("optimizer", "zero_grad", "backward")]
        assert calls == (["backward"] if step.number < 0 else ["optimizer", "zero_grad", "backward"])


def test_what_a_step_carries_names_the_step_that_made_it_when_the_setup_was_cut_off_late(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
x = torch.linspace(0, 1, 3)
w = torch.zeros(3, requires_grad=True)
state = x * 2
for i in range(4):
    loss = ((w * state) ** 2).sum() + w.sum()
    w.grad = None
    loss.backward()
    state = state * 0.5
""",
    )
    assert recorded.kinds == ["train"] * 4
    for step in recorded.steps[1:]:
        carried = {step.tensors[number].name: (home, made_as) for number, home, made_as in step.row.carried}
        home, made_as = carried["state"]
        assert home == step.number - 1
        assert recorded.trace.source.template(recorded.source.step_row(home).template).tensors[made_as].name == "state"


@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_a_setup_that_took_long_leaves_the_versions_after_it_to_be_counted(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradscope.capture.step.draft.FLUSH_SECONDS", seconds)
    monkeypatch.setattr("gradscope.capture.recorder.FLUSH_SECONDS", seconds)
    with gradscope.record() as trace:
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    assert [(number, trace.step(number).row.versions) for number in trace.steps] == [(0, ()), (1, ()), (2, ())]
    trace.close()


@pytest.mark.parametrize(("steps", "kept"), [((2, 4), [2, 3]), ((None, 2), [0, 1])])
def test_what_was_written_of_a_step_that_is_not_kept_goes_again(
    steps: tuple[int | None, int], kept: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradscope.capture.step.draft.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr("gradscope.capture.recorder.FLUSH_SECONDS", 0.0)
    text = """
import torch
w = torch.ones(3, requires_grad=True)
optimizer = torch.optim.SGD([w], 0.1)
for _ in range(6):
    optimizer.zero_grad()
    (w * 2).sin().sum().backward()
    optimizer.step()
"""
    opened: list[int] = []
    put = MemorySource.put_step
    monkeypatch.setattr(MemorySource, "put_step", lambda self, row: (opened.append(row.number), put(self, row))[1])
    recorded = record_text(tmp_path, text, steps=steps)
    assert set(range(6)) <= set(opened)
    assert [step.number for step in recorded.steps if step.number >= 0] == kept
