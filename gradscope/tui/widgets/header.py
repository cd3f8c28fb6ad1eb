"""The header: which script, where the cursor is, what happened there and what holds, in two lines."""

from __future__ import annotations

from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from ...text import cells, elide, number, plural, printable
from ..differences import difference
from ..scene import Scene
from ..standing import standing
from ..themes import MUTED
from ..words import line_word, moment_words, phase_word, step_word
from .painted import Painted

_ENDS = {"failed": "the script failed", "killed": "the script was killed"}
_INTERRUPTED = "the script was interrupted"


class HeaderPane(Painted, Widget):
    """Two lines that are always there."""

    def __init__(self, name: str, *, follows: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._follows = follows
        self.script = printable(name)
        self.scene: Scene | None = None
        self.note = ""

    def show(self, scene: Scene) -> None:
        self.scene = scene
        self.repaint()

    def say(self, note: str) -> None:
        """What is going on, at the right: reading, following, exporting."""
        if note != self.note:
            self.note = note
            self.repaint()

    def follows(self, follows: bool) -> None:
        """Whether the trace is still growing."""
        self._follows = follows
        self.repaint()

    def paint_line(self, y: int) -> Strip:
        width, style = self.size.width, self.visual_style
        lines = self.lines()
        if y >= len(lines):
            return Strip.blank(width, style.rich_style)
        strip = Strip(lines[y].render_segments(style), lines[y].cell_length)
        return strip.crop_extend(0, width, style.rich_style)

    def lines(self) -> list[Content]:
        """What stands there now."""
        width = self.size.width
        if self.scene is None:
            waits = "waiting for the first step…" if self._follows else "reading the trace…"
            return [Content.assemble((f" {self.script}  ", "bold"), (self.note or waits, MUTED))]
        return [self._where(self.scene, width), self._what(self.scene, width)]

    def _where(self, scene: Scene, width: int) -> Content:
        count = len(scene.step.moments)
        steps = [step for step in scene.step_numbers[-1:] if step >= 0]
        step = step_word(scene.step.number) + (f"/{steps[0]}" if steps and steps[0] > 0 else "")
        moment = "" if scene.moment < 0 else f" ▸ moment {scene.moment + 1}/{count}"
        kind = f" {scene.step.kind.value}" if scene.step.number >= 0 else ""
        left = Content.assemble(
            (f" {elide(self.script, max(8, width // 4))}  ", "bold"),
            (step, "bold $text-accent"),
            f"{kind} ▸ ",
            (phase_word(scene.state.phase), "bold $text-warning"),
            moment,
            (_compared(scene), "bold $text-success"),
        )
        facts = []
        if scene.step.row.loss is not None:
            facts.append(f"loss {number(scene.step.row.loss)}{_loss_difference(scene)}")
        if scene.step.unwatched is not None:
            facts.append(scene.step.unwatched.told)
        info = scene.trace.info
        if (ended := _INTERRUPTED if info.interrupted else _ENDS.get(info.status)) is not None:
            facts.append(ended)
        if scene.findings:
            facts.append(plural(len(scene.findings), "finding"))
        if self._follows:
            facts.append("following")
        if self.note:
            facts.append(self.note)
        right = elide("  ".join(facts) + " ", max(1, width - left.cell_length - 1))
        room = width - left.cell_length - len(right)
        return Content.assemble(left, " " * max(room, 0), (right, MUTED)).truncate(width, ellipsis=True)

    def _what(self, scene: Scene, width: int) -> Content:
        words = moment_words(scene.step, scene.moment)
        line = None
        if scene.moment >= 0:
            line = next(iter(scene.trace.source_lines(scene.step.moments[scene.moment].stack)), None)
        place = f"{line_word(line)}  {printable(line.code.strip())}" if line else ""
        holds = printable(" · ".join(standing(scene)))
        right = f"  {holds} " if holds else ""
        room = max(width - cells(right), width // 2)
        text = Content.assemble((f" {words}", "bold"), (f"   {place}" if place else "", MUTED))
        text = text.truncate(room, ellipsis=True)
        return Content.assemble(text, " " * (room - text.cell_length), (right, "$text-success")).truncate(width)


def _compared(scene: Scene) -> str:
    """What all is compared with, and where that is at another moment than this one."""
    against = scene.against
    if against is None:
        return ""
    if against.scene is None:
        return f"  there is no {against.title}"
    other = against.scene
    place = "start" if other.moment < 0 else f"{other.moment + 1}/{len(other.step.moments)}"
    return f"  against {against.title}" + ("" if against.exact else f" ▸ {place}")


def _loss_difference(scene: Scene) -> str:
    other = scene.other
    return f" ({difference(scene.step.row.loss, other.step.row.loss)})" if other is not None else ""
