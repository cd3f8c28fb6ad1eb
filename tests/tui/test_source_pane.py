"""The source pane: its cursor, what its lines lead to, what they name, and how far they reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gradscope.model.trace import Trace
from gradscope.tui.widgets.source import SourcePane
from tests.builders import MLP_CODE, mlp_trace
from tests.tui.driving import Driver, drive


def source(driver: Driver) -> SourcePane:
    return driver.instrument.query_one("#source", SourcePane)


def line_of(driver: Driver) -> int:
    """The user's line that the moment is at."""
    return driver.scene.trace.source_lines(driver.scene.step.moments[driver.scene.moment].stack)[0].line


async def put_cursor(driver: Driver, line: int) -> None:
    pane = source(driver)
    await driver.press("3")
    for _ in range(100):
        at = pane._at()
        assert at is not None
        assert pane.text is not None
        by = line - pane.text.numbers[at]
        if by == 0:
            return
        await driver.pilot.press("down" if by > 0 else "up")
    raise AssertionError(line)


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    (tmp_path / "train.py").write_text(MLP_CODE)
    found = mlp_trace()
    found.path = str(tmp_path / "t.gradscope")
    return found


Walk = Callable[[Driver], Awaitable[None]]


def test_enter_leads_to_what_the_line_did_and_again_to_what_it_did_next(trace: Trace) -> None:
    async def walk(driver: Driver) -> None:
        await put_cursor(driver, 12)
        seen = []
        for _ in range(3):
            await driver.press("enter")
            assert line_of(driver) == 12
            seen.append(driver.place)
        assert seen[0] < seen[1]
        assert seen[2] == seen[0], "after the last one the first again"
        await driver.press("left_parenthesis")
        assert driver.place == seen[1]

    drive(trace, walk)


def test_a_line_that_did_nothing_says_so(trace: Trace) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right", "right")
        here = driver.place
        await put_cursor(driver, 1)
        await driver.press("enter")
        assert driver.place == here
        assert driver.notices[-1] == "No recorded moment is of train.py:1."

    drive(trace, walk)


def test_lines_that_ran_in_this_step_are_marked(trace: Trace) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("end")
        pane = source(driver)
        shown = {number + 1: line.plain[0] for number in range(40) if (line := pane.line_at(number)) is not None}
        assert {line for line, sign in shown.items() if sign != " "} == {12, 13, 20, 21, 23, 24, 25}
        assert {line for line, sign in shown.items() if sign == "·"} == {12, 13, 20, 21, 23, 24}
        assert shown[25] == "▶"

    drive(trace, walk)


def test_watching_a_tensor_by_its_name_in_the_source(trace: Trace) -> None:
    async def walk(driver: Driver) -> None:
        await put_cursor(driver, 23)
        watched = []
        for _ in range(4):
            await driver.press("W")
            watched.append(driver.selected_name)
        assert watched == ["loss", "logits", "y", "loss"]
        assert driver.notices[-1] == "Watching loss: . and , lead to its changes."
        await driver.press("full_stop")
        assert line_of(driver) == 23
        await put_cursor(driver, 1)
        await driver.press("W")
        assert "no tensor that this line names" in driver.notices[-1]
        assert driver.selected_name == "loss"

    drive(trace, walk)


def test_the_cursor_is_at_the_moments_line_again_when_that_changes(trace: Trace) -> None:
    async def walk(driver: Driver) -> None:
        await put_cursor(driver, 12)
        await driver.press("end")
        pane = source(driver)
        assert pane.cursor is None
        assert pane._at() == 24, "counted from 0"

    drive(trace, walk)


def test_long_lines_are_read_by_going_sideways(trace: Trace) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "3")
        pane = source(driver)
        first = pane.line_at(19)
        assert first is not None
        assert "x, y = torch.randn" in first.plain
        await driver.press("l", "shift+right")
        moved = pane.line_at(19)
        assert moved is not None
        assert moved.plain == first.plain[:8] + first.plain[24:]
        await driver.press("h", "h", "h")
        assert pane.line_at(19) == first
        for _ in range(100):
            await driver.pilot.press("l")
        await driver.settle()
        assert any((line := pane.line_at(number)) and len(line.plain) > 8 for number in range(40)), "not past the end"

    drive(trace, walk)


def test_of_a_source_that_changed_the_recorded_lines_are_shown(trace: Trace) -> None:
    path = Path(str(trace.path)).with_name("train.py")
    path.write_text("import os\n" + MLP_CODE)

    async def walk(driver: Driver) -> None:
        pane = source(driver)
        await driver.press("end")
        assert "has changed since the recording" in str(pane.border_subtitle)
        assert pane.text is not None
        assert pane.text.numbers == (12, 13, 20, 21, 22, 23, 24, 25)
        assert "optimizer.step()" in next(line.plain for line in (pane.line_at(7),) if line is not None)
        assert pane.path() == path, "an editor can still open it"
        await put_cursor(driver, 13)
        await driver.press("enter")
        assert line_of(driver) == 13

    drive(trace, walk)


def test_without_a_line_the_keys_do_no_harm() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("3", "s", "down", "enter", "W", "l", "pagedown")
        assert driver.place == (0, -1)

    drive(mlp_trace(), walk)
