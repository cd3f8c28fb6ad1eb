"""The inspector: everything known of the selected node, or of what the cursor's moment is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import events
from textual.content import Content

from ..inspection.compared import compared_sheet
from ..inspection.facts import Fact, Sheet, Tone
from ..messages import Travel
from ..scene import Scene
from ..subject import Subject, sights_of, subject_at
from ..themes import MUTED
from .lines import LinesPane

_LABEL = 15  # columns
_STYLES = {Tone.PLAIN: "", Tone.GOOD: "$text-success", Tone.BAD: "bold $text-error", Tone.DIM: MUTED}
_SIGNS = {Tone.BAD: "! "}


class InspectorPane(LinesPane):
    """Facts of one tensor or grad node at the scene's moment. A click on a fact that has a moment goes there."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Inspector"
        self.scene: Scene | None = None
        self.sheet: Sheet | None = None
        self._subject: Subject | None = None
        self._moments: dict[int, int] = {}  # line -> the moment it speaks of

    def show(self, scene: Scene) -> None:
        self.scene = scene
        subject = subject_in(scene)
        if subject != self._subject:
            self._subject = subject
            self.scroll_to(y=0, animate=False, immediate=True, force=True)
        self.sheet = compared_sheet(scene, subject)
        self.entitle(f"Inspector: {'selected' if scene.selected is not None else 'this moment'}")
        self._lay_out()

    def on_resize(self) -> None:
        self._lay_out()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or self.scene is None:
            return
        moment = self._moments.get(self.scroll_offset.y + offset.y)
        if moment is not None:
            self.post_message(Travel(self.scene.step.number, moment))

    def _lay_out(self) -> None:
        if self.sheet is None:
            return
        width = max(self.scrollable_content_region.width, 20)
        self._moments = {}
        lines: list[Content] = []
        for line, moment in _lines(self.sheet, width):
            if moment is not None:
                self._moments[len(lines)] = moment
            lines.append(line)
        self.set_lines(lines)


def subject_in(scene: Scene) -> Subject:
    """What the panes speak of: the selected node, else what the moment is about."""
    if scene.selected is not None and (node := scene.graph.by_id.get(scene.selected)) is not None:
        found = sights_of(scene.step.template, scene.graph, node)
        if found[0] != Subject():
            return _latest(scene, found)
    return subject_at(scene.step.template, scene.moment)


def _latest(scene: Scene, sights: Sequence[Subject]) -> Subject:
    """Of a node that several backwards run through, the sight of the one that the moment is in, or comes after."""
    starts = {one: scene.touches.backward(one.grad[0]) for one in sights if one.grad is not None}
    begun = [one for one, start in starts.items() if start is not None and start <= scene.moment]
    return begun[-1] if begun else sights[0]


def _lines(sheet: Sheet, width: int) -> Iterator[tuple[Content, int | None]]:
    for line in Content.assemble((sheet.title, "bold $text-accent"), "  ", (sheet.kind, MUTED)).wrap(width):
        yield line, None
    for line in Content.styled(sheet.verdict, "italic").wrap(width):
        yield line, None
    for section in sheet.sections:
        yield Content(""), None
        yield Content.styled(section.title, "bold $text-primary"), None
        for fact in section.facts:
            for line in _fact_lines(fact, width):
                yield line, fact.moment


def _fact_lines(fact: Fact, width: int) -> Iterator[Content]:
    style = _STYLES[fact.tone]
    text = Content.styled(_SIGNS.get(fact.tone, "") + fact.text, style)
    label = f"{fact.label} " if len(fact.label) >= _LABEL else f"{fact.label:<{_LABEL}}"
    indent = " " * _LABEL
    room = max(width - _LABEL, 10)
    for place, line in enumerate(text.wrap(room)):
        yield Content.assemble((label, MUTED), line) if place == 0 else Content.assemble(indent, line)
