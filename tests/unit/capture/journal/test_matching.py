"""Which steps are watched, matched or light, and what is told of those that are not watched."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from gradscope.capture.journal import schedule, waiting
from gradscope.model.moments import Backward, Note, OpCall, ZeroGrad
from gradscope.model.records import Detail
from gradscope.model.trace import Step
from tests.capturing import Recording, record_text

HEAD = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.01)
x = torch.randn(5, 2)
"""
LOOP = """
for step in range({steps}):
    {before}
    opt.zero_grad()
    loss = net(x).square().mean()
    {middle}
    loss.backward()
    opt.step()
"""


def loop(steps: int = 40, before: str = "pass", middle: str = "pass") -> str:
    return HEAD + LOOP.format(steps=steps, before=before, middle=middle)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs, too, have steps that are not watched."""
    monkeypatch.setattr(schedule, "FREE_SECONDS", 0.0)


def numbered(recorded: Recording) -> list[Step]:
    """The steps without what ran before the first."""
    return [step for step in recorded.steps if step.row.number >= 0]


def ways(recorded: Recording) -> list[tuple[str, int]]:
    """How steps were recorded, and how many in a row."""
    return [(way, len(list(run))) for way, run in groupby(step.row.detail.value for step in numbered(recorded))]


def test_a_loop_is_watched_at_growing_distances(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(60), "auto")
    assert (recorded.error, recorded.faults) == (None, ())
    assert ways(recorded) == [
        ("full", 3), ("graph", 3), ("matched", 8), ("graph", 1), ("matched", 16), ("graph", 1), ("matched", 28),
    ]  # fmt: skip
    assert len({step.row.template for step in numbered(recorded)[3:]}) == 1
    assert all(step.row.loss and step.row.norms and step.row.learning_rates for step in numbered(recorded))


@pytest.mark.parametrize("detail", ["graph", "full", "steps"])
def test_other_details_watch_each_step(detail: str, tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(20), detail)
    assert ways(recorded) == [(detail, 20)]


def test_without_a_budget_each_step_is_watched(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(20), "auto", budget=float("inf"))
    assert ways(recorded) == [("full", 3), ("graph", 17)]


def test_a_step_that_differs_is_told_by_its_stations_and_the_next_is_watched(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(30, middle="loss = loss * 2 if step == 20 else loss"), "auto")
    assert [step.row.detail for step in numbered(recorded)[19:22]] == [Detail.MATCHED, Detail.STEPS, Detail.GRAPH]
    moments = numbered(recorded)[20].moments
    assert [type(moment) for moment in moments if isinstance(moment, (ZeroGrad, OpCall, Backward))] == [
        ZeroGrad, OpCall, Backward,
    ]  # fmt: skip
    assert numbered(recorded)[20].row.loss == pytest.approx(2 * numbered(recorded)[21].row.loss, rel=0.1)


def test_after_a_number_that_is_not_finite_the_next_step_is_watched(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(30, before="x[0, 0] = float('nan') if step == 17 else x[0, 0]"), "auto")
    details = [step.row.detail for step in numbered(recorded)]
    assert Detail.GRAPH in details[17:20]


def test_after_a_norm_that_is_not_finite_a_step_is_soon_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norms of small tensors are computed for several matched steps at once."""
    monkeypatch.setattr(waiting, "TOGETHER", 4)
    text = loop(90, middle="aside.grad = torch.full((2,), float('nan') if step >= at else 0.0)").replace(
        "x = torch", "aside = nn.Parameter(torch.ones(2)); opt.add_param_group({'params': [aside]})\nx = torch"
    )

    def watched_from(at: int) -> list[bool]:
        """Which of the steps are watched where the norm is NaN from step `at` on."""
        recorded = record_text(tmp_path, text.replace("at else", f"{at} else"), "auto")
        assert (recorded.error, recorded.faults) == (None, ())
        return [step.row.detail is not Detail.MATCHED for step in numbered(recorded)]

    healthy = watched_from(1000)
    last = max(step for step, seen in enumerate(healthy) if seen)
    assert last + 12 < len(healthy)
    assert any(watched_from(last + 2)[last + 2 : last + 10])


@pytest.mark.parametrize(
    "change",
    [
        "net[1] = nn.Tanh() if step == 20 else net[1]",
        "net[0].weight.requires_grad_(step < 20)",
        "net.eval() if step == 20 else net.train()",
        "opt.add_param_group({'params': [nn.Parameter(torch.ones(1))]}) if step == 20 else None",
        "net[0].weight = nn.Parameter(net[0].weight.detach().clone()) if step == 20 else net[0].weight",
        "net[1].register_forward_hook(lambda *_: None) if step == 20 else None",
        "net[0].weight.register_hook(lambda grad: grad) if step == 20 else None",
        "torch.set_grad_enabled(True); x.requires_grad_(step == 20)",
        "x = torch.randn(6, 2) if step == 20 else x",
        "opt = torch.optim.Adam(net.parameters()) if step == 20 else opt",
    ],
)
def test_what_changes_the_training_is_never_matched(change: str, tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(30, before=change), "auto")
    assert recorded.error is None
    assert recorded.faults == ()
    if change.startswith("net.eval"):
        assert all(step.row.detail is not Detail.MATCHED for step in numbered(recorded)[20:21])
    assert not any(step.row.detail is Detail.MATCHED for step in numbered(recorded)[20:21])


def test_an_error_in_a_matched_step_tells_what_passed_and_how_to_see_more(tmp_path: Path) -> None:
    recorded = record_text(tmp_path, loop(30, middle="loss = net(x[:, :1]) if step == 20 else loss"), "auto")
    assert "RuntimeError" in str(recorded.source.info().error)
    last = numbered(recorded)[-1]
    assert last.row.detail is Detail.STEPS
    notes = [moment.text for moment in last.moments if isinstance(moment, Note)]
    assert notes == ["the ops of this step were not recorded; --steps 20:21 --detail full records them"]


def test_an_error_that_is_caught_leaves_the_phases_right(tmp_path: Path) -> None:
    caught = "\n    try:\n        net(x[:, :1]) if step == 20 else None\n    except RuntimeError:\n        pass"
    recorded = record_text(tmp_path, loop(40, before=caught), "auto")
    assert recorded.error is None
    assert {step.row.kind.value for step in numbered(recorded)} == {"train"}
    assert numbered(recorded)[-1].row.detail is Detail.MATCHED


UNEQUAL = (
    HEAD
    + """
for step in range(60):
    x = torch.randn(step + 2, 2)
    opt.zero_grad()
    net(x).square().mean().backward()
    opt.step()
"""
)


def test_steps_that_equal_none_become_light_when_they_have_cost_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FREE_SECONDS", 0.0)
    recorded = record_text(tmp_path, UNEQUAL, "auto", budget=5.0)
    assert (recorded.error, recorded.faults) == (None, ())
    found = [step.row.detail for step in numbered(recorded)]
    assert found.count(Detail.STEPS) > 30
    assert len(found) == 60
    assert all(step.row.loss is not None and step.row.norms for step in numbered(recorded))
    assert {step.row.kind.value for step in numbered(recorded)} == {"train"}
    exact = record_text(tmp_path, UNEQUAL, "graph")
    for one, other in zip(numbered(recorded), numbered(exact), strict=True):
        assert one.row[6:8] == other.row[6:8]  # loss, learning rates
        assert one.row.norms == other.row.norms
        assert recorded.source.versions(one.row.number) == exact.source.versions(other.row.number)


def test_short_loops_of_steps_that_equal_none_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FREE_SECONDS", 60.0)
    assert Detail.STEPS not in {step.row.detail for step in numbered(record_text(tmp_path, UNEQUAL, "auto"))}


def test_a_forked_child_tells_nothing(tmp_path: Path) -> None:
    forked = """
    if step == 20:
        import os
        child = os.fork()
        if not child:
            opt.zero_grad()
            net(x).sum().backward()
            opt.step()
            net.eval()
            os._exit(0)
        os.waitpid(child, 0)
    pass"""
    recorded = record_text(tmp_path, loop(40, before=forked.strip()), "auto")
    assert (recorded.error, recorded.faults) == (None, ())
    assert [step.row.number for step in numbered(recorded)] == list(range(40))
    assert numbered(recorded)[21].row.detail is Detail.MATCHED


def test_steps_that_the_script_marks_are_watched(tmp_path: Path) -> None:
    text = (
        HEAD
        + "import gradscope\n"
        + LOOP.format(steps=30, before="pass", middle="gradscope.step() if step >= 15 else None")
    )
    recorded = record_text(tmp_path, text, "auto")
    assert (recorded.error, recorded.faults) == (None, ())
    assert {step.row.detail for step in numbered(recorded)[-10:]} == {Detail.GRAPH}


def test_nothing_is_kept_of_results_that_no_backward_comes_to(tmp_path: Path) -> None:
    text = HEAD + "with torch.no_grad():\n    for _ in range(300):\n        net(x)\n"
    recorded = record_text(tmp_path, text, "auto")
    assert Detail.MATCHED in {step.row.detail for step in numbered(recorded)}
    assert len(recorded.recorder.journal.matching.results._references) <= 2


@pytest.mark.parametrize(
    "line",
    [
        "net.train()",
        "net.to(torch.float32)",
        "nn.utils.clip_grad_norm_(net.parameters(), 1.0)",
        "torch.optim.lr_scheduler.StepLR(opt, 10)",
        "total += loss.detach() if step else 0",
        "[p.mul_(0.9).add_(q, alpha=0.1) for p, q in zip(slow, net.parameters())]",
    ],
)
def test_what_usual_loops_call_is_matched(line: str, tmp_path: Path) -> None:
    text = loop(40, middle=f"with torch.no_grad():\n        {line}").replace(
        "x = torch", "total, slow = torch.zeros(()), [p.detach().clone() for p in net.parameters()]\nx = torch"
    )
    recorded = record_text(tmp_path, text, "auto")
    assert (recorded.error, recorded.faults) == (None, ())
    found = [step.row.detail for step in numbered(recorded)]
    assert found.count(Detail.MATCHED) > 20
    assert Detail.STEPS not in found


def test_another_thread_that_trains_meanwhile_changes_nothing(tmp_path: Path) -> None:
    other = """
    if step == 20:
        import threading
        def train():
            own = nn.Linear(2, 1)
            its = torch.optim.SGD(own.parameters(), lr=0.1)
            for _ in range(3):
                its.zero_grad()
                own.zero_grad()
                own(x).sum().backward()
                its.step()
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    pass"""
    middle = "loss = loss * 2 if step == 20 else loss"
    recorded = record_text(tmp_path, loop(40, before=other.strip(), middle=middle), "auto")
    assert recorded.error is None
    assert [fault for fault in recorded.faults if "another thread" not in fault] == []
    found = numbered(recorded)
    assert [step.row.number for step in found] == list(range(40))
    assert found[20].row.detail is Detail.STEPS
    for step in found[19:21]:
        assert sum(isinstance(moment, ZeroGrad) for moment in step.moments) == 1
