"""Facts about who owns a parameter: where optimizers are built, what they hold, what modules register, clipping."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.capturing import record_text, recording

BUILDS = """
import torch
from torch import nn
net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
opt = torch.optim.SGD(net[0].parameters(), lr=0.1, momentum=0.9)
opt.add_param_group({"params": net[1].parameters(), "lr": 0.5})
for _ in range(2):
    opt.zero_grad()
    net(torch.ones(4, 2)).mean().backward()
    opt.step()
"""


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_where_an_optimizer_is_built_and_grown(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, BUILDS)
    assert recorded.faults == ()
    built, grown = recorded.moments("optimizer_change")
    assert (built.optimizer, built.group, recorded.line(built)) == (0, None, line_of(BUILDS, "opt = "))
    assert (grown.optimizer, grown.group, recorded.line(grown)) == (0, 1, line_of(BUILDS, "add_param_group"))
    (record,) = recorded.source.optimizers().values()
    assert record.stack == built.stack
    assert dict(record.settings)["momentum"] == "0.9"
    assert record.state == ("momentum_buffer",)
    assert [len(group) for group in record.groups] == [2, 2]
    assert [one.optimizer for one in recorded.moments("zero_grad")] == [0, 0]


def test_an_optimizer_that_never_steps_is_known() -> None:
    with recording() as recorded:
        net = nn.Linear(2, 1)
        torch.optim.Adam(net.parameters(), lr=0.5)
    (record,) = recorded.source.optimizers().values()
    assert (record.type, len(record.groups[0]), dict(record.settings)["lr"]) == ("Adam", 2, "0.5")


def test_where_parameters_are_made() -> None:
    with recording() as recorded:
        weight = torch.ones(2, requires_grad=True)
        scale = nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight, scale], lr=0.1)
        for _ in range(2):
            (weight * scale).sum().backward()
            optimizer.step()
    stacks = recorded.source.stacks()
    sites = recorded.source.sites()
    made = {record.shape: record.stack for record in recorded.source.parameters().values()}
    codes = {shape: sites[stacks[stack].sites[0]].code for shape, stack in made.items() if stack is not None}
    assert codes == {(2,): "weight = torch.ones(2, requires_grad=True)", (1,): "scale = nn.Parameter(torch.ones(1))"}


REGISTERS = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(1))
net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
net.head = nn.Linear(2, 1)
net.register_parameter("late", nn.Parameter(torch.ones(2)))
net.layers = nn.ModuleList()
net.layers.append(nn.Linear(2, 2, bias=False))
"""


def test_what_the_script_registers(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, REGISTERS)
    assert recorded.faults == ()
    found = [(one.owner, one.name, len(one.tensors), recorded.line(one)) for one in recorded.moments("registration")]
    head, late = line_of(REGISTERS, "net.head"), line_of(REGISTERS, "late")
    assert found[0] == ("Net", "scale", 1, line_of(REGISTERS, "self.scale"))  # torch's own before are left out
    assert ("Net", "head", 2, head) in found
    assert ("Net", "late", 1, late) in found
    assert ("ModuleList", "0", 1, line_of(REGISTERS, "append")) in found


CONVERTS = """
import torch
from torch import nn
torch.__future__.set_overwrite_module_params_on_conversion(True)
try:
    net = nn.Linear(2, 1)
    old = [*net.parameters()]
    net.double()
finally:
    torch.__future__.set_overwrite_module_params_on_conversion(False)
"""


def test_a_conversion_that_replaces_parameters(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, CONVERTS)
    assert recorded.faults == ()
    made = [recorded.line(one) for one in recorded.moments("leaf") if one.cause == "Parameter"]
    assert made == [line_of(CONVERTS, "nn.Linear")] * 2 + [line_of(CONVERTS, "net.double()")] * 2


@pytest.mark.parametrize("clip", [nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_], ids=["norm", "value"])
def test_clipping_does_what_it_does(clip: object) -> None:
    name = clip.__name__  # type: ignore[attr-defined]

    def run() -> torch.Tensor:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        (net(torch.ones(4, 3)).sum() * 5).backward()
        getattr(nn.utils, name)(net.parameters(), 0.5)
        assert net.weight.grad is not None
        return net.weight.grad

    plain = run()
    with recording() as recorded:
        seen = run()
    assert torch.equal(plain, seen)
    assert recorded.faults == ()
    (call,) = [moment for moment in recorded.moments("op") if moment.name == name]
    assert (len(call.inputs), call.arguments) == (2, "0.5")
    (change,) = [moment for moment in recorded.moments("grad") if moment.change == "modified"]
    assert set(change.tensors) == set(call.inputs)


def test_clipping_without_gradients_changes_none() -> None:
    with recording() as recorded:
        net = nn.Linear(3, 2)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        with pytest.warns(UserWarning, match="empty generator"):
            nn.utils.clip_grad_norm_((p for p in ()), 1.0)
    assert [len(one.inputs) for one in recorded.moments("op") if one.name == "clip_grad_norm_"] == [2, 0]
    assert not recorded.moments("grad")


def test_clipping_that_raises_is_a_failure() -> None:
    net = nn.Linear(1, 1)
    net.weight.grad = torch.full((1, 1), float("nan"))
    with recording() as recorded, pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0, error_if_nonfinite=True)
    assert recorded.only("failure").call == "clip_grad_norm_"


@pytest.mark.parametrize("write", ["p.grad.zero_()", "p.grad.data.zero_()", "p.grad.detach().zero_()"])
def test_a_gradient_set_to_zero_by_hand(tmp_path: Path, write: str) -> None:
    recorded = record_text(
        tmp_path,
        f"""
import torch
p = torch.ones(2, requires_grad=True)
for _ in range(3):
    if p.grad is not None:
        {write}
    (p * p).sum().backward()
    p.data.sub_(0.1 * p.grad)
""",
    )
    changes = [one.change for step in recorded.steps for one in step.moments if one.kind == "grad"]
    assert changes == ["created", "zeroed", "accumulated", "zeroed", "accumulated"]
