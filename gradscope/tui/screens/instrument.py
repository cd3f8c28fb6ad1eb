"""The instrument: its panes, and the keys that ask, list, export and leave."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, cast

from textual import events, work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import ActiveBinding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, get_current_worker

from ...errors import GradscopeError
from ...model.findings import Finding
from ...model.graph import Graph
from ...model.trace import Trace
from ...text import printable
from .. import cursor, export, jumps
from ..cursor import Place
from ..follow import INTERVAL
from ..keys import KEYS
from ..outside import editor_command, startable
from ..scene import Pane
from ..session import Session
from ..subject import parameter_of
from ..themes import MUTED
from ..touches import Event, Touch
from ..widgets.chart import ChartScreen
from ..widgets.graph import GraphPane
from ..widgets.header import HeaderPane
from ..widgets.hints import Hints
from ..widgets.inspector import InspectorPane
from ..widgets.parameters import ParametersPane
from ..widgets.source import SourcePane
from ..widgets.tabs import TabStrip
from ..widgets.timeline import TimelinePane
from ..words import line_word, moment_words, node_word, step_word, tensor_word
from .asking import Choice, Picker, Prompt
from .help import Help
from .traveller import Traveller

PANES = (("graph", "Graph"), ("inspector", "Inspector"), ("source", "Source"), ("parameters", "Parameters"))
_WIDE, _HIGH = 110, 28  # from this size on, panes stand side by side
_LEAST = (50, 14)


class Instrument(Traveller):
    """The screen of `gradscope view`."""

    BINDINGS: ClassVar[list[BindingType]] = [key.binding() for keys in KEYS.values() for key in keys]

    def __init__(
        self,
        session: Session,
        name: str,
        start: Place | None = None,
        *,
        ascii: bool = False,
        findings: Callable[[Trace], Sequence[Finding]] | None = None,
        reopen: Callable[[], Trace] | None = None,
    ) -> None:
        super().__init__(session, start, ascii=ascii, findings=findings, reopen=reopen)
        self.script = name
        self.active = "graph"
        self.narrow = False
        self._export: Worker[None] | None = None
        self._looking: Timer | None = None

    def compose(self) -> ComposeResult:
        yield HeaderPane(self.script, follows=self._follower is not None, id="header")
        yield TabStrip(PANES, id="tabs")
        with Horizontal(id="panes"):
            with Vertical(id="left"):
                yield GraphPane(id="graph")
                yield ParametersPane(id="parameters")
            with Vertical(id="right"):
                yield InspectorPane(id="inspector")
                yield SourcePane(id="source")
        yield TimelinePane(id="timeline")
        yield Static(id="small")
        yield Hints(id="hints")

    def on_mount(self) -> None:
        self.open()
        self.call_after_refresh(self.judge)
        if self._follower is not None:
            self._looking = self.set_interval(INTERVAL, self.look)

    def on_unmount(self) -> None:
        close = getattr(self._findings, "close", None)
        if close is not None:
            close()
        if self._follower is not None:
            self._follower.close()

    def stop_following(self) -> None:
        if self._looking is not None:
            self._looking.stop()
            self._looking = None
        self.query_one("#header", HeaderPane).follows(False)

    def say(self, note: str) -> None:
        self.query_one("#header", HeaderPane).say(note)

    # -- layout ----------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.narrow = width < _WIDE or height < _HIGH
        small = width < _LEAST[0] or height < _LEAST[1]
        self.set_class(self.narrow, "-narrow")
        self.set_class(small, "-small")
        if small:
            needed = f"{_LEAST[0]} by {_LEAST[1]}"
            text = f"This terminal is {width} by {height}; gradscope needs {needed}. Make it larger, or press q."
            self.query_one("#small", Static).update(Content(text))
        self._arrange()

    def _arrange(self) -> None:
        """Show all panes, or where there is no room the active one."""
        for name, _ in PANES:
            self.query_one(f"#{name}").display = not self.narrow or name == self.active
        left = self.active in ("graph", "parameters")
        self.query_one("#left").display = not self.narrow or left
        self.query_one("#right").display = not self.narrow or not left
        self.query_one("#tabs", TabStrip).activate(self.active)
        if self.scene is not None:
            self.display_scene(self.scene)

    def panes(self) -> Iterable[Pane]:
        """The panes that can be seen; a hidden one is shown the scene when it comes up."""
        for name in ("header", "timeline", *(name for name, _ in PANES)):
            pane = self.query_one(f"#{name}", Widget)
            if pane.display:
                yield cast(Pane, pane)

    def unfold(self, node: int) -> None:
        self.query_one("#graph", GraphPane).unfold_to(node)

    def action_pane(self, name: str) -> None:
        if name != "timeline" and name != self.active:
            self.active = name
            self._arrange()
        self.query_one(f"#{name}", Widget).focus()

    def action_next_pane(self, by: int) -> None:
        names = [name for name, _ in PANES] + ["timeline"]
        focused = self.focused.id if self.focused is not None and self.focused.id in names else None
        at = names.index(focused) + by if focused is not None else 0
        self.action_pane(names[at % len(names)])

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """In the order of the hints: those of the instrument stay in place, the pane's own follow."""
        found = super().active_bindings
        own = {key.key: found[key.key] for keys in KEYS.values() for key in keys if key.key in found}
        return {**own, **found}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Who types a search keeps the keys that move within a line."""
        if action in ("moment", "edge") and getattr(self.focused, "typing", False):
            return False
        return super().check_action(action, parameters)

    def action_chart(self) -> None:
        """The chart of the selected parameter, or of the one under the table's cursor."""
        scene, table = self.scene, self.query_one("#parameters", ParametersPane)
        if scene is None:
            return
        node = scene.graph.by_id.get(scene.selected) if scene.selected is not None else None
        owner = parameter_of(scene.step.template, node) if node is not None else None
        known = scene.trace.names.parameters
        parameter = known.get(owner) if owner is not None else table.current or next(iter(known.values()), None)
        if parameter is None:
            self.notify("no parameter was recorded")
            return
        self.app.push_screen(ChartScreen(scene, parameter))

    # -- asking ----------------------------------------------------------------------------------------------

    def action_go_to(self) -> None:
        if self.aim is None:
            return
        here = self.aim

        def check(text: str) -> str | None:
            try:
                place = cursor.parse_place(text, here)
            except ValueError as error:
                return str(error)
            if place.step not in self.steps:
                near = min(self.steps, key=lambda step: abs(step - place.step))
                return f"there is no {step_word(place.step)}; the nearest is {near}"
            return None

        def go(text: str | None) -> None:
            if text is not None:
                self.travel(cursor.parse_place(text, here))

        last = self.steps[-1] if self.steps else 0
        hint = f"12 is step 12 (up to {last}), 12:40 its moment 40, :40 moment 40 of this step"
        self.app.push_screen(Prompt("Go to", hint, check=check), go)

    def action_when(self) -> None:
        """Every moment that concerns what the user looks at, the current one marked."""
        scene, tensor, subject = self.scene, self.tensor(), self.subject()
        if scene is None:
            return
        found: Sequence[Event] = ()
        name = "this"
        if tensor is not None:
            found, name = scene.touches.of(tensor), tensor_word(scene.step.tensors[tensor])
        elif subject.grad is not None:
            found = [Event(moment, Touch.RAN) for moment in scene.touches.runs(*subject.grad)]
            name = node_word(scene.step, scene.step.graphs[subject.grad[0]].nodes[subject.grad[1]])
        if not found:
            self.notify(f"No moment of this step concerns {name}.", markup=False)
            return
        at = max((place for place, event in enumerate(found) if event.moment <= scene.moment), default=0)
        choices = [Choice(self._event_line(event), event.moment) for event in found]
        self._pick(f"{name} in {step_word(scene.step.number)}: when and why", choices, at)

    def _event_line(self, event: Event) -> Content:
        assert self.scene is not None
        scene = self.scene
        where = line_word(next(iter(scene.trace.source_lines(scene.step.moments[event.moment].stack)), None))
        style = MUTED if event.moment > scene.moment else ""
        head = f"{event.moment + 1:>5}  {event.touch.value:<8}  {where:<20}  "
        return Content.assemble((head, style), (moment_words(scene.step, event.moment), style))

    def _pick(self, title: str, choices: Sequence[Choice[int]], at: int) -> None:
        step = self.scene.step.number if self.scene is not None else 0

        def go(moment: int | None) -> None:
            if moment is not None:
                self.travel(Place(step, moment))

        self.app.push_screen(Picker(title, choices, at), go)

    def action_findings(self) -> None:
        if not self.found:
            self.notify("There are no findings.")
            return
        signs = {"error": "E", "warning": "W", "note": "N"}
        choices = []
        for place, finding in enumerate(self.found):
            culprit = finding.culprit
            where = f"{culprit.file.rpartition('/')[2]}:{culprit.line}" if culprit is not None else "no line"
            head = f"{signs[finding.severity.value]} {finding.code}  {printable(where):<18}  "
            style = "bold $text-error" if finding.severity.value == "error" else "bold"
            choices.append(Choice(Content.assemble((head, style), printable(finding.message)), place))

        def go(place: int | None) -> None:
            if place is not None:
                self._go_to_finding(place)

        self.app.push_screen(Picker("Findings, the most likely culprit first", choices), go)

    @work(thread=True, exclusive=True, group="read")
    def _go_to_finding(self, position: int) -> None:
        finding = self.found[position]
        number = finding.step if finding.step is not None else self.aim.step if self.aim is not None else self.steps[0]
        try:
            loaded = self.session.load(number)
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        place = Place(number, jumps.finding_moment(loaded.step, finding))
        self.tell(self.travel, place, unfold=True)
        text = "\n".join(printable(part) for part in (finding.message, finding.fix) if part)
        self.tell(self.notify, text, title=finding.code, timeout=10, markup=False)

    def action_stack(self) -> None:
        if self.narrow:
            self.action_pane("source")
        self.query_one("#source", SourcePane).toggle_stack()

    def action_help(self) -> None:
        panes = [self.query_one(f"#{name}", Widget) for name in ("graph", "parameters", "timeline")]
        self.app.push_screen(Help(panes))

    def action_theme(self) -> None:
        self.app.theme = "gradscope-light" if self.app.current_theme.dark else "gradscope-dark"

    # -- taking away -------------------------------------------------------------------------------------------

    def _file_name(self, suffix: str) -> str:
        stem = Path(self.script).stem or "trace"
        number = self.scene.step.number if self.scene is not None else 0
        return f"{stem}-{step_word(number).replace(' ', '')}{suffix}"

    def action_export(self) -> None:
        if self._export is not None and self._export.is_running:
            self._export.cancel()
            self.say("")
            self.notify("The export was cancelled; nothing was written.")
            return
        if self.scene is None:
            return
        graph = self.shown_graph()

        def write(name: str | None) -> None:
            if name is not None:
                self.say(f"exporting {name.strip()}… x cancels")
                self._export = self._write(graph, Path(name.strip()).expanduser())

        hint = f"the suffix picks the format: {export.suffixes()}"
        title = f"Export this graph ({len(graph.nodes):,} nodes) to"
        self.app.push_screen(Prompt(title, hint, self._file_name(".svg"), export.wrong_name), write)

    def shown_graph(self) -> Graph:
        """The graph as the graph pane shows it: folded and focused."""
        assert self.scene is not None
        picture = self.query_one("#graph", GraphPane).picture
        return picture.shown if picture is not None else self.scene.graph

    @work(thread=True, exclusive=True, group="export", description="export")  # else the graph's repr
    def _write(self, graph: Graph, path: Path) -> None:
        worker = get_current_worker()
        theme = "dark" if self.app.current_theme.dark else "light"
        try:
            written = export.export_graph(
                graph, path, theme=theme, ascii=self.ascii, cancelled=lambda: worker.is_cancelled
            )
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        if written:
            self.tell(self._written, path)

    def _written(self, path: Path) -> None:
        self.say("")
        self.notify(f"Wrote {path}", markup=False)

    def action_export_screen(self) -> None:
        picture = export.plain_svg(self.app.export_screenshot(title=self.script))

        def check(name: str) -> str | None:
            return None if name.strip().endswith(".svg") else "a screen is saved as .svg"

        def write(name: str | None) -> None:
            if name is not None:
                self._write_text(picture, Path(name.strip()).expanduser())

        self.app.push_screen(Prompt("Save this screen to", "an .svg file", self._file_name("-ui.svg"), check), write)

    @work(thread=True, group="export")
    def _write_text(self, text: str, path: Path) -> None:
        try:
            export.save_text(text, path)
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        self.tell(self._written, path)

    def action_copy_line(self) -> None:
        line = self.query_one("#source", SourcePane).line
        if line is None:
            self.notify("This moment has no line.")
            return
        self._copy(f"{line.file}:{line.line}")

    def action_copy_value(self) -> None:
        sheet = self.query_one("#inspector", InspectorPane).sheet
        if sheet is not None and (sheet.value or sheet.title):
            self._copy(sheet.value or sheet.title)

    def _copy(self, text: str) -> None:
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {text[:200]}", markup=False)

    def action_edit(self) -> None:
        """Hand the terminal to the user's editor, and take it back."""
        source = self.query_one("#source", SourcePane)
        path = source.path()
        if source.line is None or path is None:
            self.notify("The file of this line is not here.", severity="warning")
            return
        try:
            command = startable(editor_command(path, source.line.line))
            with self.app.suspend():
                subprocess.run(command, check=False)
        except (ValueError, OSError) as error:
            self.notify(f"The editor did not start: {error}", severity="error", markup=False)
        except SuspendNotSupported:
            self.notify("This terminal cannot be handed to an editor.", severity="error")
        source.forget()
