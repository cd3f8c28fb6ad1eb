"""Writes that no version counts: by numpy and other holders of a tensor's memory, and by optimizers through `.data`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gradscope.capture.journal.shared_memory import checksum
from gradscope.model.moments import Mutation, OptimizerStep
from tests.capturing import Recording, record_text


def unseen(recorded: Recording) -> list[tuple[str, str, int]]:
    """(tensor, how its memory was exposed, the exposing line) of each write that was not counted."""
    return [
        (step.tensors[moment.tensor].name, moment.cause, recorded.line(moment))
        for step in recorded.steps
        for moment in step.moments
        if isinstance(moment, Mutation) and not moment.counted
    ]


@pytest.mark.parametrize(
    ("alias", "how"),
    [
        ("h.detach().numpy()", "numpy"),
        ("np.asarray(h.detach())", "array"),
        ("np.from_dlpack(h.detach())", "dlpack"),
    ],
)
def test_a_write_through_an_alias_outside_torch(tmp_path: Path, alias: str, how: str) -> None:
    text = f"""import numpy as np, torch
x = torch.ones(20, requires_grad=True)
h = torch.tanh(x)
a = {alias}
a *= 2
h.sum().backward()
"""
    assert unseen(record_text(tmp_path, text, "full")) == [("h.detach()", how, 4)]
    assert unseen(record_text(tmp_path, text.replace("a *= 2", "b = a * 2"), "full")) == []


@pytest.mark.parametrize(
    "make", ["torch.from_numpy(b)", "torch.as_tensor(b)", "torch.frombuffer(b, dtype=torch.float64)"]
)
def test_a_buffer_refilled_between_the_op_that_saved_it_and_the_backward(tmp_path: Path, make: str) -> None:
    recorded = record_text(
        tmp_path,
        f"""import numpy as np, torch
w = torch.ones(20, dtype=torch.float64, requires_grad=True)
b = np.ones(20)
x = {make}
y = (w * x).sum()
b[3] = 7
y.backward()
""",
        "full",
    )
    assert [(name, line) for name, _, line in unseen(recorded)] == [("x", 4)]
    assert not recorded.faults


def test_what_torch_itself_writes_to_exposed_memory_is_no_such_write(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
model = torch.nn.Linear(20, 20)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
seen = model.weight.detach().numpy()
for _ in range(3):
    optimizer.zero_grad(set_to_none=False)
    model(torch.ones(2, 20)).sum().backward()
    grads = model.weight.grad.numpy()
    with torch.no_grad():
        model.weight.mul_(0.9)
        torch.nn.init.zeros_(model.weight.view(-1)[:3])
    model.weight.data.add_(1)
    optimizer.step()
model(torch.ones(2, 20)).sum().backward()
""",
        "full",
    )
    assert [how for _, how, _ in unseen(recorded)] == ["add_"] * 3
    assert not recorded.faults


def test_an_optimizer_that_writes_through_data_has_updated_its_parameters(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
class Plain(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})
    def step(self):
        for p in self.param_groups[0]["params"]:
            p.data.add_(p.grad, alpha=-0.1)
w = torch.ones(20, requires_grad=True)
unused = torch.zeros(20, requires_grad=True)
optimizer = Plain([w, unused])
(w * w + 0 * unused).sum().backward()
optimizer.step()
""",
        "full",
    )
    step = recorded.steps[-1]
    (update,) = [moment for moment in step.moments if isinstance(moment, OptimizerStep)]
    assert [step.tensors[number].name for number in update.updated] == ["w"]
    assert update.versions == ((0, 0),)


def test_a_checksum_sees_order_and_large_storages() -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    assert checksum(one.untyped_storage()) != checksum(other.untyped_storage())
    large = torch.zeros(1 << 20)
    before = checksum(large.untyped_storage())
    large[::2] = 1
    assert checksum(large.untyped_storage()) != before
