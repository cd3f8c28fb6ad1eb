"""Driving the application without a terminal: keys in, scenes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot

from gradscope.model.trace import Trace
from gradscope.tui.app import GradscopeApp
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

    async def settle(self) -> None:
        await at_rest(self.app, self.pilot)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()


def drive(
    trace: Trace, walk: Callable[[Driver], Awaitable[None]], *, size: tuple[int, int] = (120, 40), **options: Any
) -> None:
    """Run the application on `trace` without a terminal, and `walk` in it."""

    async def run() -> None:
        app = GradscopeApp(trace, **options)
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot)
            await driver.settle()
            await walk(driver)

    asyncio.run(run())
