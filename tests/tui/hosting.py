"""A tiny application around one pane: it makes scenes, and keeps what the pane says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from textual import on
from textual.app import App, ComposeResult
from textual.events import Mount
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from gradscope.model.graph import Graph, GraphKind
from gradscope.model.samples import SampleIndex
from gradscope.model.state import State
from gradscope.model.trace import Trace
from gradscope.tui.cursor import SAME
from gradscope.tui.figures import Beside
from gradscope.tui.messages import Notice, Select, Travel
from gradscope.tui.scene import Pane, Scene


class Host(App[None]):
    """Shows one pane; travels and selects as it asks, unless `deaf`."""

    CSS = "#pane { width: 100%; height: 100%; }"

    def __init__(self, pane: Widget, trace: Trace, *, step: int = 0, **facts: Any) -> None:
        super().__init__()
        self.pane = pane
        self.trace = trace
        self.said: list[Message] = []
        self.scene: Scene | None = None
        self._graphs: dict[tuple[int, GraphKind], Graph] = {}
        self._start = (step, facts)

    def compose(self) -> ComposeResult:
        self.pane.id = "pane"
        yield self.pane

    @on(Mount)
    def _begin(self) -> None:
        step, facts = self._start
        self.pane.focus()
        self.go(step, **facts)

    def go(self, step: int | None = None, moment: int | None = None, **facts: Any) -> None:
        """Show another scene: at this step and moment, with `kind`, `selected`, `findings`, `ascii` as given."""
        before = self.scene
        number = step if step is not None else before.step.number if before else 0
        found = before.step if before and before.step.number == number else self.trace.step(number)
        kind = facts.pop("kind", before.kind if before else GraphKind.BOTH)
        key = (found.row.template, kind)
        if key not in self._graphs:
            self._graphs[key] = found.graph(kind)
        here = before.moment if before else -1
        at = min(here if moment in (None, SAME) else cast(int, moment), len(found.moments) - 1)
        scene = Scene(
            trace=self.trace,
            step=found,
            moment=at,
            state=State.at(found, at),
            kind=kind,
            graph=self._graphs[key],
            selected=before.selected if before else None,
            findings=before.findings if before else (),
            ascii=before.ascii if before else False,
            step_numbers=self.trace.source.step_numbers(),
            samples=SampleIndex(found.samples),
            beside=Beside.of(self.trace, found.number),
        )
        self.scene = replace(scene, **facts)
        cast(Pane, self.pane).show(self.scene)

    @on(Travel)
    def _travel(self, message: Travel) -> None:
        self.said.append(message)
        self.go(message.step, message.moment)

    @on(Select)
    def _select(self, message: Select) -> None:
        self.said.append(message)
        self.go(selected=message.node)

    @on(Notice)
    def _notice(self, message: Notice) -> None:
        self.said.append(message)

    def told(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]


class Stage:
    """A host while it runs: press keys, read the screen."""

    def __init__(self, host: Host, pilot: Pilot[Any]) -> None:
        self.host = host
        self.pilot = pilot
        self.pane: Any = host.pane

    async def settle(self) -> None:
        await self.pilot.pause()
        await self.host.workers.wait_for_complete()
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def go(self, step: int | None = None, moment: int | None = None, **facts: Any) -> None:
        self.host.go(step, moment, **facts)
        await self.settle()

    @property
    def scene(self) -> Scene:
        assert self.host.scene is not None
        return self.host.scene

    def lines(self) -> list[str]:
        """What the screen shows, without blanks at the ends of lines."""
        strips = self.host.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    def text(self) -> str:
        return "\n".join(self.lines()).rstrip()

    def line(self, words: str) -> str:
        """The first line of the screen that has `words`."""
        return next(line for line in self.lines() if words in line)


def host(
    pane: Widget,
    trace: Trace,
    walk: Callable[[Stage], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
    **facts: Any,
) -> None:
    """Run `pane` in a host of this size, and `walk` in it."""

    async def run() -> None:
        app = Host(pane, trace, **facts)
        async with app.run_test(size=size) as pilot:
            stage = Stage(app, pilot)
            await stage.settle()
            await walk(stage)

    asyncio.run(run())
