"""A pane of lines: what is scrolled to, and what the scroll bar tells."""

from __future__ import annotations

import asyncio

from textual.app import App, ComposeResult
from textual.content import Content

from gradscope.tui.widgets.lines import LinesPane


class Lines(App[None]):
    """Nothing but one pane."""

    def compose(self) -> ComposeResult:
        yield LinesPane()


def numbered(count: int) -> list[Content]:
    return [Content(f"line {number}") for number in range(count)]


def test_the_scroll_bar_is_of_all_lines_whenever_they_change() -> None:
    async def walk() -> None:
        app = Lines()
        async with app.run_test(size=(40, 10)) as pilot:
            pane = app.query_one(LinesPane)
            for count in (1, 200, 30, 1000):
                pane.set_lines(numbered(count))
                await pilot.pause()
                assert pane.vertical_scrollbar.window_virtual_size == count

    asyncio.run(walk())


def test_fewer_lines_bring_the_last_of_them_into_sight() -> None:
    async def walk() -> None:
        app = Lines()
        async with app.run_test(size=(40, 10)) as pilot:
            pane = app.query_one(LinesPane)
            pane.set_lines(numbered(200))
            pane.reveal(150)
            await pilot.pause()
            assert pane.scroll_offset.y < 150 < pane.scroll_offset.y + 10
            pane.set_lines(numbered(30))
            await pilot.pause()
            assert pane.scroll_offset.y == 20

    asyncio.run(walk())
