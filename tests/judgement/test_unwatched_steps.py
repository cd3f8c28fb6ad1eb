"""Traces that mix exact, matched and light steps: what goes wrong in them is found, and nothing is made up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from gradscope.capture.journal import schedule
from gradscope.diagnose import judge
from gradscope.model.findings import Finding
from gradscope.model.records import Detail
from tests.capturing import Recording, record_text
from tests.judging import loud

EQUAL = """
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
total = 0.0
for step in range(60):
    x, y = torch.randn(16, 8), torch.randint(0, 4, (16,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    total += loss.item()
"""

# Episodes of which each is as long as none before.
EPISODES = """
import torch
from torch import nn

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
for episode in range(60):
    logs = []
    for move in range(3 + episode * 7 % 59):
        state = torch.randn(4)
        picked = torch.distributions.Categorical(logits=policy(state))
        logs.append(picked.log_prob(picked.sample()))
    loss = -torch.stack(logs).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
FROM_30 = "    if {} == 30:\n        {}\n"


@pytest.fixture(autouse=True)
def _soon_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FREE_SECONDS", 0.0)


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def ways(made: Recording) -> Counter[Detail]:
    return Counter(row.detail for row in made.source.step_rows() if row.number >= 0)


def judged(folder: Path, text: str, detail: Detail = Detail.STEPS) -> tuple[Recording, list[Finding]]:
    """A recording in which many steps are of that kind, and what is found in it.

    Of light ones there are two between two that are exact, however fast the machine is.
    """
    with pytest.MonkeyPatch.context() as patch:
        if detail is Detail.STEPS:
            patch.setattr(schedule, "FARTHEST", 2)
        made = record_text(folder, text, "auto", budget=1e-6)
    assert made.faults == ()
    assert ways(made)[detail] > 10, ways(made)
    return made, judge(made.trace)


def codes(found: Sequence[Finding]) -> list[str]:
    return [one.code for one in loud(found)]


def line_of(finding: Finding) -> str:
    assert finding.culprit is not None
    return finding.culprit.code.strip()


CLEARINGS = {
    "before": "    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n",
    "to zeros": "    optimizer.zero_grad(set_to_none=False)\n    loss.backward()\n    optimizer.step()\n",
    "after": "    loss.backward()\n    optimizer.step()\n    optimizer.zero_grad()\n",
    "by hand": "    loss.backward()\n    optimizer.step()\n    for p in policy.parameters():\n        p.grad.zero_()\n",
    "removed": "    loss.backward()\n    optimizer.step()\n    for p in policy.parameters():\n        p.grad = None\n",
    "every other": "    (loss / 2).backward()\n"
    "    if episode % 2:\n        optimizer.step()\n        optimizer.zero_grad()\n",
    "clipped": "    optimizer.zero_grad()\n    loss.backward()\n"
    "    nn.utils.clip_grad_norm_(policy.parameters(), 1.0)\n    optimizer.step()\n",
}


# -- nothing is wrong ------------------------------------------------------------------------------


def test_equal_steps_that_are_right_have_no_finding(tmp_path: Path) -> None:
    _, found = judged(tmp_path, EQUAL, Detail.MATCHED)
    assert not found


@pytest.mark.parametrize("clearing", CLEARINGS)
def test_light_steps_are_no_evidence_of_gradients_that_pile_up_or_are_lost(clearing: str, tmp_path: Path) -> None:
    _, found = judged(tmp_path, changed(EPISODES, (CLEARINGS["before"], CLEARINGS[clearing])))
    assert [one.code for one in found] == ["GS002"]
    assert "budget" in found[0].fix or "record(" in found[0].fix


def test_parameters_that_are_first_used_in_light_steps_are_not_called_untrained(tmp_path: Path) -> None:
    text = changed(
        EPISODES,
        ("optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)",
         "value = nn.Linear(4, 1)\n"
         "optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=0.01)"),
        ("    optimizer.zero_grad()\n",
         "    if episode >= 40:\n        loss = loss + value(state).mean()\n    optimizer.zero_grad()\n"),
    )  # fmt: skip
    made, found = judged(tmp_path, text)
    assert [one.code for one in found] == ["GS002"]
    assert any(row.light for row in made.source.step_rows() if row.number >= 40)


def test_training_in_evaluation_mode_on_purpose_is_not_an_evaluation_left_on(tmp_path: Path) -> None:
    text = changed(EPISODES, ("    logs = []\n", "    logs = []\n    if episode == 30:\n        policy.eval()\n"))
    assert codes(judged(tmp_path, text)[1]) == []


def test_evaluations_in_light_steps_are_right(tmp_path: Path) -> None:
    text = (
        EPISODES
        + """    if episode % 10 == 9:
        policy.eval()
        with torch.no_grad():
            score = policy(torch.randn(4, 4)).mean().item()
        policy.train()
"""
    )
    assert codes(judged(tmp_path, text)[1]) == []


def test_a_part_that_is_frozen_while_steps_are_light_does_not_move(tmp_path: Path) -> None:
    text = (
        EPISODES
        + """    if episode == 30:
        for p in policy[0].parameters():
            p.requires_grad_(False)
            p.grad = None
"""
    )
    assert codes(judged(tmp_path, text)[1]) == []


def test_a_frozen_part_does_not_move_where_equal_steps_were_matched(tmp_path: Path) -> None:
    text = (
        EQUAL
        + """    if step == 30:
        for p in model[0].parameters():
            p.requires_grad_(False)
            p.grad = None
"""
    )
    assert codes(judged(tmp_path, text, Detail.MATCHED)[1]) == []


# -- something goes wrong at step 30 ----------------------------------------------------------------


def test_a_loss_that_is_nan_among_matched_steps_is_told_with_what_records_it(tmp_path: Path) -> None:
    text = changed(
        EQUAL, ("model(x), y)\n", "model(x), y) * (float('nan') if step >= 30 else 1.0)\n")
    )  # fmt: skip
    made, found = judged(tmp_path, text, Detail.MATCHED)
    (one,) = loud(found)
    assert (one.code, one.step, line_of(one)) == ("GS801", 30, "loss.backward()")
    assert "steps=(30, 31)" in one.fix
    row = made.source.step_row(30)
    assert not row.watched
    assert made.trace.step(30).unwatched is not None
    assert made.trace.step(31).unwatched is None  # at once after a number worth a finding


@pytest.mark.parametrize("when", [56, 57, 58])  # one of them is exact
def test_a_loss_that_is_nan_in_a_light_step_is_told_with_what_records_it(when: int, tmp_path: Path) -> None:
    nan = f"torch.stack(logs).mean() * (float('nan') if episode == {when} else 1.0)"
    made, found = judged(tmp_path, changed(EPISODES, ("torch.stack(logs).mean()", nan)))
    (one,) = loud(found)
    assert (one.code, one.step) == ("GS801", when)
    assert f"steps=({when}, {when + 1})" in one.fix
    assert ("Its ops were not recorded." in one.explanation) is made.source.step_row(when).light


def test_a_clearing_that_is_forgotten_from_some_step_on_is_found(tmp_path: Path) -> None:
    text = changed(EQUAL, ("    optimizer.zero_grad()\n", "    if step < 30:\n        optimizer.zero_grad()\n"))
    made, found = judged(tmp_path, text, Detail.MATCHED)
    (one,) = loud(found)
    assert (one.code, line_of(one)) == ("GS501", "loss.backward()")
    assert one.step is not None
    assert 30 <= one.step <= 32
    assert made.trace.step(one.step).unwatched is None


def test_an_evaluation_that_leaves_its_mode_on_is_found(tmp_path: Path) -> None:
    text = (
        EQUAL
        + """    if step == 30:
        model.eval()
        with torch.no_grad():
            score = model(torch.randn(4, 8)).mean().item()
"""
    )
    (one,) = loud(judged(tmp_path, text, Detail.MATCHED)[1])
    assert (one.code, one.step, line_of(one)) == ("GS701", 31, "model.eval()")


@pytest.mark.parametrize("when", [30, 31, 32])
def test_an_evaluation_in_a_light_step_that_leaves_its_mode_on_is_found(when: int, tmp_path: Path) -> None:
    evaluation = f"""    if episode == {when}:
        policy.eval()
        with torch.no_grad():
            score = policy(torch.randn(4, 4)).mean().item()
"""
    (one,) = loud(judged(tmp_path, EPISODES + evaluation)[1])
    assert (one.code, line_of(one)) == ("GS701", "policy.eval()")


@pytest.mark.parametrize("detail", [Detail.MATCHED, Detail.STEPS])
def test_a_sum_of_losses_with_their_graphs_is_found(detail: Detail, tmp_path: Path) -> None:
    summed = "    base = base + loss\n"
    text = changed(EQUAL, ("total += loss.item()", "total += loss"))
    if detail is Detail.STEPS:
        text = changed(EPISODES, ("for episode", "base = 0.0\nfor episode")) + summed
    (one,) = loud(judged(tmp_path, text, detail)[1])
    assert one.code == "GS405"
    assert one.message.startswith(("total is built from", "base is built from"))


def test_a_learning_rate_of_matched_steps_is_their_own(tmp_path: Path) -> None:
    text = EQUAL + FROM_30.format("step", "optimizer.param_groups[0]['lr'] = 0.0")
    made, found = judged(tmp_path, text, Detail.MATCHED)
    (one,) = loud(found)
    assert (one.code, one.step, line_of(one)) == ("GS513", 31, "optimizer.step()")
    assert "the script set it" in one.explanation
    rates = [row.learning_rates[0][2] for row in made.source.step_rows() if row.number >= 0]
    assert rates == [0.05] * 31 + [0.0] * 29


# -- the script dies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["optimizer.zero_grad()", "optimizer.step()"])
def test_a_script_that_dies_in_a_matched_step_says_what_is_known(where: str, tmp_path: Path) -> None:
    text = changed(EQUAL, (f"    {where}\n", f"    {where}\n    if step == 57:\n        raise ValueError('boom')\n"))
    made, found = judged(tmp_path, text, Detail.MATCHED)
    (one,) = loud(found)
    assert one.code == "GS001"
    assert "ValueError: boom" in one.message
    last = made.steps[-1]
    assert last.unwatched is not None
    assert str(last.unwatched) in one.explanation


def test_a_script_that_dies_in_a_step_that_was_not_kept_has_a_finding_without_a_place(tmp_path: Path) -> None:
    text = EQUAL + FROM_30.format("step", "raise ValueError('boom')")
    (one,) = judge(record_text(tmp_path, text, "auto", steps=(0, 10)).trace)
    assert (one.code, one.culprit, one.step) == ("GS001", None, None)
    assert one.message == "the script failed with ValueError: boom"


@pytest.mark.parametrize("when", [45, 46, 47])
def test_a_second_backward_in_a_light_step_claims_no_more_than_torch_says(when: int, tmp_path: Path) -> None:
    twice = f"    loss.backward()\n    if episode == {when}:\n        loss.backward()\n"
    made, found = judged(tmp_path, changed(EPISODES, ("    loss.backward()\n", twice)))
    (one,) = loud(found)
    assert (one.code, one.step, line_of(one)) == ("GS403", when, "loss.backward()")
    light = made.source.step_row(when).light
    assert ("an earlier backward" in one.message) is light
    assert ("its ops were not recorded" in one.explanation) is light
