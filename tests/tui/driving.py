"""Driving the application without a terminal: keys in, scenes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from gradscope.model.trace import Trace
from gradscope.tui.app import GradscopeApp
from gradscope.tui.cursor import START, Place
from gradscope.tui.messages import Select
from gradscope.tui.scene import Scene
from gradscope.tui.screens.instrument import Instrument
from gradscope.tui.screenshot import at_rest


class Driver:
    """A running application: `press` waits until everything that a key set going has come to rest."""

    def __init__(self, app: GradscopeApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def instrument(self) -> Instrument:
        return self.app.instrument

    @property
    def scene(self) -> Scene:
        assert self.instrument.scene is not None, "nothing is shown yet"
        return self.instrument.scene

    @property
    def place(self) -> tuple[int, int]:
        return (self.scene.step.number, self.scene.moment)

    @property
    def notices(self) -> list[str]:
        """What the user was told, in order."""
        return [str(one.message) for one in self.app._notifications]

    @property
    def screen_name(self) -> str:
        return type(self.app.screen).__name__

    @property
    def selected_name(self) -> str | None:
        selected = self.scene.selected
        return None if selected is None else self.scene.graph.by_id[selected].name

    def text_of(self, selector: str) -> str:
        """What a label of the current screen says."""
        return str(self.app.screen.query_one(selector, Static).content)

    async def settle(self) -> None:
        await at_rest(self.app, self.pilot)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def select(self, name: str) -> None:
        """Select the first node of that name, as a click would."""
        node = next(node.id for node in self.scene.graph.nodes if node.name == name)
        self.instrument.post_message(Select(node))
        await self.settle()


def drive(
    trace: Trace,
    walk: Callable[[Driver], Awaitable[None]],
    *,
    size: tuple[int, int] = (120, 40),
    settled: bool = True,
    **options: Any,
) -> None:
    """Run the application on `trace` without a terminal, and `walk` in it: not `settled`, while it still reads.

    It begins at the start of the first step of a loop; `start=None`: where the application itself would.
    """
    numbers = trace.source.step_numbers()
    if numbers and "reopen" not in options:
        options.setdefault("start", Place(next((step for step in numbers if step >= 0), numbers[0]), START))

    async def run() -> None:
        app = GradscopeApp(trace, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            driver = Driver(app, pilot)
            if settled:
                await driver.settle()
            while driver.instrument.scene is None and not settled:
                await pilot.pause()
            await walk(driver)

    asyncio.run(run())
