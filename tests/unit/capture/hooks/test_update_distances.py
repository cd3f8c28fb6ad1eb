"""How far updates moved each parameter is what a copy from before says, however the step was recorded."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from gradscope.capture import recorder
from gradscope.capture.journal import schedule
from gradscope.model.records import Detail, StepKind, StepRow
from tests.capturing import Recording, record_text

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed({seed})


class Replacing(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {{"lr": lr}})

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data = p.data - group["lr"] * p.grad


net = nn.Sequential(nn.Linear({width}, 8), nn.Tanh(), nn.Linear(8, {width})).to({dtype})
{changes}
opt = {optimizer}
x = torch.randn(4, {width}, dtype={dtype})
truth = []


def update(*closure):
    before = [p.detach().clone() for p in net.parameters()]
    opt.step(*closure)
    truth.append([float((p.detach() - old).norm()) for p, old in zip(net.parameters(), before)])
"""
LOOP = """
for step in range({steps}):
    opt.zero_grad()
    loss = net(x).square().mean()
    {odd}
    loss.backward()
    update()
"""
OPTIMIZERS = (
    "torch.optim.SGD(net.parameters(), lr=0.1)",
    "torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)",
    "torch.optim.Adam(net.parameters(), lr=0.01)",
    "torch.optim.AdamW([{'params': net[0].parameters()}, {'params': net[2].parameters(), 'lr': 0.1}], lr=0.01)",
    "torch.optim.RMSprop(net.parameters(), lr=0.01, foreach=False)",
    "torch.optim.Adagrad(net.parameters(), lr=0.1)",
    "Replacing(net.parameters(), lr=0.1)",
)
CHANGES = ("", "net[0].bias.requires_grad_(False)", "nn.init.zeros_(net[2].bias)")
ODD = ("pass", "loss = loss * 2 if step % 5 == 4 else loss", "loss = sum([loss] * (1 + step * step % 7))")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs, too, have steps that are not watched."""
    monkeypatch.setattr(schedule, "FREE_SECONDS", 0.0)


def rows(recorded: Recording) -> list[StepRow]:
    assert (recorded.error, recorded.faults) == (None, ())
    return [step.row for step in recorded.steps if step.row.number >= 0]


def distances(row: StepRow) -> list[float]:
    assert [parameter for parameter, _ in row.distances] == [0, 1, 2, 3]
    return [distance for _, distance in row.distances]


def program(seed: int, steps: int = 40) -> str:
    """A random loop that trains, whose steps are equal, or some of them are not."""
    chosen = Random(seed)
    head = HEAD.format(
        seed=seed,
        width=chosen.choice((3, 5, 300)),  # the last has norms of its own, each by a call of torch
        dtype=chosen.choice(("torch.float32", "torch.float64")),
        optimizer=chosen.choice(OPTIMIZERS),
        changes=chosen.choice(CHANGES),
    )
    return head + LOOP.format(steps=steps, odd=chosen.choice(ODD))


@pytest.mark.parametrize("seed", range(10))
def test_each_step_of_random_programs_knows_how_far_it_moved_its_parameters(seed: int, tmp_path: Path) -> None:
    recorded = record_text(tmp_path, program(seed), "auto")
    assert [distances(row) for row in rows(recorded)] == [
        pytest.approx(true, rel=1e-4, abs=1e-30) for true in recorded.namespace["truth"]
    ]


def test_exact_matched_and_light_steps_are_among_those(tmp_path: Path) -> None:
    head = HEAD.format(seed=0, width=3, dtype="torch.float32", optimizer=OPTIMIZERS[2], changes="")
    ways = {
        row.detail
        for odd in (ODD[0], ODD[2])
        for row in rows(record_text(tmp_path, head + LOOP.format(steps=40, odd=odd), "auto"))
    }
    assert ways == {Detail.FULL, Detail.GRAPH, Detail.MATCHED, Detail.STEPS}


@pytest.mark.parametrize("detail", ["steps", "graph", "full"])
def test_so_do_steps_of_other_details(detail: str, tmp_path: Path) -> None:
    recorded = record_text(tmp_path, program(2, steps=5), detail)
    assert [distances(row) for row in rows(recorded)] == [
        pytest.approx(true, rel=1e-4) for true in recorded.namespace["truth"]
    ]


def test_an_update_around_a_closure_is_measured_as_a_whole(tmp_path: Path) -> None:
    head = HEAD.format(
        seed=0, width=3, dtype="torch.float32", changes="", optimizer="torch.optim.LBFGS(net.parameters(), max_iter=3)"
    )
    loop = """
def closure():
    opt.zero_grad()
    loss = net(x).square().mean()
    loss.backward()
    return loss

for step in range(8):
    update(closure)
"""
    recorded = record_text(tmp_path, head + loop, "auto")
    assert [distances(row) for row in rows(recorded)] == [
        pytest.approx(true, rel=1e-4) for true in recorded.namespace["truth"]
    ]


def test_a_step_that_begins_in_an_update_s_closure_has_the_norms_from_before_it(tmp_path: Path) -> None:
    head = HEAD.format(seed=0, width=3, dtype="torch.float32", changes="", optimizer=OPTIMIZERS[0])
    loop = """
norms = []


def closure():
    opt.zero_grad()
    loss = net(x).square().mean()
    loss.backward()
    return loss


for epoch in range(4):
    for batch in range(3):
        norms.append([float(p.detach().norm()) for p in net.parameters()])
        update(closure)
    with torch.no_grad():
        for batch in range(2):
            net(x)
"""
    recorded = record_text(tmp_path, head + loop, "steps")
    trained = [row for row in rows(recorded) if row.kind is StepKind.TRAIN]
    assert [distances(row) for row in trained] == [
        pytest.approx(true, rel=1e-4) for true in recorded.namespace["truth"]
    ]
    assert [[norm for _, norm, _ in row.norms] for row in trained] == [
        pytest.approx(true, rel=1e-4) for true in recorded.namespace["norms"]
    ]


def test_numbers_of_few_digits_are_those_that_torch_tells(tmp_path: Path) -> None:
    text = HEAD.format(seed=0, width=5, dtype="torch.bfloat16", optimizer=OPTIMIZERS[0], changes="")
    recorded = record_text(tmp_path, text + LOOP.format(steps=12, odd="pass"), "auto")
    assert [distances(row) for row in rows(recorded)] == recorded.namespace["truth"]


def test_the_last_update_of_a_step_is_told(tmp_path: Path) -> None:
    text = HEAD.format(seed=0, width=3, dtype="torch.float32", optimizer=OPTIMIZERS[0], changes="")
    recorded = record_text(tmp_path, text + LOOP.format(steps=6, odd="pass") + "    update()\n", "graph")
    assert [distances(row) for row in rows(recorded)] == [
        pytest.approx(true, rel=1e-4) for true in recorded.namespace["truth"][1::2]
    ]


def test_what_no_optimizer_moved_has_no_distance(tmp_path: Path) -> None:
    text = HEAD.format(seed=0, width=3, dtype="torch.float32", optimizer=OPTIMIZERS[0], changes="")
    recorded = record_text(tmp_path, text + LOOP.format(steps=6, odd="pass").replace("update()", "pass"), "graph")
    assert {row.distances for row in rows(recorded)} == {()}


def test_parameters_too_large_to_be_copied_have_none_unless_all_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "COPIED_FREELY", 1000)
    text = HEAD.format(seed=0, width=5000, dtype="torch.float32", optimizer=OPTIMIZERS[0], changes="")
    text += LOOP.format(steps=12, odd="pass")
    assert {row.distances for row in rows(record_text(tmp_path, text, "auto"))} == {()}
    everything = record_text(tmp_path, text, "auto", budget=float("inf"))
    assert [distances(row) for row in rows(everything)] == [
        pytest.approx(true, rel=1e-4) for true in everything.namespace["truth"]
    ]
