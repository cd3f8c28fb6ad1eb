"""`gradscope view` without a terminal: what it says, and the picture it takes. With one: tests/tui/test_terminal.py."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gradscope.cli.commands.view import Check
from gradscope.store import TraceWriter
from tests.builders import AB2_CODE, INFO, INPLACE_CODE, ab2_trace, inplace_trace
from tests.scripts import run
from tests.unit.tui.test_follow import write

VIEW = ["-m", "gradscope", "view"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view")
    for name, trace, code in (("ab2", ab2_trace(), AB2_CODE), ("inplace", inplace_trace(), INPLACE_CODE)):
        (path / f"{name}.py").write_text(code)
        writer = TraceWriter(path / f"{name}.gradscope")
        write(writer, trace, range(1))
        writer.put_samples(trace.source.samples(0))
        writer.put_info(trace.info)
        writer.close()
    writer = TraceWriter(path / "empty.gradscope")
    writer.put_info(INFO)
    writer.close()
    return path


def words(svg: Path) -> str:
    """What a screenshot shows, as text."""
    root = ET.fromstring(svg.read_text(encoding="utf-8"))
    return " ".join("".join(one.itertext()) for one in root.iter() if one.tag.endswith("text")).replace("\xa0", " ")


def test_a_screenshot_shows_the_moment_asked_for(folder: Path, tmp_path: Path) -> None:
    done = run([*VIEW, "ab2.gradscope", "--step", "0:3", "--screenshot", str(tmp_path / "ui.svg")], folder)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    shown = words(tmp_path / "ui.svg")
    for wanted in ("F = mul(A, B)", "case 2 of 4", "MulBackward0", "Timeline", "Parameters"):
        assert wanted in shown, wanted
    text = (tmp_path / "ui.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"'\s)]+", text)) <= {
        "http://www.w3.org/2000/svg", "https://www.textualize.io",
    }, "a picture loads nothing"  # fmt: skip


def test_a_screenshot_has_the_findings_and_the_size_asked_for(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "ui.svg"
    arguments = ["--step", "0:4", "--screenshot", str(path), "--size", "80x24", "--theme", "light", "--ascii"]
    done = run([*VIEW, "inplace.gradscope", *arguments], folder)
    assert (done.status, done.stderr) == (0, "")
    shown = words(path)
    assert "1 finding" in shown
    assert "[1 Graph]" in shown
    assert shown.isascii()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: TRACE"),
        (["none.gradscope"], "there is no file none.gradscope"),
        (["."], "is a folder, not a trace file"),
        (["ab2.py"], "ab2.py is a script: gradscope trace --view"),
        (["empty.gradscope"], "empty.gradscope has no steps: nothing of torch ran"),
        (["ab2.gradscope", "--step", "5"], "there is no step 5"),
        (["ab2.gradscope", "--step", "x"], "--step: 'x' is no place in a trace"),
        (["ab2.gradscope"], "view needs a terminal"),
        (["ab2.gradscope", "--theme", "drak"], "did you mean 'dark'"),
        (["ab2.gradscope", "--screenshot", "ui.png"], "--screenshot writes .svg files, not .png"),
        (["ab2.gradscope", "--screenshot", "no/ui.svg"], "there is no folder no"),
        (["ab2.gradscope", "--size", "big"], "is no size of a terminal"),
        (["ab2.gradscope", "--nope"], "unrecognized arguments: --nope"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: list[str], said: str, folder: Path) -> None:
    done = run([*VIEW, *arguments], folder)
    assert (done.status, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("gradscope: ")
    assert said in done.stderr


def test_truncated_and_newer_files_are_one_line(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "ab2.gradscope").read_bytes()
    (tmp_path / "cut.gradscope").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "newer.gradscope").write_bytes(whole)
    with closing(sqlite3.connect(tmp_path / "newer.gradscope")) as database:
        database.execute("PRAGMA user_version = 9999")
    for name, said in (("cut", "is damaged"), ("newer", "newer gradscope")):
        done = run([*VIEW, f"{name}.gradscope"], tmp_path)
        assert (done.status, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_check_beside_the_screen_finds_what_check_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [finding.code for finding in Check("inplace.gradscope")(inplace_trace())] == ["GS101"]
    with pytest.raises(ValueError, match="there is no file"):
        Check("none.gradscope")(inplace_trace())
    closed = Check("inplace.gradscope")
    closed.close()
    assert list(closed(inplace_trace())) == []


def test_trace_view_without_a_terminal_keeps_the_scripts_status(tmp_path: Path) -> None:
    (tmp_path / "three.py").write_text("import sys\nprint('ran')\nsys.exit(3)\n")
    done = run(["-m", "gradscope", "trace", "--view", "-q", "three.py"], tmp_path)
    assert (done.status, done.stdout) == (3, "ran\n")
    assert "has no steps" in done.stderr
    assert len(done.stderr.splitlines()) == 1
