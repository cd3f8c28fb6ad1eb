"""The user's file as it is now, or the lines as they were recorded, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.model.records import Site
from gradscope.tui import sources
from gradscope.tui.sources import read_source

SITES = [Site(0, "train.py", 2, 2, 0, "f", "loss.backward()"), Site(1, "train.py", 4, 5, 0, "f", "model(\n    x)")]
TEXT = "import torch\nloss.backward()\n\n    model(\n        x)\n"


def test_a_file_that_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TEXT)
    found = read_source("train.py", SITES, [tmp_path])
    assert found.lines == tuple(TEXT.splitlines())
    assert (found.found, found.problem, found.path) == (True, "", tmp_path / "train.py")
    assert [found.place(number) for number in (0, 1, 5, 6)] == [None, 0, 4, None]


def test_of_a_file_that_changed_the_recorded_lines_are_shown_and_where_it_did_first(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("# new\n" + TEXT)
    found = read_source("train.py", SITES, [tmp_path])
    assert found.problem == "has changed since the recording (line 2): these are the recorded lines"
    assert found.lines == ("loss.backward()", "model(\\n    x)")
    assert (found.numbers, found.found, found.path) == ((2, 4), False, tmp_path / "train.py")
    (tmp_path / "train.py").write_text(TEXT.replace("model(", "net("))
    assert "(line 4)" in read_source("train.py", SITES, [tmp_path]).problem
    (tmp_path / "train.py").write_text("")
    assert "(line 2)" in read_source("train.py", SITES, [tmp_path]).problem


def test_what_was_added_behind_the_recorded_lines_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TEXT + "more = 1\n")
    found = read_source("train.py", SITES, [tmp_path])
    assert (found.found, found.problem, found.lines[-1]) == (True, "", "more = 1")


def test_a_missing_file_shows_the_recorded_lines(tmp_path: Path) -> None:
    found = read_source("train.py", [*SITES, Site(2, "other.py", 1, 1, 0, "f", "x")], [tmp_path])
    assert found.lines == ("loss.backward()", "model(\\n    x)")
    assert found.numbers == (2, 4)
    assert [found.place(number) for number in (2, 4, 3)] == [0, 1, None]
    assert found.problem.startswith("is not here")


def test_what_is_no_readable_file_shows_the_recorded_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").mkdir()
    assert not read_source("train.py", SITES, [tmp_path]).found
    assert not read_source("<stdin>", SITES, []).found
    assert not read_source("a\0b", SITES, []).found
    monkeypatch.setattr(sources, "_LARGEST", 3)
    big = tmp_path / "big.py"
    big.write_text("12345")
    assert "has 5 B" in read_source(str(big), [], []).problem


def test_bytes_that_are_no_text_and_control_characters_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_bytes(b"x = '\xff\x1b[31m'\n")
    found = read_source("odd.py", [], [tmp_path])
    assert "\x1b" not in found.lines[0]
