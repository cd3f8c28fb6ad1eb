"""The palette: every action of every pane, and what is in the trace by its name."""

from __future__ import annotations

import pytest
from textual.binding import Binding

from gradscope.model.findings import Finding, Place, Severity
from gradscope.tui.keys import KEYS
from gradscope.tui.palette import entries
from gradscope.tui.screens.instrument import PANES
from tests.builders import inplace_trace, mlp_trace
from tests.tui.driving import Driver, drive

FOUND = Finding("GS101", "n", Severity.ERROR, "y was changed", 0.9, 0, Place("inplace.py", 6, "y.mul_(2)"))


async def choose(driver: Driver, query: str) -> None:
    """Type a query into the palette and take its first answer."""
    await driver.press("ctrl+p", *("space" if letter == " " else letter for letter in query))
    await driver.press("enter")
    if driver.screen_name == "CommandPalette":
        await driver.press("enter")
    assert driver.screen_name == "Instrument"


def test_every_key_of_every_pane_has_an_entry() -> None:
    async def walk(driver: Driver) -> None:
        commands = list(driver.app.get_system_commands(driver.app.screen))
        told = {(command.title, command.help) for command in commands}
        for name, title in PANES:
            for binding in type(driver.instrument.query_one(f"#{name}")).BINDINGS:
                assert isinstance(binding, Binding)
                words = binding.tooltip or binding.description
                assert any(words == one and help.startswith(title) for one, help in told), words
        for keys in KEYS.values():
            for key in keys:
                if key.action != "app.command_palette":
                    assert key.about in {command.title for command in commands}

    drive(mlp_trace(), walk)


@pytest.mark.parametrize(
    ("query", "name"),
    [("parameter fc2.weight", "fc2.weight"), ("tensor logits", "logits")],
)
def test_tensors_and_parameters_are_selected(query: str, name: str) -> None:
    async def walk(driver: Driver) -> None:
        await choose(driver, query)
        assert driver.selected_name == name

    drive(mlp_trace(), walk)


def test_a_module_a_line_and_a_finding_are_gone_to() -> None:
    async def walk(driver: Driver) -> None:
        await choose(driver, "line inplace.py:6")
        sites = driver.scene.trace.source_lines(driver.scene.step.moments[driver.scene.moment].stack)
        assert sites[0].line == 6
        await driver.press("home")
        await choose(driver, "finding gs101")
        sites = driver.scene.trace.source_lines(driver.scene.step.moments[driver.scene.moment].stack)
        assert sites[0].line == 6
        await driver.press("left_parenthesis")
        assert driver.place == (0, -1)

    async def module(driver: Driver) -> None:
        await choose(driver, "module fc1")
        assert driver.scene.selected is not None
        assert driver.scene.graph.by_id[driver.scene.selected].module == "fc1"

    drive(inplace_trace(), walk, findings=lambda _: [FOUND])
    drive(mlp_trace(), module)


def test_a_panes_action_works_wherever_the_focus_is() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("5")
        await choose(driver, "fold all modules")
        assert driver.instrument.focused is not None
        assert driver.instrument.focused.id == "graph"

    drive(mlp_trace(), walk)


def test_each_name_is_there_once() -> None:
    async def walk(driver: Driver) -> None:
        names = [entry.name for entry in entries(driver.instrument, driver.scene)]
        assert len(set(names)) == len(names)
        assert {"parameter fc1.weight", "tensor loss", "module fc1"} < set(names)
        assert "line train.py:24  loss.backward()" in names

    drive(mlp_trace(), walk)
