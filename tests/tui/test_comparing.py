"""Comparing: a pinned step, or the same step of another trace, beside every step."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from gradscope.errors import NoSuchFile
from gradscope.model.trace import Trace
from gradscope.store import TraceWriter
from gradscope.tui.app import GradscopeApp
from gradscope.tui.screens.asking import Picker
from gradscope.tui.widgets.header import HeaderPane
from gradscope.tui.widgets.inspector import InspectorPane
from tests.builders import mlp_trace
from tests.capturing import record_text
from tests.tui.driving import Driver, drive
from tests.unit.tui.test_follow import write

LOOP = """\
import torch
w = torch.nn.Parameter(torch.ones(3))
for step in range({steps}):
    h = w * (step + {first})
    {extra}
    loss = (h * h).sum()
    w.grad = None
    loss.backward()
"""


def recorded(tmp_path: Path, name: str = "one", first: int = 2, extra: str = "pass", steps: int = 3) -> Trace:
    return record_text(tmp_path, LOOP.format(first=first, extra=extra, steps=steps), "full", name=f"{name}.py").trace


def saved(trace: Trace, path: Path) -> str:
    """The trace as a file."""
    writer = TraceWriter(path)
    write(writer, trace, trace.source.step_numbers())
    for number in trace.source.step_numbers():
        writer.put_samples(trace.source.samples(number))
    writer.put_info(trace.info)
    writer.close()
    return str(path)


def shown(driver: Driver) -> str:
    """All that the screen shows."""
    strips = driver.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def row(driver: Driver, pane: str, name: str) -> str:
    """What a pane's row of that name says."""
    widget = driver.instrument.query_one(f"#{pane}")
    lines = shown(driver).splitlines()[widget.region.y : widget.region.bottom]
    cut = [line[widget.region.x : widget.region.right] for line in lines]
    return next(line for line in cut if f" {name} " in line)


def header(driver: Driver) -> str:
    return str(driver.instrument.query_one(HeaderPane).lines()[0])


def test_a_pinned_step_is_beside_every_number_until_it_is_unpinned(tmp_path: Path) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("D")
        assert "against step 0" in header(driver)
        await driver.press("right_curly_bracket", "end")
        # loss = 3 n², |grad| = 2 n² √3: n is 2 in step 0, and 3 here
        assert "loss 27 (+15)" in header(driver)
        assert "31.2 +17.3" in row(driver, "parameters", "w")
        assert "31.2     +17.3" in row(driver, "graph", "w")
        timeline = shown(driver).splitlines()[-6:]
        assert any("27 +15" in line for line in timeline)
        assert any("━P━" in line for line in timeline if "step 1" in line)
        await driver.select("w")
        difference = [
            fact for section in driver.instrument.query_one(InspectorPane).sheet.sections for fact in section.facts
            if fact.label.strip() == "difference"
        ]  # fmt: skip
        assert difference[0].text == "+10, +10, +10", "each element of its gradient"
        await driver.press("D")
        assert driver.scene.against is None
        assert "against" not in header(driver)
        assert "+17.3" not in shown(driver)

    drive(recorded(tmp_path), walk)


def test_a_step_beside_itself_has_no_difference(tmp_path: Path) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("D", "end")
        assert "loss 12 (=)" in header(driver)
        assert "only here" not in shown(driver)
        assert driver.scene.other is not None
        assert driver.scene.other.state == driver.scene.state

    drive(recorded(tmp_path), walk)


def test_the_same_step_of_another_trace_goes_along(tmp_path: Path) -> None:
    path = saved(recorded(tmp_path, "other", first=3, extra="h = h.exp().log()", steps=2), tmp_path / "other.gradscope")

    async def walk(driver: Driver) -> None:
        assert "against step 0 of other.gradscope" in header(driver)
        await driver.press("end")
        assert "loss 12 (-15)" in header(driver)
        graph = str(driver.instrument.query_one("#graph").border_subtitle)
        assert "only there" in graph
        assert "only here" not in graph
        await driver.press("right_curly_bracket")
        assert "against step 1 of other.gradscope" in header(driver)
        await driver.press("right_curly_bracket")
        assert "there is no step 2 of other.gradscope" in header(driver)
        assert driver.scene.other is None

    drive(recorded(tmp_path), walk, against=path)


def test_rows_that_only_this_step_has_are_marked_and_all_are_listed(tmp_path: Path) -> None:
    path = saved(recorded(tmp_path, "other"), tmp_path / "other.gradscope")

    async def walk(driver: Driver) -> None:
        assert " + " not in row(driver, "graph", "w")
        lone = [node for node in driver.scene.graph.nodes if node.label == "ExpBackward0"]
        assert len(lone) == 1
        await driver.press("U")
        picker = driver.app.screen
        assert isinstance(picker, Picker)
        lines = [str(choice.line) for choice in picker.choices]
        assert any(line.startswith("+ ") and "ExpBackward0" in line for line in lines)
        assert not any(line.startswith("- ") for line in lines)
        await driver.press("enter")
        assert driver.scene.selected is not None
        sheet = driver.instrument.query_one(InspectorPane).sheet
        assert sheet is not None
        assert "+ step 0 of other.gradscope has nothing like it" in [
            fact.text for section in sheet.sections for fact in section.facts
        ]
        marked = [line for line in shown(driver).splitlines() if "h.exp()" in line and " +" in line]
        assert marked

    drive(recorded(tmp_path, extra="h = h.exp().log()"), walk, against=path)


def test_another_trace_can_be_asked_for(tmp_path: Path) -> None:
    path = saved(recorded(tmp_path, "other", first=3), tmp_path / "other.gradscope")

    async def walk(driver: Driver) -> None:
        await driver.press("A")
        driver.app.screen.query_one(Input).value = str(tmp_path / "none.gradscope")
        await driver.press("enter")
        assert "there is no file" in driver.text_of("#hint")
        driver.app.screen.query_one(Input).value = path
        await driver.press("enter")
        assert "against step 0 of other.gradscope" in header(driver)

    drive(recorded(tmp_path), walk)


def test_a_trace_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(NoSuchFile):
        GradscopeApp(mlp_trace(), against=str(tmp_path / "none.gradscope"))


def test_without_a_comparison_there_is_nothing_to_list() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("U")
        assert driver.notices == ["Nothing is compared: pin a step, or ask for another trace."]

    drive(mlp_trace(), walk)
