"""What is taken away: pictures, lines, values, and the line in an editor."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from gradscope.tui.screens import taking
from gradscope.tui.widgets.source import SourcePane
from tests.builders import ab2_trace, mlp_trace
from tests.tui.driving import Driver, drive


def test_export_writes_the_graph_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def walk(driver: Driver) -> None:
        await driver.press("x")
        assert driver.screen_name == "Prompt"
        await driver.press(*"g.json", "enter")
        written = json.loads((tmp_path / "g.json").read_text())
        assert len(written["nodes"]) == len(driver.instrument.shown_graph().nodes)
        assert "Wrote g.json" in driver.notices[-1]
        await driver.press("x", *"g.nope", "enter")
        assert "known are" in driver.text_of("#hint")
        await driver.press("escape")
        assert driver.screen_name == "Instrument"

    drive(mlp_trace(), walk)


def test_an_export_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    go_on = threading.Event()

    def slow(graph: object, path: Path, *, cancelled: object, **_: object) -> bool:
        go_on.wait(20)
        assert callable(cancelled)
        assert cancelled()
        return False

    monkeypatch.setattr(taking.export, "export_graph", slow)

    async def walk(driver: Driver) -> None:
        for key in ("x", "enter"):
            await driver.pilot.press(key)
        await driver.pilot.pause()
        await driver.pilot.press("x")
        go_on.set()
        await driver.settle()
        assert "cancelled" in driver.notices[-1]
        assert list(tmp_path.iterdir()) == []

    drive(mlp_trace(), walk)


def test_the_screen_is_saved_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def walk(driver: Driver) -> None:
        await driver.press("X", "enter")
        (written,) = tmp_path.glob("*.svg")
        text = written.read_text(encoding="utf-8")
        assert "Inspector" in text
        assert "@font-face" not in text

    drive(mlp_trace(), walk)


def test_copying_the_line_and_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []

    async def walk(driver: Driver) -> None:
        monkeypatch.setattr(driver.app, "copy_to_clipboard", copied.append)
        await driver.press("right", "right", "right", "y", "Y")
        assert copied == ["ab2.py:5", "[200.]"]
        await driver.select("B")
        await driver.press("Y")
        assert copied[-1] == "[20.]"

    drive(ab2_trace(), walk)


def test_the_editor_gets_the_line_and_the_file_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.builders import AB2_CODE

    path = tmp_path / "ab2.py"
    path.write_text(AB2_CODE)
    trace = ab2_trace()
    trace.path = str(tmp_path / "t.gradscope")
    ran: list[Sequence[str]] = []

    def editor(command: Sequence[str], **_: object) -> None:
        ran.append(command)
        path.write_text(AB2_CODE.replace("F = A * B", "F = B * A"))

    program = tmp_path / "vim"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("EDITOR", "vim")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(taking.subprocess, "run", editor)

    async def walk(driver: Driver) -> None:
        monkeypatch.setattr(driver.app, "suspend", nullcontext)
        await driver.press("right", "right", "right", "e")
        assert ran == [[str(program), "+5", str(path)]]
        source = driver.instrument.query_one("#source", SourcePane)
        assert "has changed since the recording (line 5)" in str(source.border_subtitle)

    drive(trace, walk)


def test_without_an_editor_or_a_file_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)

    async def walk(driver: Driver) -> None:
        await driver.press("right", "e")
        assert "is not here" in driver.notices[-1]

    drive(ab2_trace(), walk)
