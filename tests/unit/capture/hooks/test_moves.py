"""Moves between devices and dtypes: what was copied, and whether the result is still a leaf."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capturing import record_text
from tests.simulated import record_on_sim

SEED = """\
import torch

a = torch.tensor([10.0], requires_grad=True)
b = torch.tensor([20.0], requires_grad=True)
a_there = a.to("sim")
b_there = b.to("sim")
F = a_there * b_there
G = F * 2
G.backward()
assert a.grad.item() == 40 and a_there.is_leaf is False
"""


def test_the_copy_on_the_device_is_no_leaf(tmp_path: Path) -> None:
    recorded = record_on_sim(tmp_path, SEED)
    assert recorded.error is None
    assert recorded.faults == ()
    first, second = recorded.moments("move")
    assert (first.from_device, first.to_device, first.nbytes, first.is_leaf) == ("cpu", "sim:0", 4, False)
    assert [recorded.line(first), recorded.line(second)] == [5, 6]
    leaf, copy = recorded.tensor("a"), recorded.tensor("a_there")
    assert (first.source, first.target) == (leaf.number, copy.number)
    assert (leaf.is_leaf, leaf.device, leaf.grad_fn) == (True, "cpu", None)
    assert (copy.is_leaf, copy.device, copy.grad_fn) == (False, "sim:0", "ToCopyBackward0")
    graph = recorded.graph_of()
    names = [node.name for node in graph.nodes]
    assert sorted(names) == sorted(
        ["MulBackward0", "MulBackward0", "ToCopyBackward0", "ToCopyBackward0", "AccumulateGrad", "AccumulateGrad"]
    )
    (into_a,) = [edge.source for edge in graph.edges if graph.nodes[edge.target].tensor == leaf.number]
    assert graph.nodes[into_a].name == "ToCopyBackward0"
    arrived = recorded.only("grad")
    assert (arrived.change, set(arrived.tensors)) == ("created", {leaf.number, recorded.tensor("b").number})
    grads = {sample.subject: sample.values for sample in recorded.trace.step(0).samples if sample.what == "grad"}
    assert grads[leaf.number] == (40.0,)


def test_a_module_moves_its_parameters_and_they_stay_leaves(tmp_path: Path) -> None:
    text = """\
import torch

model = torch.nn.Linear(3, 2)
model.to("sim")
x = torch.ones(4, 3).to("sim")
loss = model(x).relu().sum()
loss.backward()
assert model.weight.is_leaf and model.weight.grad.device.type == "sim"
"""
    recorded = record_on_sim(tmp_path, text)
    assert recorded.error is None
    assert recorded.faults == ()
    whole, batch = recorded.moments("move")
    assert (whole.from_device, whole.to_device, whole.nbytes, whole.is_leaf) == ("cpu", "sim:0", 4 * (6 + 2), True)
    assert recorded.source.modules()[whole.module].type == "Linear"
    assert recorded.line(whole) == 4
    assert (batch.nbytes, batch.is_leaf, recorded.line(batch)) == (48, True, 5)
    known = {parameter.name: parameter.device for parameter in recorded.source.parameters().values()}
    assert known["weight"] == known["bias"] == "sim:0"


def test_dtype_moves(tmp_path: Path) -> None:
    text = """\
import torch

w = torch.ones(3, requires_grad=True)
d = w.double()
same = w.float()
i = torch.arange(4)
f = i.to(torch.float16)
t = i.type(torch.float64)
model = torch.nn.Linear(2, 2).double()
"""
    recorded = record_text(tmp_path, text)
    assert recorded.faults == ()
    moves = [(m.from_dtype, m.to_dtype, m.nbytes, m.is_leaf, recorded.line(m)) for m in recorded.moments("move")]
    assert moves == [
        ("float32", "float64", 24, False, 4),
        ("int64", "float16", 8, True, 7),
        ("int64", "float64", 32, True, 8),
        ("float32", "float64", 48, True, 9),
    ]
    assert recorded.namespace["same"] is recorded.namespace["w"]


def test_moves_to_meta(tmp_path: Path) -> None:
    text = """\
import torch

a = torch.ones(2, 2, requires_grad=True)
m = a.to("meta")
n = m * 2
made = torch.empty(1_000_000, 1_000_000, device="meta", requires_grad=True)
model = torch.nn.Linear(4, 4).to("meta")
made.sum().backward()
"""
    recorded = record_text(tmp_path, text)
    assert recorded.faults == ()
    move, whole = recorded.moments("move")
    assert (move.from_device, move.to_device, move.is_leaf) == ("cpu", "meta", False)
    assert (whole.to_device, whole.module is not None) == ("meta", True)
    assert recorded.tensor("made").nbytes == 4 * 10**12
    assert recorded.error is None


# -- a real device -----------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_the_tutorial_on_a_real_device(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, SEED.replace('"sim"', '"cuda"'))
    assert recorded.error is None
    assert recorded.faults == ()
    first, second = recorded.moments("move")
    assert (first.from_device, first.to_device, first.is_leaf, second.nbytes) == ("cpu", "cuda:0", False, 4)
    assert recorded.tensor("a_there").grad_fn == "ToCopyBackward0"
    leaf = recorded.tensor("a")
    grads = {sample.subject: sample.values for sample in recorded.trace.step(0).samples if sample.what == "grad"}
    assert grads[leaf.number] == (40.0,)


TRAIN = """\
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)).cuda()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
data = torch.randn(16, 64, device="cuda")
target = torch.randint(0, 4, (16,), device="cuda")
torch.cuda.synchronize()
torch.cuda.set_sync_debug_mode({mode!r})
for _ in range(6):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(data), target)
    loss.backward()
    optimizer.step()
torch.cuda.set_sync_debug_mode("default")
result = [parameter.detach().cpu() for parameter in model.parameters()]
"""


@pytest.mark.gpu
@pytest.mark.parametrize("detail", ["auto", "steps", "graph", "full"])
def test_recording_adds_no_synchronization(tmp_path: Path, detail: str) -> None:
    recorded = record_text(tmp_path, TRAIN.format(mode="error"), detail)
    assert recorded.error is None
    assert recorded.faults == ()
    assert recorded.kinds == ["train"] * 6
    losses = [step.row.loss for step in recorded.steps if step.number >= 0]
    assert None not in losses
    assert losses[-1] < losses[0]  # type: ignore[operator]


@pytest.mark.gpu
def test_results_on_the_device_are_the_same_to_the_bit(tmp_path: Path) -> None:
    from tests.capturing import bits, run_plain

    script = tmp_path / "plain.py"
    script.write_text(TRAIN.format(mode="default"))
    plain = run_plain(script)["result"]
    recorded = record_text(tmp_path, TRAIN.format(mode="default"), "full").namespace["result"]
    assert [bits(tensor) for tensor in recorded] == [bits(tensor) for tensor in plain]


@pytest.mark.gpu
def test_memory_is_recorded_for_each_step(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, TRAIN.format(mode="default"), "graph")
    for step in recorded.steps:
        if step.number >= 0:
            assert step.row.memory is not None
            allocated, reserved = step.row.memory
            assert 0 < allocated <= reserved


@pytest.mark.gpu
def test_recording_keeps_no_device_memory(tmp_path: Path) -> None:
    import torch

    from tests.capturing import run_plain

    text = """\
import torch
torch.cuda.reset_peak_memory_stats()
w = torch.ones(1024, 1024, device="cuda", requires_grad=True)
for _ in range(5):
    w.grad = None
    y = w
    for _ in range(6):
        y = (y @ w).tanh()
    y.sum().backward()
    del y
torch.cuda.synchronize()
peak = torch.cuda.max_memory_allocated()
"""
    script = tmp_path / "memory.py"
    script.write_text(text)
    run_plain(script)
    torch.cuda.empty_cache()
    plain = run_plain(script)["peak"]
    torch.cuda.empty_cache()
    recorded = record_text(tmp_path, text, "graph", "memory_again.py").namespace["peak"]
    assert recorded <= plain + 2**20
