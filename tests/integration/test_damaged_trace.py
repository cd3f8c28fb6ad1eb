"""A trace in which what one step did cannot be read: that step says so, and everything else is there."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gradscope.capture.recorder import Recorder
from gradscope.errors import DamagedTrace
from gradscope.options import CaptureOptions
from gradscope.store import TraceWriter, open_trace
from tests.capturing import run_plain
from tests.reading import Read, read_by_all, read_by_hand, run_here

SCRIPT = """\
import torch
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(5):
    optimizer.zero_grad()
    loss = model(torch.ones(8, 3)).pow(2).mean()
    loss.backward()
    optimizer.step()
"""
Spoil = Callable[[sqlite3.Connection, int], None]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    script, path = tmp_path / "train.py", tmp_path / "train.gradscope"
    script.write_text(SCRIPT)
    with Recorder(TraceWriter(path), CaptureOptions()):
        assert run_plain(script)["__error__"] is None
    return path


def template_of(path: Path, step: int) -> int:
    with open_trace(path) as trace:
        return trace.step(step).row.template


def spoil(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount


DAMAGE = {
    "rule": "UPDATE tensors SET made_by = 999 WHERE template = ? AND idx = 3",
    "op": "UPDATE moments SET data = '{\"inputs\":[99],\"outputs\":[]}' WHERE template = ? AND kind = 'op'",
    "json": "UPDATE moments SET data = '[' WHERE template = ? AND idx = 2",
    "bytes": "UPDATE tensors SET shape = x'ff' WHERE template = ? AND idx = 1",
    "row": "DELETE FROM moments WHERE template = ? AND idx = 2",
    "graph": "UPDATE grad_edges SET target = 0 WHERE template = ?",
    "calls": "UPDATE templates SET calls = '[[1,0,0,1,99,5]]' WHERE id = ?",
    "bumps": "UPDATE templates SET version_bumps = '[[' WHERE id = ?",
    "gone": "DELETE FROM templates WHERE id = ?",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_it_costs_the_steps_that_share_it_what_they_did(damage: str, trace: Path) -> None:
    with open_trace(trace) as whole:
        rows = list(whole.source.step_rows())
        moments = {number: len(whole.step(number).moments) for number in whole.steps}
    spoil(trace, DAMAGE[damage], template_of(trace, 1))
    with open_trace(trace) as read:
        assert list(read.source.step_rows()) == rows
        for number in read.steps:
            step = read.step(number)
            if step.row.template == rows[2].template:
                assert step.broken
                assert [moment.text for moment in step.moments] == [f"damaged: {step.broken}"]  # type: ignore[union-attr]
                assert (step.tensors, step.graphs, step.samples) == ((), (), ())
            else:
                assert step.broken is None
                assert len(step.moments) == moments[number]
        last = read.last_backward()
        assert last is not None
        assert last.broken is None
    read_by_hand(trace)


def told(found: list[Read]) -> None:
    for read in found:
        line = f"{read.command}: {read.status} {read.err}"
        assert read.status in (0, 1) or (read.status == 2 and "--step 1" in read.command), line
        if read.status == 2:
            assert read.err.startswith("gradscope: there is no both graph in step 1: what it did is damaged"), line
            assert read.err.count("\n") == 1, line


@pytest.mark.parametrize("damage", ["rule", "gone"])
def test_every_command_shows_the_rest(damage: str, trace: Path) -> None:
    spoil(trace, DAMAGE[damage], template_of(trace, 1))
    told(read_by_all(trace, steps=(0, 1, 4)))
    info = run_here("info", str(trace)).out
    (line,) = [line for line in info.splitlines() if line.startswith("  damaged")]
    assert "step 1" in line
    assert "the rest can be read" in line
    facts = json.loads(run_here("info", "--json", str(trace)).out)
    assert [one["steps"][0] for one in facts["damaged"]] == [1]
    findings = json.loads(run_here("check", "--format", "json", str(trace)).out)["findings"]
    assert [(one["code"], one["step"]) for one in findings if one["code"] == "GS002"] == [("GS002", 1)]


@pytest.mark.parametrize("moment", ["", ":0"])
def test_the_terminal_ui_says_it_in_place_of_what_the_step_did(moment: str, trace: Path, tmp_path: Path) -> None:
    spoil(trace, DAMAGE["rule"], template_of(trace, 1))
    picture = tmp_path / "view.svg"
    read = run_here("view", str(trace), "--step", f"1{moment}", "--screenshot", str(picture))
    assert read.status == 0, read.err
    assert "damaged" in picture.read_text()
    assert run_here("view", str(trace), "--step", "0", "--screenshot", str(picture)).status == 0


def test_one_changed_value_never_costs_more_than_its_template(trace: Path) -> None:
    whole, number = trace.read_bytes(), template_of(trace, 1)
    chance = random.Random(5)
    with closing(sqlite3.connect(trace)) as connection:
        columns = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "template"]
            for table in ("tensors", "moments", "grad_nodes", "grad_edges", "grad_graphs")
        }
    broken = 0
    for _ in range(60):
        trace.write_bytes(whole)
        table = chance.choice(sorted(columns))
        column = chance.choice(columns[table])
        value = chance.choice(["x", -1, 10**9, None, b"\xff\x00", "[1", '{"a":1}', 2.5, "[[0,0]]"])
        with closing(sqlite3.connect(trace)) as connection, connection:
            connection.execute(
                f"UPDATE OR IGNORE {table} SET {column} = ? WHERE template = ?",
                (value, number),
            )
        with open_trace(trace) as read:
            for step in (-1, 0, 4):
                assert read.step(step).broken is None
            broken += read.step(1).broken is not None
        read_by_hand(trace)
        told([run_here("info", str(trace)), run_here("check", str(trace)), run_here("graph", str(trace))])
    assert broken > 20


def test_what_is_no_template_is_still_refused(trace: Path) -> None:
    spoil(trace, "UPDATE steps SET phase_times = x'00'")
    with open_trace(trace) as read, pytest.raises(DamagedTrace):
        read.step(1)
    read = run_here("info", str(trace))
    assert read.status == 2
    assert read.err.count("\n") == 1
