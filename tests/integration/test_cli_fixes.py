"""`gradscope check --verify` and `--fix`, as a user meets them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.scripts import environment, run

LEAK = """\
import os, sys, torch
from helper import Log  # the folder of the script is where imports are found

assert os.path.basename(__file__) == "leak.py" and os.path.exists(__file__)
open("data.txt").read()  # so is what it opens
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
log = Log()
for i in range(int(sys.argv[1])):
    loss = net(torch.randn(4, 3)).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    log.add(loss)
"""
HELPER = """\
class Log:
    def __init__(self):
        self.kept = []

    def add(self, loss):
        self.kept.append(loss)  # kept with its graph
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leak.py").write_text(LEAK)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "data.txt").write_text("")
    return tmp_path


def findings(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    ran = run(["-m", "gradscope", "check", "--format", "json", *arguments], folder)
    found = json.loads(ran.stdout)["findings"]
    assert isinstance(found, list)
    return found


def test_a_patch_of_a_helper_module_is_tried_where_the_helper_lies(folder: Path) -> None:
    (found,) = findings(folder, "--verify", "leak.py", "6")
    (fix,) = found["fixes"]
    assert fix["verified"] is True
    assert fix["trial"]["outcome"] == "it ran to its end"
    (edit,) = fix["patch"]["edits"]
    assert edit["new"] == ["        self.kept.append(loss.detach())  # kept with its graph"]
    assert (folder / "helper.py").read_text() == HELPER
    assert sorted(path.name for path in folder.iterdir()) == ["data.txt", "helper.py", "leak.py"]


def test_without_verify_nothing_is_tried(folder: Path) -> None:
    (found,) = findings(folder, "leak.py", "6")
    (fix,) = found["fixes"]
    assert fix["verified"] is None
    assert fix["trial"] is None


def test_fix_writes_the_patch_and_keeps_what_was_there(folder: Path) -> None:
    ran = run(["-m", "gradscope", "check", "--fix", "--yes", "leak.py", "6"], folder)
    assert ran.status == 0, ran.stderr
    assert "loss.detach())  # kept" in (folder / "helper.py").read_text()
    assert (folder / "helper.py.orig").read_text() == HELPER
    assert (folder / "leak.py").read_text() == LEAK
    assert findings(folder, "leak.py", "6") == []


def test_fix_asks_at_a_terminal_only(folder: Path) -> None:
    ran = run(["-m", "gradscope", "check", "--fix", "leak.py", "6"], folder)
    assert ran.status == 2
    assert ran.stderr.startswith("gradscope: --fix asks before it writes")
    assert len(ran.stderr.splitlines()) == 1
    assert (folder / "helper.py").read_text() == HELPER


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False), ("", False)])
def test_at_a_terminal_it_shows_the_change_and_asks(folder: Path, answer: str, written: bool) -> None:
    words = ["-m", "gradscope", "check", "--fix", "leak.py", "6"]
    child = pexpect.spawn(sys.executable, words, cwd=folder, env=environment(), encoding="utf-8", timeout=100)
    child.expect(r"\+        self.kept.append\(loss.detach\(\)\)")
    child.expect("write this fix")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == (0 if written else 1)
    assert ("detach" in (folder / "helper.py").read_text()) is written
    assert (folder / "helper.py.orig").exists() is written


def test_a_trial_that_does_not_end_is_stopped(folder: Path) -> None:
    text = LEAK.replace(
        "    log.add(loss)\n", "    log.add(loss)\nwhile not loss.grad_fn or not log.kept[0].requires_grad: pass\n"
    )
    (folder / "leak.py").write_text(text)  # it ends only as long as graphs are kept
    (found,) = findings(folder, "--verify", "--timeout", "20", "leak.py", "6")
    (fix, *_) = found["fixes"]
    assert fix["verified"] is False
    assert fix["trial"]["outcome"].startswith("it was still running after 2")


def test_a_trace_cannot_be_run_again(folder: Path) -> None:
    run(["-m", "gradscope", "trace", "--quiet", "leak.py", "6"], folder)
    ran = run(["-m", "gradscope", "check", "--verify", "leak.gradscope"], folder)
    assert ran.status == 2
    assert ran.stderr.splitlines() == [
        "gradscope: --verify runs the script again: give the SCRIPT in place of its trace"
    ]
