"""A step is found by what closes it: an update, else a backward, else the loop, however many passes run before."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from gradscope.capture.step import segmenter
from gradscope.capture.step.segmenter import LONG, StepTracker
from gradscope.capture.step.split import pieces
from gradscope.model.moments import Backward, Note, OpCall
from gradscope.model.spec import violations
from gradscope.store import open_trace
from tests.capturing import Recording, record_text
from tests.scripts import run

HEAD = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.01)
"""
TRAINED = {
    "episodes of any length": """
def play(moves):
    logs, place = [], 0.0
    while moves:
        moves -= 1
        out = net(torch.tensor([place, 1.0])).sigmoid()
        place += out.item()
        logs.append(out.log())
    return logs
for moves in (5, 90, 130):
    loss = -torch.stack(play(moves)).sum()
    opt.zero_grad()
    loss.backward()
    opt.step()
""",
    "an episode with a baseline without gradients": """
baseline = nn.Linear(2, 1)
for episode in range(3):
    logs = []
    for move in range(80):
        with torch.no_grad():
            value = baseline(torch.ones(2))
        logs.append(net(torch.ones(2)).sigmoid().log() * value)
    opt.zero_grad()
    torch.stack(logs).sum().backward()
    opt.step()
""",
    "a backward for each move, the last one first": """
for episode in range(3):
    logs = [net(torch.ones(2)).sum() for move in range(80)]
    for log in reversed(logs):
        log.backward()
    opt.step()
    opt.zero_grad()
""",
    "an ODE solver": """
field = nn.Linear(2, 2)
opt = torch.optim.SGD(field.parameters(), lr=0.01)
def solve(y, times):
    for _ in range(times):
        middle = y + 0.01 * field(y)
        y = y + 0.02 * field(middle)
    return y
for times in (70, 90, 40):
    opt.zero_grad()
    solve(torch.ones(2), times).sum().backward()
    opt.step()
""",
    "examples one by one, in a class that switches to training first": """
class Trainer:
    def one(self, x):
        return net(x).pow(2).mean()
    def step(self, batch):
        net.train()
        total = sum(self.one(x) for x in batch)
        opt.zero_grad()
        total.backward()
        opt.step()
trainer = Trainer()
for epoch in range(1):
    for batch in range(3):
        trainer.step(torch.ones(100, 2))
""",
    "a loop over the layers, and derivatives": """
layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(80)])
opt = torch.optim.SGD(layers.parameters(), lr=0.01)
class Solution:
    def __call__(self, x):
        for layer in layers:
            x = torch.tanh(layer(x))
        return x
solution = Solution()
for epoch in range(3):
    x = torch.ones(4, 2, requires_grad=True)
    u = solution(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    loss = (slope - u).pow(2).mean() + solution(x * 2).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
""",
    "a batch in 100 parts": """
for step in range(300):
    net(torch.ones(2)).sum().backward()
    if step % 100 == 99:
        opt.step()
        opt.zero_grad()
""",
    "a batch in parts, in a loop of their own": """
for step in range(3):
    for part in range(100):
        net(torch.ones(2)).sum().backward()
    opt.step()
    opt.zero_grad()
""",
    "first order gradients of many tasks": """
for step in range(3):
    for task in range(70):
        (grad,) = torch.autograd.grad(net(torch.ones(2)).sum(), net.weight)
        (torch.ones(2) @ (net.weight - 0.1 * grad).T).sum().backward()
    opt.step()
    opt.zero_grad()
""",
    "two optimizers": """
critic = nn.Linear(1, 1)
other = torch.optim.SGD(critic.parameters(), lr=0.01)
for step in range(3):
    net.train()
    other.zero_grad()
    (critic(net(torch.ones(3, 2)).detach()).mean() - critic(torch.ones(3, 1)).mean()).backward()
    other.step()
    opt.zero_grad()
    critic(net(torch.ones(3, 2))).mean().backward()
    opt.step()
""",
}


def runs(recorded: Recording) -> list[tuple[str, int]]:
    """How many steps of each kind follow each other."""
    return [(kind, len(list(steps))) for kind, steps in groupby(recorded.kinds)]


@pytest.mark.parametrize("detail", ["auto", "graph", "steps"])
@pytest.mark.parametrize("name", TRAINED)
def test_an_update_closes_all_passes_before_it(name: str, detail: str, tmp_path: Path) -> None:
    if (detail, name) == ("steps", "a backward for each move, the last one first"):
        pytest.skip("which pass a backward comes to is known from the graphs, which are not recorded")
    recorded = record_text(tmp_path, HEAD + TRAINED[name], detail)
    assert (recorded.error, recorded.faults) == (None, ())
    assert runs(recorded) == [("train", 3)]


@pytest.mark.parametrize("name", [name for name in TRAINED if "derivatives" not in name])
def test_no_graph_is_cut(name: str, tmp_path: Path) -> None:
    recorded = record_text(tmp_path, HEAD + TRAINED[name], "graph")
    assert not any(node.carried for step in recorded.steps for graph in step.graphs for node in graph.nodes)


EVALUATED = {
    "after each epoch, without gradients": (
        """
for epoch in range(2):
    for batch in range(3):
        opt.zero_grad()
        net(torch.ones(2)).sum().backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        for batch in range(250):
            net(torch.ones(2)).sum()
    net.train()
""",
        [("train", 3), ("eval", 250)] * 2,
    ),
    "every few steps": (
        """
for step in range(6):
    opt.zero_grad()
    net(torch.ones(2)).sum().backward()
    opt.step()
    if step % 3 == 2:
        with torch.no_grad():
            for batch in range(4):
                net(torch.ones(3, 2))
""",
        [("train", 3), ("eval", 4)] * 2,
    ),
    "with gradients that nobody uses": (
        """
for epoch in range(2):
    for batch in range(3):
        opt.zero_grad()
        net(torch.ones(2)).sum().backward()
        opt.step()
    for batch in range(100):
        net(torch.ones(2)).sum().item()
""",
        [("train", 3), ("eval", 100)] * 2,
    ),
    "two sets after each other": (
        """
for epoch in range(2):
    for batch in range(3):
        opt.zero_grad()
        net(torch.ones(2)).sum().backward()
        opt.step()
    with torch.no_grad():
        for batch in range(3):
            net(torch.ones(5, 2))
        for batch in range(2):
            net(torch.ones(6, 2))
""",
        [("train", 3), ("eval", 5)] * 2,
    ),
    "by a model that was loaded again": (
        """
def test():
    with torch.no_grad():
        for batch in range(3):
            net(torch.ones(5, 2))
for epoch in range(2):
    for batch in range(3):
        opt.zero_grad()
        net(torch.ones(2)).sum().backward()
        opt.step()
    test()
other = nn.Linear(2, 1)
other.load_state_dict(net.state_dict())
with torch.no_grad():
    other(torch.ones(2))
""",
        [("train", 3), ("eval", 3), ("train", 3), ("eval", 4)],
    ),
    "layer by layer": (
        """
layers = [nn.Linear(2, 2) for _ in range(5)]
def forward(x):
    for layer in layers:
        x = torch.tanh(layer(x))
    return x
with torch.no_grad():
    for batch in range(4):
        forward(torch.ones(2)).sum()
""",
        [("eval", 4)],
    ),
    "in a loop with a backward of its own each time": (
        """
for picture in range(100):
    x = torch.ones(2, requires_grad=True)
    net(x).sum().backward()
""",
        [("train", 100)],
    ),
}


@pytest.mark.parametrize("detail", ["auto", "graph"])
@pytest.mark.parametrize("name", EVALUATED)
def test_passes_that_nothing_comes_back_to_are_steps(name: str, detail: str, tmp_path: Path) -> None:
    text, expected = EVALUATED[name]
    recorded = record_text(tmp_path, HEAD + text, detail)
    assert (recorded.error, recorded.faults) == (None, ())
    found = runs(recorded)
    if detail == "auto" and found[-1] == ("other", 1):
        found.pop()  # what is called after a loop of matched steps is none of theirs
    assert found == expected


def test_passes_before_a_backward_outside_all_loops_are_steps(tmp_path: Path) -> None:
    text = "for batch in range(10):\n    net(torch.ones(2)).sum().item()\nnet(torch.ones(2)).sum().backward()\n"
    (tmp_path / "script.py").write_text(HEAD + text)  # a process of its own: a test runs in the loops of pytest
    assert run(["-m", "gradscope", "trace", "--quiet", "script.py"], tmp_path).status == 0
    with open_trace(tmp_path / "script.gradscope") as trace:
        assert [trace.step(number).kind.value for number in trace.steps] == ["eval"] * 10 + ["train"]


def test_what_runs_before_inner_steps_and_is_used_by_them_is_not_cut_off(tmp_path: Path) -> None:
    text = """
head = nn.Linear(1, 1)
opt = torch.optim.SGD(head.parameters(), lr=0.01)
for epoch in range(3):
    coded = net(torch.ones(2))
    for step in range(3):
        opt.zero_grad()
        head(coded).sum().backward(retain_graph=True)
        opt.step()
"""
    assert runs(record_text(tmp_path, HEAD + text, "graph")) == [("train", 9)]


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths that steps in progress had as models were called."""
    lengths: list[int] = []
    called = StepTracker.root_called

    def root_called(self: StepTracker, stack: int, module: int) -> None:
        called(self, stack, module)
        lengths.append(self.draft.length)

    monkeypatch.setattr(StepTracker, "root_called", root_called)
    return lengths


@pytest.mark.parametrize("kept", ["last = net(torch.ones(2)).sum()", "total += net(torch.ones(2)).sum().item()"])
def test_a_loop_of_forwards_is_not_kept(tmp_path: Path, longest: list[int], kept: str) -> None:
    recorded = record_text(tmp_path, HEAD + f"total = 0.0\nfor batch in range(5_000):\n    {kept}\n", "graph")
    assert runs(recorded) == [("eval", 5_000)]
    assert max(longest) <= LONG + 20


def test_results_that_live_hold_their_passes_until_the_backward_comes(tmp_path: Path, longest: list[int]) -> None:
    text = """
kept = []
for batch in range(1_500):
    kept.append(net(torch.ones(2)))
    if batch % 2:
        net(torch.zeros(2))
total = torch.zeros(1)
for one in kept:
    total += one
total.backward()
"""
    recorded = record_text(tmp_path, HEAD + text, "graph")
    assert max(longest) > LONG
    assert runs(recorded) == [("train", 1)]
    (graph,) = recorded.steps[-1].graphs
    assert not any(node.carried for node in graph.nodes)


@pytest.mark.parametrize("line", ["net(torch.ones(2)).sum().backward()", "first = first or [net(torch.ones(2))]"])
def test_a_step_that_would_never_end_is_cut_and_says_so(
    tmp_path: Path, longest: list[int], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(segmenter, "LONG", 100)
    monkeypatch.setattr(segmenter, "TOO_LONG", 300)
    text = f"first = []\nfor batch in range(500):\n    {line}\n    net(torch.ones(2)).sum()\n"
    recorded = record_text(tmp_path, HEAD + text, "graph")
    assert len(recorded.kinds) in (499, 500)
    assert max(longest) < 2 * 300 + 50
    notes = [moment.text for moment in recorded.moments("note") if isinstance(moment, Note)]
    assert notes
    assert all("each pass is a step of its own" in note for note in notes)


def test_a_draft_cut_at_many_places_carries_what_it_would_if_cut_from_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
kept, state = [], torch.ones(2)
for batch in range(60):
    state = state * 0.5
    if batch % 7 == 0:
        old = state
    kept.append(net(state + old).sum())
    state.add_(1)
"""
    at_once = record_text(tmp_path, HEAD + text, "graph")

    def from_the_front(draft, cuts):  # type: ignore[no-untyped-def]
        done, gone = [], 0
        for cut in cuts:
            head, draft = pieces(draft, [cut - gone])
            done.append(head)
            gone = cut
        return [*done, draft]

    monkeypatch.setattr(segmenter, "pieces", from_the_front)
    one_by_one = record_text(tmp_path, HEAD + text, "graph")
    assert len(at_once.kinds) == 60
    for one, other in zip(at_once.steps, one_by_one.steps, strict=True):
        assert violations(one.template) == []
        assert (one.moments, one.tensors, one.row.carried) == (other.moments, other.tensors, other.row.carried)


def test_the_first_step_of_a_trainer_is_there_once(tmp_path: Path) -> None:
    text = """
class Trainer:
    def training_step(self, x):
        net.train()
        loss = net(x).sum()
        loss.backward()
        return loss.detach()
    def train(self):
        for epoch in range(2):
            for x in torch.ones(3, 4, 2):
                self.training_step(x)
                opt.step()
                net.zero_grad()
Trainer().train()
"""
    recorded = record_text(tmp_path, HEAD + text)
    assert runs(recorded) == [("train", 6)]
    starts = [step.row.start for step in recorded.steps]
    assert len(set(starts)) == len(starts)
    assert len([moment for moment in recorded.moments("backward") if isinstance(moment, Backward)]) == 6
    names = {moment.name for moment in recorded.moments("op") if isinstance(moment, OpCall)}
    assert "device" not in names
