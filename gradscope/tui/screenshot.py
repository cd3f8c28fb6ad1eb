"""A picture of the terminal UI without a terminal: its first full frame as SVG."""

from __future__ import annotations

import asyncio

from textual.pilot import Pilot

from .app import GradscopeApp
from .export import plain_svg


def screenshot(app: GradscopeApp, size: tuple[int, int]) -> str:
    """What `app` shows in a terminal of `size` (columns, rows) when all its first work is done."""

    async def run() -> str:
        async with app.run_test(size=size) as pilot:
            await at_rest(app, pilot)
            before, drawn = "", plain_svg(app.export_screenshot(title=app.instrument.script))
            while drawn != before:  # what was scrolled to is laid out last
                await pilot.pause()
                before, drawn = drawn, plain_svg(app.export_screenshot(title=app.instrument.script))
            return drawn

    return asyncio.run(run())


async def at_rest(app: GradscopeApp, pilot: Pilot[None]) -> None:
    """Wait until nothing is being read or made any more: a step brings about its source file, and so on."""
    quiet = 0
    while quiet < 2:
        await pilot.pause()
        rests = not app.typing and all(worker.is_finished for worker in app.workers)
        quiet = quiet + 1 if rests else 0
        await asyncio.sleep(0 if quiet else 0.005)
