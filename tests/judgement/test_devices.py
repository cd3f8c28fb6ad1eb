"""GS951 to GS953, on a simulated device: copies that are no leaves, tensors left behind, moves in every step."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.diagnose import judge
from gradscope.model.findings import Finding, Severity
from tests.judging import Judging, loud
from tests.simulated import record_on_sim

BUGS = {
    "GS951 the gradient of the copy is used": """
import torch
w = torch.ones(3, requires_grad=True).to("sim")  # culprit
(w * w).sum().backward()
step = 0.1 * w.grad
""",
    "GS951 the optimizer is given the copy": """
import torch
def build(n):
    t = torch.zeros(n, requires_grad=True)
    return [t.to("sim") * 1]  # culprit
optimizer = torch.optim.SGD(build(3), lr=0.1)
""",
    "GS951 the optimizer has what was there before the move": """
import torch
w = torch.ones(3, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1, foreach=False)
there = w.to("sim")  # culprit
for _ in range(3):
    optimizer.zero_grad()
    (there + 1).sum().backward()
    optimizer.step()
""",
}


def judged(folder: Path, text: str) -> tuple[list[Finding], int | None]:
    """(the findings, the line marked as culprit)."""
    recorded = record_on_sim(folder, text.lstrip("\n"))
    lines = [n for n, line in enumerate(text.lstrip("\n").splitlines(), 1) if "# culprit" in line]
    return judge(recorded.trace), lines[0] if lines else None


@pytest.mark.parametrize("bug", BUGS)
def test_a_move_makes_a_copy_that_is_no_leaf(tmp_path: Path, bug: str) -> None:
    found, line = judged(tmp_path, BUGS[bug])
    assert found[0].code == "GS951"
    assert found[0].culprit is not None
    assert found[0].culprit.line == line
    assert "a copy on sim:0" in found[0].message


def test_a_tensor_that_the_module_did_not_move(judging: Judging) -> None:
    found = judging("""
        import torch
        from torch import nn
        class Masked(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(3))
                self.mask = torch.ones(3)  # culprit
            def forward(self, x):
                return self.weight * x * self.mask
        net = Masked().to("meta")
        net(torch.ones(3, device="meta"))
    """)
    assert found[0].code == "GS952"
    assert judging.blames(found[0], "# culprit")
    assert found[0].message == "self.mask is on cpu, and the other tensors of this call on meta"
    assert "self.register_buffer('mask'" in found[0].fix
    assert [place.note for place in found[0].related] == ["the two devices meet here"]


MOVES = """
import torch
from torch import nn
w = nn.Parameter(torch.ones(4).to("sim"))
table = torch.ones(4)
for i in range(5):
    batch = torch.ones(4) * i
    loss = (w * batch.to("sim") * {moved}).sum()  # culprit
    loss.backward()
    w.grad = None
"""


def test_the_same_tensor_moved_in_every_step_is_a_note(tmp_path: Path) -> None:
    found, line = judged(tmp_path, MOVES.format(moved='table.to("sim")'))
    (note,) = [finding for finding in found if finding.code == "GS953"]
    assert note.severity is Severity.NOTE
    assert note.culprit is not None
    assert note.culprit.line == line
    assert note.message == "table is copied from cpu to sim:0 in each of 5 steps (16 bytes every time)"
    assert not loud(found)


def test_batches_are_moved_in_every_step_and_that_is_right(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, MOVES.format(moved="2"))
    assert not [finding for finding in found if finding.code.startswith("GS95")]


def test_a_parameter_moved_in_every_step_is_a_warning(tmp_path: Path) -> None:
    found, line = judged(
        tmp_path,
        """
import torch
from torch import nn
w = nn.Parameter(torch.ones(4))
for i in range(4):
    loss = (w.to("sim") * i).sum()  # culprit
    loss.backward()
    w.grad = None
""",
    )
    (finding,) = [finding for finding in found if finding.code == "GS953"]
    assert finding.severity is Severity.WARNING
    assert finding.culprit is not None
    assert finding.culprit.line == line
    assert "copied back" in finding.explanation


def test_a_module_that_was_moved_before_its_optimizer_was_built(tmp_path: Path) -> None:
    found, _ = judged(
        tmp_path,
        """
import torch
from torch import nn
class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.register_buffer("mask", torch.ones(4))
    def forward(self, x):
        return (x * self.weight * self.mask).sum()
net = Scale().to("sim")
for i in range(4):
    net(torch.ones(4).to("sim")).backward()
    net.weight.grad = None
""",
    )
    assert not loud(found)
    assert not [finding for finding in found if finding.code.startswith("GS95")]
