"""The source: the user's file around the line that the cursor is at, or the whole call stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.highlight import highlight
from textual.strip import Strip
from textual.worker import get_current_worker

from ...model.graph import SourceLine
from ...model.moments import NodeRun
from ...model.records import Site
from ...text import printable
from ..finding_lines import CodeLine
from ..messages import Notice, Select, ToLine
from ..scene import Scene
from ..source_names import lines_that_ran, tensors_named
from ..sources import SourceText, read_source
from ..subject import Subject, node_of
from ..themes import MUTED
from ..words import line_word
from .lines import LinesPane

_COLUMNS = 8  # that one key moves sideways
_COLOURED = 20_000  # lines; more are shown without colours


class SourcePane(LinesPane):
    """The file that the moment's call is in: ▶ the line, ▹ its callers, ◂ where the running grad node was made.

    · stands beside the other lines that ran in this step. `cursor` is a line's position, None at the moment's own.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding(
            "enter", "choose", "go to line", key_display="enter", tooltip="What the line did; again: what it did next"
        ),
        Binding(
            "W", "watch", "watch", tooltip="Select a tensor that the line names, . and , follow it; again: the next one"
        ),
        Binding("h,shift+left", "sideways(-1)", "to the left", show=False, key_display="h"),
        Binding("l,shift+right", "sideways(1)", "to the right", show=False, key_display="l"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"source--cursor"}
    DEFAULT_CSS = """
    SourcePane {
        & > .source--cursor { background: $surface-lighten-2; }
        &:focus > .source--cursor { background: $block-cursor-background 45%; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Source"
        self.scene: Scene | None = None
        self.text: SourceText | None = None
        self.line: SourceLine | None = None  # what the pane is at; the application copies and opens it
        self.shows_stack = False
        self._code: Sequence[Content] = ()
        self._files: dict[str, tuple[SourceText, Sequence[Content]]] = {}
        self._reading: set[str] = set()
        self._marks: dict[int, str] = {}
        self.cursor: int | None = None
        self._ran: tuple[object, frozenset[int]] = (None, frozenset())
        self._first_column = 0

    def show(self, scene: Scene) -> None:
        self.scene = scene
        sites = sites_at(scene, scene.moment)
        made = _made_at(scene)
        here = made or (sites[0] if sites else None)
        before, self.line = self.line, SourceLine(here.file, here.line, here.code) if here is not None else None
        if before != self.line:
            self.cursor = None
        if self.shows_stack:
            self._show_stack(sites, made)
        elif here is None:
            self._show_nothing()
        else:
            self._show_file(scene, sites, made, here)

    def toggle_stack(self) -> None:
        """Show the whole call stack, or the file again."""
        self.shows_stack = not self.shows_stack
        if self.scene is not None:
            self.show(self.scene)

    def path(self) -> Path | None:
        """Where the file of the line lies, if it was found."""
        known = self._files.get(self.line.file) if self.line is not None else None
        return known[0].path if known is not None else None

    def forget(self) -> None:
        """Read files anew: they may have been edited."""
        self._files.clear()
        if self.scene is not None:
            self.show(self.scene)

    # -- what is shown -----------------------------------------------------------------------------------

    def _show_nothing(self) -> None:
        self.entitle("Source", "")
        self.text, self._code = None, ()
        self.set_lines([Content.styled("this moment has no line of its own", MUTED)])

    def _show_stack(self, sites: Sequence[Site], made: Site | None) -> None:
        self.entitle("Call stack, innermost first", "s: file")
        lines = []
        if made is not None:
            lines += [*_frame(made, "made in the forward pass at "), Content("")]
        for site in sites:
            lines += _frame(site)
        self.text = None
        self.set_lines(lines or [Content.styled("this moment has no line of its own", MUTED)])

    def _show_file(self, scene: Scene, sites: Sequence[Site], made: Site | None, here: Site) -> None:
        self.entitle(f"Source  {_file_word(self.line)}")
        known = self._files.get(here.file)
        if known is None:
            self.entitle(subtitle="reading…")
            self.text = None
            self.set_lines([Content(f"{here.line:>5}  {printable(here.code.strip())}")])
            if here.file not in self._reading:
                self._reading.add(here.file)
                self._read(here.file, scene)
            return
        self.text, self._code = known
        arrow = ("▶", "▹", "◂")
        self._marks = self._marks_of(scene, here.file)
        for sign, marked in ((arrow[1], sites[1:]), (arrow[0], sites[:1]), (arrow[2], [made] if made else [])):
            for site in marked:
                place = self.text.place(site.line) if site.file == here.file else None
                if place is not None:
                    self._marks[place] = sign
        problem = self.text.problem
        self.entitle(subtitle=f"! {_file_word(self.line)} {problem}" if problem else "")
        self.set_length(len(self._code))
        place = self.text.place(here.line)
        if place is not None:
            self.reveal(place)

    def _marks_of(self, scene: Scene, file: str) -> dict[int, str]:
        """· at the lines that ran in this step."""
        assert self.text is not None
        key = (scene.step.row.template, len(scene.step.moments), file)
        if self._ran[0] != key:
            self._ran = (key, lines_that_ran(scene.step, file))
        places = (self.text.place(line) for line in self._ran[1])
        return {place: "·" for place in places if place is not None}

    def line_at(self, number: int) -> Content | None:
        if self.text is None:
            return super().line_at(number)
        if number >= len(self._code):
            return None
        sign = self._marks.get(number, " ")
        line = self.text.numbers[number]
        code = self._code[number][self._first_column :]
        if sign in " ·":
            return Content.assemble((f"{sign} {line:>4}  ", MUTED), code)
        content = Content.assemble((f"{sign} {line:>4}  ", "bold $text-accent"), code)
        return content.stylize_before("on $accent-muted") if self._is_here(line) else content

    def paint_line(self, y: int) -> Strip:
        strip = super().paint_line(y)
        if self.text is not None and self.scroll_offset.y + y == self.cursor:
            cursor = self.get_component_rich_style("source--cursor")
            strip = strip.apply_style(Style(bgcolor=cursor.bgcolor, bold=True))
        return strip

    def _is_here(self, line: int) -> bool:
        return self.line is not None and self.line.line == line

    # -- keys ----------------------------------------------------------------------------------------------

    def _at(self) -> int | None:
        """The position of the cursor, or of the moment's own line."""
        if self.text is None or self.line is None:
            return None
        return self.cursor if self.cursor is not None else self.text.place(self.line.line)

    def action_move(self, by: int) -> None:
        if self.text is None:
            self.scroll_relative(y=by, animate=False)
            return
        at = self._at()
        start = at if at is not None else round(self.scroll_offset.y) - (by > 0)
        self.cursor = min(max(start + by, 0), len(self._code) - 1)
        self.reveal(self.cursor, centre=False)
        self.repaint()

    def action_page(self, by: int) -> None:
        self.action_move(by * max(self.scrollable_content_region.height - 1, 1))

    def action_sideways(self, by: int) -> None:
        widest = max((line.cell_length for line in self._code), default=0)
        self._first_column = min(max(self._first_column + by * _COLUMNS, 0), max(widest - _COLUMNS, 0))
        self.repaint()

    def action_choose(self) -> None:
        at = self._at()
        if at is not None and self.text is not None:
            self.post_message(ToLine(self.text.file, self.text.numbers[at]))

    def action_watch(self) -> None:
        """Select a tensor that the line names; the one after the selected one, if that is named there."""
        at, scene = self._at(), self.scene
        if at is None or self.text is None or scene is None:
            return
        line, template = CodeLine(self.text.file, self.text.numbers[at]), scene.step.template
        tensors = tensors_named(scene.step, line, self.text.lines[at], scene.moment)
        nodes = [node_of(template, scene.graph, Subject(tensor=tensor)) for tensor in tensors]
        shown = [node for node in nodes if node is not None]
        if not shown:
            self.post_message(Notice("The graph shows no tensor that this line names."))
            return
        after = shown.index(scene.selected) + 1 if scene.selected in shown else 0
        node = shown[after % len(shown)]
        self.post_message(Select(node))
        self.post_message(Notice(f"Watching {scene.graph.by_id[node].name}: . and , lead to its changes."))

    # -- reading, in a worker thread -----------------------------------------------------------------------

    @work(thread=True)
    def _read(self, file: str, scene: Scene) -> None:
        trace = scene.trace
        folders = [Path(part).parent for part in (trace.path, trace.info.script) if part]
        text = read_source(file, trace.source.sites().values(), folders)
        joined = "\n".join(text.lines)
        if len(text.lines) <= _COLOURED:
            code = highlight(joined, language="python").split(allow_blank=True)
        else:
            code = Content(joined).split(allow_blank=True)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._was_read, file, text, code)

    def _was_read(self, file: str, text: SourceText, code: Sequence[Content]) -> None:
        self._reading.discard(file)
        self._files[file] = (text, code)
        if self.scene is not None:
            self.show(self.scene)


def _file_word(line: SourceLine | None) -> str:
    return line_word(line).partition(":")[0]


def sites_at(scene: Scene, moment: int) -> list[Site]:
    """The user's frames at a moment, innermost first; at a step's start those of its first moment that has any."""
    source = scene.trace.source
    moments = scene.step.moments
    stack = (
        moments[moment].stack
        if moment >= 0
        else next((one.stack for one in moments[:50] if one.stack is not None), None)
    )
    found = source.stacks().get(stack) if stack is not None else None
    sites = source.sites()
    return [sites[number] for number in found.sites if number in sites] if found else []


def _made_at(scene: Scene) -> Site | None:
    """For a grad node that runs: the line of the op that made it."""
    moment = scene.step.moments[scene.moment] if scene.moment >= 0 else None
    if not isinstance(moment, NodeRun):
        return None
    node = scene.step.graphs[moment.graph].nodes[moment.node]
    if node.op is not None:
        return next(iter(sites_at(scene, node.op)), None)
    if node.tensor is not None:
        return None
    found = scene.trace.source.stacks().get(node.stack) if node.stack is not None else None
    return scene.trace.source.sites().get(found.sites[0]) if found and found.sites else None


def _frame(site: Site, before: str = "") -> list[Content]:
    line = SourceLine(site.file, site.line, site.code)
    head = Content.assemble(before, (line_word(line), "bold $text-accent"), (f"  in {printable(site.function)}", MUTED))
    return [head, Content(f"    {printable(site.code.strip())}")]
