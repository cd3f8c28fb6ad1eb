"""Keys that come at once act as if they came one by one, whatever is being read or opened meanwhile."""

from __future__ import annotations

import threading

import pytest
from textual import events

from gradscope.model.trace import Trace
from gradscope.tui.screens import seeking
from gradscope.tui.session import Loaded, Session
from gradscope.tui.widgets.graph import GraphPane
from gradscope.tui.widgets.header import HeaderPane
from tests.builders import mlp_trace
from tests.tui.driving import Driver, drive


async def burst(driver: Driver, *keys: str) -> None:
    """Press keys without waiting for what they do."""
    from textual.keys import _character_to_key

    for key in keys:
        character = key if len(key) == 1 else None
        driver.app.post_message(events.Key(_character_to_key(key) if character else key, character))
    await driver.settle()


@pytest.mark.parametrize(
    "keys",
    [
        "g 2 : 5 enter",
        "g 1 : 3 enter right right",
        "right right right g : 7 enter left",
        "end right right } left",
        "] ] ] ] ] c . . ,",
        "/ f c 2 enter enter",
        "? escape right",
        "} } right right { right",
        "4 down enter escape right",
    ],
)
def test_a_burst_ends_where_slow_typing_does(keys: str) -> None:
    ends = []

    async def slowly(driver: Driver) -> None:
        for key in keys.split():
            await burst(driver, key)
        ends.append((driver.place, driver.scene.selected, driver.screen_name))

    async def at_once(driver: Driver) -> None:
        await burst(driver, *keys.split())
        ends.append((driver.place, driver.scene.selected, driver.screen_name))

    drive(mlp_trace(), slowly)
    drive(mlp_trace(), at_once)
    assert ends[0] == ends[1]
    assert ends[0][2] == "Instrument"
    assert ends[0][:2] != ((0, -1), None)


def test_what_is_pasted_is_typed() -> None:
    async def walk(driver: Driver) -> None:
        driver.app.post_message(events.Paste("g2:5\n"))
        await driver.settle()
        assert driver.place == (2, 4)
        await driver.press("g")
        driver.app.post_message(events.Paste("1:3"))
        await driver.settle()
        assert driver.screen_name == "Prompt", "in a window it is text"
        await driver.press("enter")
        assert driver.place == (1, 2)

    drive(mlp_trace(), walk)


class Slow(Session):
    """A session that reads a step only when it may."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self.may = threading.Event()

    def _load(self, number: int) -> Loaded:
        if number > 0:
            self.may.wait(20)
        return super()._load(number)


def slow(driver: Driver) -> Slow:
    session = Slow(driver.scene.trace)
    session.load(0)
    driver.app.session = driver.instrument.session = session
    return session


async def press_at_once(driver: Driver, *keys: str) -> None:
    for key in keys:
        await driver.pilot.press(key)


def test_keys_wait_for_a_step_that_is_being_read() -> None:
    async def walk(driver: Driver) -> None:
        session = slow(driver)
        await press_at_once(driver, "}", "right", "right", "c")
        assert driver.place == (0, -1)
        session.may.set()
        await driver.settle()
        assert driver.place == (1, 1)
        assert driver.scene.selected is not None

    drive(mlp_trace(), walk)


def test_steps_are_passed_by_at_once_and_only_the_last_is_read() -> None:
    async def walk(driver: Driver) -> None:
        session = slow(driver)
        await press_at_once(driver, "}", "}")
        assert driver.instrument.aim is not None
        assert driver.instrument.aim.step == 2
        session.may.set()
        await driver.settle()
        assert driver.place[0] == 2

    drive(mlp_trace(), walk)


def test_escape_ends_the_reading_and_what_waited_for_it() -> None:
    async def walk(driver: Driver) -> None:
        session = slow(driver)
        await press_at_once(driver, "}", "right", "right", "escape")
        assert driver.place == (0, -1)
        assert "Cancelled" in driver.notices[-1]
        session.may.set()
        await driver.settle()
        assert driver.place == (0, -1)
        await driver.press("right")
        assert driver.place == (0, 0)

    drive(mlp_trace(), walk)


def test_a_long_search_says_where_it_is_and_escape_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeking, "_TOLD_EVERY", 0)

    async def walk(driver: Driver) -> None:
        session = slow(driver)
        await driver.press("right")
        await press_at_once(driver, "b")
        assert "step 1, up to 2; esc ends it" in str(driver.instrument.query_one(HeaderPane).lines()[0])
        await press_at_once(driver, "right", "escape")
        assert "Cancelled" in driver.notices[-1]
        assert "esc ends it" not in str(driver.instrument.query_one(HeaderPane).lines()[0])
        session.may.set()
        await driver.settle()
        assert driver.place == (0, 0)
        await driver.press("b")
        assert "no NaN or Inf after" in driver.notices[-1], "it can be asked again"

    drive(mlp_trace(), walk)


def test_without_a_search_escape_is_the_panes_own() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("slash", "f", "c", "2")
        await driver.press("escape")
        assert not driver.instrument.query_one("#graph", GraphPane).wanted
        assert driver.scene.selected is not None
        await driver.press("escape")
        assert driver.scene.selected is None
        assert driver.notices == []

    drive(mlp_trace(), walk)
