"""A trace of equal steps, as each reader tells of it: most are matched, one is light, and the last one dies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gradscope
from gradscope.errors import UnknownName, UsageError
from gradscope.model.records import Detail
from tests.scripts import Ran, ScriptServer, run

TRAIN = """\
import torch
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(60):
    sum(range(1_000_000))  # a short run would be exact throughout
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    if step == 30:
        model(torch.randn(2, 3))
    if step == 57:
        raise ValueError('mine')
"""


@pytest.fixture(scope="module")
def folder(server: ScriptServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `train.py`, and its trace beside it."""
    folder = tmp_path_factory.mktemp("unwatched")
    (folder / "train.py").write_text(TRAIN)
    done = server.traced("train.py", folder=folder)
    assert done.status == 1
    return folder


def commanded(folder: Path, *arguments: str) -> Ran:
    return run(["-m", "gradscope", *arguments], folder)


def some(folder: Path, detail: Detail) -> int:
    """The last step of that kind but the very last of all."""
    with gradscope.load(folder / "train.gradscope") as trace:
        return [number for number in trace.steps[:-1] if trace.step(number).detail is detail][-1]


def test_info_counts_the_three_kinds(folder: Path) -> None:
    facts = json.loads(commanded(folder, "info", "--json", "train.gradscope").stdout)
    watched = facts["watched"]
    assert watched["matched"] > 30
    assert watched["light"] >= 1
    assert sum(watched.values()) == sum(facts["detail"].values()) == 58
    lines = commanded(folder, "info", "train.gradscope").stdout.splitlines()
    told = {line[:14].strip(): line[15:] for line in lines[1:]}
    counts = f"{watched['exact']} op by op; {watched['matched']} were matched with one of these"
    assert told["watched"].startswith(counts)
    assert told["detail"].startswith(f"auto: {watched['exact']} exact (3 at full, ")
    assert f"{watched['matched']} matched, {watched['light']} light" in told["detail"]


def test_a_graph_of_a_matched_step_says_on_stderr_what_is_known(folder: Path) -> None:
    number = some(folder, Detail.MATCHED)
    done = commanded(folder, "graph", "train.gradscope", "--step", str(number))
    assert done.status == 0
    said = f"gradscope trace --steps {number}:{number + 1} --detail full train.py"
    assert done.stderr.startswith(f"gradscope: step {number}: as step ")
    assert done.stderr.endswith(f"; its single ops were not watched ({said} records them)\n")
    assert "its single ops were not watched" in done.stdout
    assert commanded(folder, "graph", "train.gradscope", "--step", "3").stderr == ""


def test_a_light_step_has_no_graph_and_the_command_that_is_named_records_it(folder: Path) -> None:
    number = some(folder, Detail.STEPS)
    done = commanded(folder, "graph", "train.gradscope", "--step", str(number))
    command = f"gradscope trace --steps {number}:{number + 1} --detail full train.py"
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == (
        f"gradscope: there is no both graph in step {number}: its ops were not recorded ({command} records them)\n"
    )
    again = commanded(folder, *command.split()[1:-1], "-o", "one.gradscope", "train.py")
    assert again.status == 1
    with gradscope.load(folder / "one.gradscope") as trace:
        assert list(trace.steps) == [number]
        assert trace.step(number).detail is Detail.FULL
        assert trace.step(number).graph().nodes


def test_where_a_script_dies_unwatched_its_summary_says_what_records_that(folder: Path) -> None:
    with gradscope.load(folder / "train.gradscope") as trace:
        last = trace.step(trace.steps[-1])
        known = last.unwatched
        text = trace.summary()
    assert ("died in" in text) is (known is not None)
    if known is not None:
        assert f"step {last.number}: {known}" in text


def test_a_budget_of_none_sees_each_op_of_each_step(folder: Path) -> None:
    commanded(folder, "trace", "-q", "--budget", "none", "-o", "exact.gradscope", "train.py")
    with gradscope.load(folder / "exact.gradscope") as trace:
        assert all(trace.step(number).row.watched for number in trace.steps)
        assert "watched" not in trace.summary()


def test_a_recording_takes_a_budget_and_no_level_that_only_steps_have() -> None:
    with gradscope.record(budget="none") as trace:
        pass
    assert trace.info.detail is Detail.AUTO
    for wrong in (0, -5, "much", float("nan")):
        with pytest.raises(UsageError, match="share in percent"), gradscope.record(budget=wrong):
            raise AssertionError
    with pytest.raises(UnknownName) as raised, gradscope.record(detail="matched"):
        raise AssertionError
    assert str(raised.value) == "no detail level is called 'matched': known are auto, full, graph, steps"


def test_the_command_line_does_not_offer_it_either(folder: Path) -> None:
    done = commanded(folder, "trace", "--detail", "matched", "train.py")
    assert done.status == 2
    assert done.stderr.count("matched") == 1
