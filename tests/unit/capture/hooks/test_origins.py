"""Where things come from: the call that made a module, the leaf that a gradient is of, what a failed call was given."""

from __future__ import annotations

from pathlib import Path

from gradscope.model.moments import Failure, OpCall
from gradscope.model.records import Module
from tests.capturing import Recording, record_text


def made_at(recorded: Recording) -> dict[str, int]:
    """The line that made each module, by path or type."""
    modules: list[Module] = list(recorded.source.modules().values())
    stacks, sites = recorded.source.stacks(), recorded.source.sites()
    return {m.path or m.root: sites[stacks[m.stack].sites[0]].line for m in modules if m.stack is not None}


def test_a_module_knows_the_call_that_made_it(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
from torch import nn
class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)
class Net(Base):
    def __init__(self, deeper=True):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 2),
            nn.Dropout(0.1),
        )
        if deeper:
            self.inner = Net(False)
    def forward(self, x):
        return self.act(self.layers(x))
net = Net()
net(torch.ones(1, 2))
""",
    )
    lines = made_at(recorded)
    assert lines == {
        "net": 18, "act": 6, "layers": 10, "layers.0": 11, "layers.1": 12,
        "inner": 15, "inner.act": 6, "inner.layers": 10, "inner.layers.0": 11, "inner.layers.1": 12,
    }  # fmt: skip
    direct = {m.name: m.direct for m in recorded.moments("op") if isinstance(m, OpCall)}
    assert (direct["relu"], direct["ones"]) == (False, True)


def test_a_gradient_that_the_script_read_names_its_leaf(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
w = torch.ones(20, requires_grad=True)
for _ in range(2):
    (w * w).sum().backward()
    g = w.grad
    with torch.no_grad():
        w -= 0.1 * g
    w.grad = None
""",
    )
    for number in (0, 1):
        step = recorded.trace.step(number)
        (gradient,) = [tensor for tensor in step.tensors if tensor.gradient_of is not None]
        assert gradient.gradient_of is not None
        assert step.tensors[gradient.gradient_of].name == "w"


def test_a_gradient_read_where_none_can_be(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
x = torch.ones(20)
w = torch.ones(20, requires_grad=True)
(x * w).sum().backward()
x.grad
w.grad
""",
    )
    (read,) = [m for m in recorded.moments("op") if isinstance(m, OpCall) and m.name == "grad"]
    assert recorded.line(read) == 5


def test_a_failed_call_tells_what_it_was_given(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
leaf = torch.ones(20, requires_grad=True)
scaled = leaf * 0.1
for call in (lambda: leaf.mul_(2), lambda: torch.optim.SGD([leaf, scaled], lr=1), lambda: scaled.requires_grad_(False)):
    try:
        call()
    except (RuntimeError, ValueError):
        pass
""",
    )
    told = [
        (moment.call, [step.tensors[number].name for number in moment.inputs])
        for step in recorded.steps
        for moment in step.moments
        if isinstance(moment, Failure)
    ]
    assert told == [("mul_", ["leaf"]), ("add_param_group", ["scaled"]), ("requires_grad_", ["scaled"])]


def test_a_buffer_is_called_by_its_path_from_its_first_step_on(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path,
        """import torch
from torch import nn
class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(4))
        self.scale.mul_(2)
    def forward(self, x):
        with torch.no_grad():
            self.scale.mul_(0.5)
        return x * self.scale
net = nn.Sequential(nn.Linear(4, 4), Scale())
for _ in range(2):
    net(torch.ones(1, 4)).sum().backward()
""",
    )
    (buffer,) = [p for p in recorded.trace.parameters() if p.role == "buffer"]
    assert buffer.name == "1.scale"
    assert all([t.role for t in step.tensors if t.name == "1.scale"] == ["buffer"] for step in recorded.steps)
    assert [step.versions.get(buffer.id) for step in recorded.steps if step.number >= 0] == [1, 2]
