"""Results that outlive their step with a graph: which, how many, and what in the script holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.capture.sites.assignments import statements
from tests.capturing import Recording, record_text

HEAD = """import torch
from collections import defaultdict
from torch import nn

net = nn.Linear(3, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1)

def step():
    loss = net(torch.ones(2, 3)).sum()
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss

"""
HOLDING = {
    "a list in a function": (
        """
def main():
    losses = []
    for _ in range(4):
        loss = step()
        losses.append(loss)  # stores
main()
""",
        "losses",
    ),
    "an object's list, filled in a method": (
        """
class Meter:
    def __init__(self):
        self.seen = []
    def add(self, value, count):
        self.seen.append((value, count))  # stores
meter = Meter()
for n in range(4):
    loss = step()
    meter.add(loss, n)
""",
        "self.seen",
    ),
    "a dict of lists": (
        """
def main():
    history = defaultdict(list)
    for _ in range(4):
        history["loss"].append(step())  # stores
main()
""",
        "history['loss']",
    ),
    "a comprehension": ("losses = [step() for _ in range(4)]  # stores\n", "losses"),
    "a list that grows by +=": (
        """
losses = []
for _ in range(4):
    loss = step()
    losses += [loss]  # stores
""",
        "losses",
    ),
    "elements of a dict": (
        """
by_step = {}
for n in range(4):
    by_step[n] = step()  # stores
""",
        "by_step",
    ),
}


def record(folder: Path, text: str, detail: str = "full") -> Recording:
    recorded = record_text(folder, HEAD + text, detail)
    assert recorded.error is None
    assert recorded.faults == ()
    return recorded


@pytest.mark.parametrize("case", HOLDING)
def test_what_holds_a_result_and_the_statement_that_stored_it(case: str, tmp_path: Path) -> None:
    text, holder = HOLDING[case]
    recorded = record(tmp_path, text)
    rows = [step.row for step in recorded.steps]
    kept = [kept for row in rows for kept in row.kept]
    assert [(one.step, one.holder) for one in kept] == [(n, holder) for n in range(len(kept))]
    assert len(kept) >= 2
    stored = next(line for line in (HEAD + text).splitlines() if "# stores" in line)
    sites, stacks = recorded.source.sites(), recorded.source.stacks()
    for one in kept:
        assert one.stack is not None
        assert sites[stacks[one.stack].sites[0]].code == stored.strip()
        tensor = recorded.trace.step(one.step).tensors[one.tensor]
        assert tensor.grad_fn == "SumBackward0"
    counted = [row.alive for row in rows if row.number >= 0 and row.alive is not None][: len(kept) + 1]
    assert [alive[0] for alive in counted] == list(range(len(counted)))
    nodes = [alive[1] for alive in counted]
    assert nodes == sorted(set(nodes)), "the graph grows from step to step"


def test_a_value_that_is_built_from_its_last_one_grows_without_a_holder(tmp_path: Path) -> None:
    recorded = record(tmp_path, "total = 0.0\nfor _ in range(5):\n    total = 0.9 * total + 0.1 * step()\n")
    rows = [step.row for step in recorded.steps if step.number >= 0]
    nodes = [row.alive[1] for row in rows if row.alive is not None]
    assert nodes == sorted(set(nodes))
    assert not any(row.kept for row in rows)


def test_nothing_survives_in_a_loop_that_keeps_numbers_only(tmp_path: Path) -> None:
    recorded = record(tmp_path, "losses = []\nfor _ in range(5):\n    loss = step()\n    losses.append(loss.item())\n")
    rows = [step.row for step in recorded.steps if step.number >= 0]
    assert not any(row.kept for row in rows)
    assert {row.alive for row in rows[:-1]} == {(0, 5)}


def test_only_detail_full_looks(tmp_path: Path) -> None:
    recorded = record(tmp_path, HOLDING["a comprehension"][0], detail="graph")
    assert all(step.row.alive is None and not step.row.kept for step in recorded.steps)


def test_what_a_statement_stores(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "def f(self, x):\n"
        "    self.a.append((x, loss.item()))\n"
        "    self.h, y = x, 1\n"
        "    log['a'] = y\n"
        "    z = x\n"
        "many = many + [z]\n"
    )
    found = [(one.line, one.receiver, sorted(one.names), one.function) for one in statements(str(file)).storings]
    assert found == [
        (2, "self.a", ["x"], 1),
        (3, "self.h", ["x"], 1),
        (4, "log", ["y"], 1),
        (6, "many", ["z"], -1),
    ]
    assert statements(str(tmp_path / "missing.py")).storings == ()
