"""Module calls and mode switches: from which line, in which mode, inside which other call."""

from __future__ import annotations

from pathlib import Path

from tests.capturing import Recording, record_text

NET = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    def forward(self, x):
        return self.body(x)  # inside

net = Net()
"""


def lines_of(recorded: Recording, stack: int | None) -> list[int]:
    assert stack is not None
    found = [recorded.source.sites()[number] for number in recorded.source.stacks()[stack].sites]
    return [site.line for site in found if Path(site.file).name == "script.py"]


def test_each_call_tells_its_line_its_mode_and_its_caller(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path, NET + "net(torch.ones(2, 3))\nnet.body[1].eval()\nnet(torch.ones(2, 3)).sum().backward()\n"
    )
    (step,) = recorded.steps
    modules = recorded.source.modules()
    found = [(modules[c.module].path, c.call, c.training, c.parent) for c in step.template.calls]
    assert found == [
        ("", 0, True, None),
        ("body", 0, True, 0),
        ("body.0", 0, True, 1),
        ("body.1", 0, True, 1),
        ("", 1, True, None),
        ("body", 1, True, 4),
        ("body.0", 1, True, 5),
        ("body.1", 1, False, 5),
    ]
    stacks = [lines_of(recorded, call.stack) for call in step.template.calls]
    assert stacks[0] == [13]
    assert stacks[1] == stacks[2] == [10, 13]
    assert stacks[4] == [15]
    first = [step.moments[call.moment] for call in step.template.calls]
    assert first[4].kind == "op"
    assert first[4].module == step.template.calls[6].module


def test_a_part_that_is_called_by_itself_keeps_the_names_it_has_in_its_model(tmp_path: Path) -> None:
    recorded = record_text(
        tmp_path, NET + "net(torch.ones(2, 3))\nbody = net.body\nbody(torch.ones(2, 3)).sum().backward()\n"
    )
    assert {(p.root, p.name) for p in recorded.source.parameters().values()} == {
        ("net", "body.0.weight"),
        ("net", "body.0.bias"),
    }
    assert {m.root for m in recorded.source.modules().values()} == {"net"}


def test_a_step_that_is_cut_counts_its_own_calls(tmp_path: Path) -> None:
    loop = """net(torch.ones(2, 3))
for _ in range(2):
    net(torch.ones(2, 3)).sum().backward()
    net.zero_grad()
"""
    recorded = record_text(tmp_path, NET + loop)
    setup, first, second = recorded.steps
    assert [c.call for c in setup.template.calls] == [0, 0, 0, 0]
    assert [(c.call, c.parent) for c in first.template.calls] == [(0, None), (0, 0), (0, 1), (0, 1)]
    assert [(c.module, c.call) for c in second.template.calls] == [(c.module, c.call) for c in first.template.calls]
    assert [m.module_call for m in first.moments if m.kind == "op" and m.module is not None] == [0, 0]


def test_a_mode_that_a_decorator_switches_is_switched_at_the_decorator(tmp_path: Path) -> None:
    script = """
import functools
def other(function):
    return functools.wraps(function)(lambda *args: function(*args))

@torch.no_grad()
def plain(x):
    return net(x)

@other
@torch.inference_mode()
def wrapped(x):
    return net(x)

@torch.no_grad
def parts(x):
    yield net(x)

x = torch.ones(2, 3)
plain(x)
wrapped(x)
list(parts(x))
with torch.inference_mode():
    net(x)
torch.set_grad_enabled(False)
torch.set_grad_enabled(True)
"""
    recorded = record_text(tmp_path, NET + script)
    text = (tmp_path / "script.py").read_text().splitlines()
    switched = [
        (mode.mode, text[recorded.line(mode) - 1]) for mode in recorded.moments("mode") if mode.value in ("off", "on")
    ]
    grad = ("grad", "@torch.no_grad()")
    inference = ("inference", "@torch.inference_mode()")
    assert switched[:4] == [grad, grad, inference, inference]
    assert set(switched[4:-4]) == {("grad", "@torch.no_grad")}
    within = ("inference", "with torch.inference_mode():")
    assert switched[-4:-2] == [within, within]
    assert switched[-2:] == [("grad", f"torch.set_grad_enabled({on})") for on in (False, True)]
    first = next(mode for mode in recorded.moments("mode"))
    assert [text[line - 1] for line in lines_of(recorded, first.stack)] == ["@torch.no_grad()", "plain(x)"]
    assert recorded.faults == ()


def test_a_statement_tells_the_names_it_binds(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, NET + "state = {}\nstate['h'], out = net(torch.ones(2, 3)).split(1)\n")
    targets = {site.line: site.targets for site in recorded.source.sites().values() if site.targets}
    assert targets[14] == ('state["h"]', "out")
