"""The program in a real pseudo-terminal: one whole walk, as a user would type it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradscope.store import TraceWriter
from tests.builders import MLP_CODE, mlp_trace
from tests.unit.tui.test_follow import write

pytest.importorskip("pexpect", reason="no pseudo-terminals on this system")
pytest.importorskip("pyte")

from tests.terminal import Terminal  # after it is known that there is one


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "train.py").write_text(MLP_CODE)
    writer = TraceWriter(tmp_path / "train.gradscope")
    trace = mlp_trace()
    write(writer, trace, range(3))
    for number in trace.steps:
        writer.put_samples(trace.source.samples(number))
    writer.put_info(trace.info)
    writer.close()
    return tmp_path


def test_one_whole_walk(folder: Path) -> None:
    """Open, step into the backward, find fc1.weight, read its gradient, travel back, export, quit."""
    terminal = Terminal(["view", "train.gradscope", "--step", "0"], folder, (200, 60))
    terminal.until("before the first moment")
    terminal.type("]" * 5)
    terminal.until("loss.backward() starts")
    terminal.type("/")
    terminal.until("type what to find")
    terminal.type("fc1.weight\r")
    terminal.until("fc1.weight  float32[8, 4]")
    terminal.until("None so far: train.py:")
    terminal.type(".")
    terminal.until("fc1.weight.grad: was None, now filled")
    terminal.until("It is there: the backward of")
    terminal.until(lambda text: re.search(r"gradient .*\n.*statistics +norm", text))  # it is read
    terminal.type("\x1b[D")
    terminal.until("None so far: train.py:")
    terminal.type("x")
    terminal.until("Export this graph")
    terminal.type("walk.json\r")
    terminal.until("Wrote walk.json")
    assert json.loads((folder / "walk.json").read_text())["schema"] == "gradscope.graph/1"
    terminal.type("q")
    assert terminal.wait() == 0


def test_a_key_sends_what_changed_and_not_the_screen(folder: Path) -> None:
    terminal = Terminal(["view", "train.gradscope", "--step", "0"], folder, (120, 40))
    terminal.until("before the first moment")
    terminal.rest()
    whole = len(terminal.written)
    sent = []
    for moment in range(1, 9):
        before = len(terminal.written)
        terminal.type("\x1b[C")
        terminal.until(f"moment {moment}/")
        terminal.rest()
        sent.append(len(terminal.written) - before)
    assert sum(sent) / len(sent) < 6_000, sent
    assert max(sent) < whole / 2, sent


def test_it_leaves_the_terminal_as_it_was(folder: Path) -> None:
    terminal = Terminal(["view", "train.gradscope", "--step", "0", "--ascii"], folder, (80, 24), NO_COLOR="1")
    assert "[1 Graph]" in terminal.until("before the first moment")
    terminal.type("q")
    assert terminal.wait() == 0
    assert "\x1b[?1049l" in terminal.written, "the screen from before is there again"
    assert "\x1b[?25h" in terminal.written, "and its cursor"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.gradscope"], "there is no file none.gradscope; did you mean train.gradscope?"),
        (["."], "is a folder, not a trace file"),
        (["train.py"], "train.py is a script: gradscope trace --view"),
        (["train.gradscope", "--step", "9"], "there is no step 9"),
        (["train.gradscope", "--step", "x"], "is no place in a trace"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: list[str], said: str, folder: Path) -> None:
    terminal = Terminal(["view", *arguments], folder, (200, 24))
    assert terminal.wait() == 2
    for _ in range(5):
        terminal.read()
    shown = [line.rstrip() for line in terminal.screen.display if line.strip()]
    assert len(shown) == 1, terminal.text
    assert said in shown[0]
    assert shown[0].startswith("gradscope: ")


def test_what_is_typed_ahead_belongs_to_the_search(folder: Path) -> None:
    terminal = Terminal(["view", "train.gradscope", "--step", "0"], folder, (200, 60))
    terminal.until("before the first moment")
    terminal.type("/fc2.weight\r")
    terminal.until("fc2.weight  float32[3, 8]")
    terminal.type("q")
    assert terminal.wait() == 0


def test_following_waits_for_the_file_and_a_key_leaves(folder: Path) -> None:
    terminal = Terminal(["view", "--follow", "live.gradscope"], folder, (100, 30))
    terminal.until("waiting for live.gradscope, which is not there yet: q leaves")
    (folder / "train.gradscope").rename(folder / "live.gradscope")
    terminal.until("train.py ran to its end")
    terminal.until("step 2")
    terminal.type("q")
    assert terminal.wait() == 0
    terminal = Terminal(["view", "--follow", "never.gradscope"], folder, (100, 30))
    terminal.until("waiting for never.gradscope")
    terminal.type("q")
    assert terminal.wait() == 0


def test_what_is_pasted_or_typed_at_once_arrives_whole(folder: Path) -> None:
    terminal = Terminal(["view", "train.gradscope", "--step", "0"], folder, (120, 40))
    terminal.until("before the first moment")
    terminal.type("g:7\r\x1b[C\x1b[C")
    terminal.until("moment 9/")
    terminal.type("\x1b[200~g2:5\r\x1b[201~")
    terminal.until("moment 5/")
    terminal.type("(")
    terminal.until("moment 9/")
    terminal.type("\x1b[1;3D")
    terminal.until("before the first moment")
    terminal.type("q")
    assert terminal.wait() == 0
