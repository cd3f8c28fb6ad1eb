"""On recorded scripts: a jump lands where the thing happened, and says so where that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.diagnose.runner import judge
from gradscope.model.records import Detail
from gradscope.model.trace import Trace
from gradscope.tui import jumps
from gradscope.tui.bad_numbers import bad_moments, born_between, told
from gradscope.tui.cursor import START, Place
from gradscope.tui.session import Session
from tests.capturing import record_text

SEVERAL = """\
import torch
w = torch.ones(3, requires_grad=True)
for step in range(2):
    h = w * torch.tensor([0.0, 1.0, 2.0])
    ratio = (h.abs() + 0).exp().log() * 2 / h.abs().sqrt().mul(1.0)
    ratio.sum().backward()
    w.grad = None
"""

MASKED = """\
import torch
q = torch.randn(4, 4, requires_grad=True)
for step in range(2):
    mask = torch.full((4, 4), float("-inf")).triu(1)
    scores = q @ q.t() + mask
    held = scores.masked_fill(torch.eye(4, dtype=torch.bool).flip(0).tril(-1), float("-inf"))
    loss = held.softmax(1).square().sum()
    {bad}
    loss.backward()
    q.grad = None
"""

SUDDEN = """\
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.01)
for step in range(60):
    x = torch.ones(8, 4)
    if step == 47:
        x[1] = 0.0
    loss = (net(x) - (x / x.norm(dim=1, keepdim=True))[:, :1]).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


def b(trace: Trace) -> Place | None:
    """Where the key for the next NaN or Inf leads from the trace's start."""
    first = trace.source.step_numbers()[0]
    return jumps.seek(Session(trace), jumps.BadNumbers(), Place(first, START), 1, lambda: False)


def names(trace: Trace, place: Place | None) -> str:
    assert place is not None
    op = trace.step(place.step).op(place.moment)
    assert op is not None
    return op.name


def test_of_several_calls_on_a_line_a_finding_leads_to_its_own(tmp_path: Path) -> None:
    trace = record_text(tmp_path, SEVERAL).trace
    (finding,) = judge(trace)
    assert finding.step is not None
    step = trace.step(finding.step)
    moment = jumps.finding_moment(step, finding)
    assert step.op(moment) is not None
    assert Place(finding.step, moment) == b(trace)
    assert names(trace, b(trace)) == "div"


@pytest.mark.parametrize(
    ("bad", "op"), [("", None), ("loss = loss + (loss - loss) / (loss - loss)", "div"), ("loss = loss / 0", "div")]
)
def test_a_mask_of_minus_infinity_is_not_the_first_bad_number(tmp_path: Path, bad: str, op: str | None) -> None:
    trace = record_text(tmp_path, MASKED.format(bad=bad)).trace
    if op is None:
        assert b(trace) is None
    else:
        assert names(trace, b(trace)) == op


def test_the_logarithm_of_zero_is_no_mask(tmp_path: Path) -> None:
    source = "import torch\nx = torch.zeros(3, requires_grad=True)\ny = x.log()\nz = y.exp().sum()\nz.backward()\n"
    trace = record_text(tmp_path, source).trace
    assert names(trace, b(trace)) == "log"


def test_where_results_were_not_measured_the_range_is_told(tmp_path: Path) -> None:
    trace = record_text(tmp_path, SUDDEN, "auto").trace
    place = b(trace)
    assert place is not None
    assert place.step == 47
    step = trace.step(47)
    assert step.detail is not Detail.FULL
    born = born_between(step)
    assert born is not None
    assert born.first <= place.moment == born.last
    assert trace.source_lines(step.stack(place.moment))[0].code.startswith("loss =")
    assert "(47, 48)" in told(step), "the command that would find out"


def test_where_they_were_measured_nothing_needs_telling(tmp_path: Path) -> None:
    step = record_text(tmp_path, SEVERAL).trace.step(0)
    assert bad_moments(step)
    assert told(step) == ""


DIVERGES = """\
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=1e7)
for step in range(20):
    loss = net(torch.ones(8, 4)).square().mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


def test_a_parameter_that_came_in_bad_was_not_born_in_this_steps_ops(tmp_path: Path) -> None:
    trace = record_text(tmp_path, DIVERGES, "graph").trace
    steps = [trace.step(number) for number in trace.source.step_numbers() if number >= 0]
    came = next(step for step in steps if any(norm != norm or norm == float("inf") for _, norm, _ in step.row.norms))
    assert told(came) == f"A parameter is not finite when step {came.number} begins: an update before it made it so."
    first = next(step for step in steps if not step.row.finite)
    assert first.number <= came.number
    assert b(trace).step == first.number
