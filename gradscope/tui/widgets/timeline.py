"""The timeline: the phases of this step as a bar, all steps as a strip of losses and gradients, findings as ticks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import get_current_worker

from ...errors import GradscopeError
from ...model.records import Phase, StepRow
from ...model.trace import Trace
from ...render.signs import to_ascii
from ...text import elide, number
from ..cursor import SAME
from ..curves import Curves
from ..differences import WIDTH, difference
from ..messages import Notice, Travel
from ..phases import PhaseBar
from ..plots import spark
from ..scene import Scene
from ..words import phase_word, step_word
from .painted import Painted

_LABEL = 14  # columns
_WIDEST = 3  # cells a step, where there are few
_PHASE_STYLES = {
    Phase.FORWARD: "forward",
    Phase.LOSS: "loss",
    Phase.BACKWARD: "backward",
    Phase.OPTIMIZER_STEP: "update",
    Phase.SCHEDULER_STEP: "update",
    Phase.ZERO_GRAD: "update",
}
_Part = tuple[str, "Style | None"]


class TimelinePane(Painted, Widget, can_focus=True):
    """A click or a drag posts `Travel`: on the bar to a moment, on the strips to a step."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "timeline--label",
        "timeline--now",
        "timeline--ahead",
        "timeline--forward",
        "timeline--loss",
        "timeline--backward",
        "timeline--update",
        "timeline--other",
        "timeline--finding",
        "timeline--curve",
        "timeline--beside",
    }
    DEFAULT_CSS = """
    TimelinePane {
        & > .timeline--label { color: $text-muted; }
        & > .timeline--now { color: $text-accent; text-style: bold reverse; }
        & > .timeline--ahead { text-style: dim; }
        & > .timeline--forward { color: $text-primary; }
        & > .timeline--loss { color: $text-secondary; }
        & > .timeline--backward { color: $text-warning; }
        & > .timeline--update { color: $text-success; }
        & > .timeline--other { color: $text-muted; }
        & > .timeline--finding { color: $text-error; text-style: bold; }
        & > .timeline--curve { color: $text-primary; }
        & > .timeline--beside { color: $text-success; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Timeline"
        self.scene: Scene | None = None
        self.curves = Curves()
        self._bar: tuple[object, PhaseBar] | None = None
        self._ticks: tuple[object, object, frozenset[int]] = (None, None, frozenset())
        self._dragged: str | None = None
        self._asked: tuple[int, int] | None = None

    def show(self, scene: Scene) -> None:
        before, self.scene = self.scene, scene
        if before is None or before.trace is not scene.trace or len(before.step_numbers) != len(scene.step_numbers):
            self._read(scene.trace)
        self.repaint()

    @work(thread=True, exclusive=True, group="curves")
    def _read(self, trace: Trace) -> None:
        worker = get_current_worker()
        try:
            self.curves.read(trace, lambda: not worker.is_cancelled)
        except GradscopeError as error:
            self.post_message(Notice(str(error), "error"))
        if not worker.is_cancelled:
            self.app.call_from_thread(self.refresh)

    # -- what lies where -------------------------------------------------------------------------------

    def bar(self, width: int) -> PhaseBar:
        """The phases of the scene's step on `width` cells."""
        assert self.scene is not None
        row = self.scene.step.row
        key = (self.scene.trace, row.template, row.number, width)
        if self._bar is None or self._bar[0] != key:
            self._bar = (key, PhaseBar.of(self.scene.step, width))
        return self._bar[1]

    def _rows(self) -> list[str]:
        """What each line shows, the most useful first where there are few."""
        height = self.content_size.height
        if height >= 4:
            return ["phases", "losses", "gradients", "steps"]
        return ["phases", "losses", "steps"][: max(height, 1)] if height != 2 else ["phases", "steps"]

    @property
    def _label(self) -> int:
        """Columns for what a strip is and its number now, with the difference where steps are compared."""
        return _LABEL + (WIDTH if self.scene is not None and self.scene.other is not None else 0)

    def _strip_width(self) -> int:
        return max(self.content_size.width - self._label, 4)

    def _scale(self) -> tuple[int, int]:
        """(cells, cells a step) of the strips; with more steps than cells, several steps share one."""
        assert self.scene is not None
        width, count = self._strip_width(), max(len(self.scene.step_numbers), 1)
        wide = min(width // count, _WIDEST)
        return (count * wide, wide) if wide else (width, 0)

    def step_at(self, cell: int) -> int | None:
        """The first step that lies on a cell of the strips."""
        assert self.scene is not None
        steps = self.scene.step_numbers
        if not steps:
            return None
        cells, wide = self._scale()
        cell = min(max(cell, 0), cells - 1)
        return steps[cell // wide if wide else -(-cell * len(steps) // cells)]

    def cell_of_step(self, step: int) -> int:
        """The first cell of the strips that a step lies on."""
        assert self.scene is not None
        steps = self.scene.step_numbers
        place = bisect_left(steps, step)
        cells, wide = self._scale()
        return place * wide if wide else min(place * cells // len(steps), cells - 1)

    # -- drawing ---------------------------------------------------------------------------------------

    def paint_line(self, y: int) -> Strip:
        width = self.content_size.width
        rows = self._rows()
        if self.scene is None or y >= len(rows):
            return Strip.blank(width, self.rich_style)
        drawn = {"phases": self._phases, "steps": self._steps}.get(rows[y])
        parts = drawn(width) if drawn else self._curve(rows[y])
        plain = self.scene.ascii
        strip = Strip([Segment(to_ascii(words) if plain else words, style) for words, style in parts if words])
        return strip.crop_extend(0, width, self.rich_style).apply_style(self.rich_style)

    def _look(self, name: str) -> Style:
        style = self.get_component_rich_style(f"timeline--{name}")
        return Style(color=style.color, bold=style.bold, dim=style.dim, reverse=style.reverse)

    def _phases(self, width: int) -> Iterator[_Part]:
        assert self.scene is not None
        bar, moment = self.bar(width), self.scene.moment
        if not bar.stretches:
            yield "nothing of torch ran in this step", self._look("label")
            return
        now = bar.cell_of(moment)
        yield ("◆", self._look("now")) if now == 0 else ("◇", self._look("label"))
        for stretch in bar.stretches:
            style = self._look(_PHASE_STYLES.get(stretch.phase, "other"))
            ahead = stretch.first > moment
            reached = now - stretch.cell
            for part, is_now in _split(self._stretch(stretch.phase, stretch.width, reached), reached):
                yield part, self._look("now") if is_now else style + self._look("ahead") if ahead else style

    @staticmethod
    def _stretch(phase: Phase, width: int, reached: int) -> str:
        """`│backward━━━━◆────`: heavy up to the cursor, light after it."""
        name = elide(phase_word(phase), max(width - 1, 1)) if width > 2 else ""
        cells = [("━" if place < reached else "─") for place in range(width)]
        cells[0] = "│"
        cells[1 : 1 + len(name)] = name
        if 0 <= reached < width:
            cells[reached] = "◆"
        return "".join(cells)

    def _curve(self, which: str) -> Iterator[_Part]:
        assert self.scene is not None
        loss, gradient = self.curves.at(self.scene.step.number)
        now = loss if which == "losses" else gradient
        name = "loss" if which == "losses" else "|grad|"
        value = "" if now is None else number(now, 3)
        yield f"{name:<6}{value:>7} ", self._look("label")
        if self.scene.other is not None:
            yield f"{_difference(which, self.scene, self.scene.other):<{WIDTH}}", self._look("beside")
        cells, wide = self._scale()
        drawn = spark(self.curves.drawn(which, cells), ascii=self.scene.ascii, log=which == "gradients")
        drawn = "".join(sign * max(wide, 1) for sign in drawn)
        cell = self.cell_of_step(self.scene.step.number)
        for part, is_now in _split(drawn, cell):
            yield part, self._look("now") if is_now else self._look("curve")

    def _steps(self, width: int) -> Iterator[_Part]:
        assert self.scene is not None
        steps, here = self.scene.step_numbers, self.scene.step.number
        yield f"{step_word(here):<{self._label - 1}} ", self._look("label")
        room = self._scale()[0] if steps else 0
        ticks, cell = self._finding_cells(self.scene), self.cell_of_step(here)
        drawn = list("━" * min(cell, room) + "─" * max(room - cell, 0))
        for place in (place for place in ticks if place < room):
            drawn[place] = "!"
        pinned = self._pinned_cell(self.scene)
        if pinned is not None and pinned < room:
            drawn[pinned] = "P"
        if cell < room and cell not in ticks:
            drawn[cell] = "◆"
        for place, part in _runs("".join(drawn)):
            finding = part[0] == "!"
            yield part, self._look("now" if place == cell else "finding" if finding else "label")
        last = f" {steps[-1]}" if steps else ""
        if width - self._label - room >= len(last):
            yield last, self._look("label")

    def _pinned_cell(self, scene: Scene) -> int | None:
        """Where the step that all is compared with lies, if it is one of this trace."""
        against = scene.against
        if against is None or against.scene is None or against.pairing is None or not against.pairing.own:
            return None
        return self.cell_of_step(against.scene.step.number)

    def _finding_cells(self, scene: Scene) -> frozenset[int]:
        known, key, cells = self._ticks
        if known is not scene.findings or key != (len(scene.step_numbers), self._scale()):
            key = (len(scene.step_numbers), self._scale())
            cells = frozenset(self.cell_of_step(one.step) for one in scene.findings if one.step is not None)
            self._ticks = (scene.findings, key, cells)
        return cells

    # -- mouse -----------------------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        offset = event.get_content_offset(self)
        rows = self._rows()
        if offset is None or offset.y >= len(rows) or self.scene is None:
            return
        self._dragged = "phases" if rows[offset.y] == "phases" else "steps"
        self.capture_mouse()
        self._travel(offset.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged is not None:
            self._travel(event.get_content_offset_capture(self).x, drags=True)

    def on_mouse_up(self) -> None:
        self._dragged = self._asked = None
        self.release_mouse()

    def _travel(self, cell: int, *, drags: bool = False) -> None:
        assert self.scene is not None
        if self._dragged == "phases":
            width = self.content_size.width
            place = (self.scene.step.number, self.bar(width).moment_at(min(max(cell, 0), width - 1)))
        else:
            step = self.step_at(cell - self._label)
            if step is None:
                return
            place = (step, SAME)
        if place != self._asked:
            self._asked = place
            self.post_message(Travel(*place, drags=drags))


def _difference(which: str, mine: Scene, other: Scene) -> str:
    rows = mine.step.row, other.step.row
    if which == "losses":
        return difference(rows[0].loss, rows[1].loss)
    return difference(*(_all_gradients(row) for row in rows))


def _all_gradients(row: StepRow) -> float | None:
    norms = [gradient for _, _, gradient in row.norms if gradient is not None]
    return math.hypot(*norms) if norms else None


def _split(drawn: str, cell: int) -> Sequence[tuple[str, bool]]:
    """`drawn` before, at and after a cell, and which of them is it."""
    if not 0 <= cell < len(drawn):
        return [(drawn, False)]
    return [(drawn[:cell], False), (drawn[cell], True), (drawn[cell + 1 :], False)]


def _runs(drawn: str) -> Iterator[tuple[int, str]]:
    """(place, sign repeated) for each stretch of one sign."""
    place = 0
    for _, same in groupby(drawn):
        run = "".join(same)
        yield place, run
        place += len(run)
