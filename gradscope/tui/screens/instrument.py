"""The instrument: all panes, and the keys that travel. It makes each `Scene` and shows it to every pane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer
from textual.worker import get_current_worker

from ...errors import GradscopeError
from ...model.graph import Graph, GraphKind
from .. import cursor
from ..cursor import Place
from ..messages import Notice, Select, Travel
from ..scene import Pane, Scene
from ..session import Loaded, Session
from ..subject import same_node
from ..widgets.graph import GraphPane
from ..widgets.header import HeaderPane
from ..widgets.inspector import InspectorPane
from ..widgets.parameters import ParametersPane
from ..widgets.source import SourcePane
from ..widgets.timeline import TimelinePane
from ..words import step_word


class Instrument(Screen[None]):
    """Holds where the cursor is and what is selected; `scene` is what is shown, None until the first step is read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "moment(-1)", "back", priority=True),
        Binding("right", "moment(1)", "on", priority=True),
        Binding("left_square_bracket", "phase(-1)", "phase", key_display="[", priority=True),
        Binding("right_square_bracket", "phase(1)", "phase", key_display="]", priority=True),
        Binding("left_curly_bracket", "step(-1)", "step", key_display="{", priority=True),
        Binding("right_curly_bracket", "step(1)", "step", key_display="}", priority=True),
        Binding("home", "edge(-1)", "start", priority=True, show=False),
        Binding("end", "edge(1)", "end", priority=True, show=False),
        Binding("v", "kind", "forward/backward"),
        Binding("escape", "select(None)", "follow the cursor", show=False),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, session: Session, name: str, start: Place | None = None, *, ascii: bool = False) -> None:
        super().__init__()
        self.session = session
        self.script = name
        self.aim = start
        self.ascii = ascii
        self.kind = GraphKind.BOTH
        self.steps: Sequence[int] = ()
        self.scene: Scene | None = None

    def compose(self) -> ComposeResult:
        yield HeaderPane(self.script, id="header")
        with Horizontal(id="panes"):
            with Vertical(id="left"):
                yield GraphPane(id="graph")
                yield ParametersPane(id="parameters")
            with Vertical(id="right"):
                yield InspectorPane(id="inspector")
                yield SourcePane(id="source")
        yield TimelinePane(id="timeline")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._open()

    @property
    def header(self) -> HeaderPane:
        return self.query_one("#header", HeaderPane)

    def panes(self) -> Iterable[Pane]:
        for name in ("header", "graph", "inspector", "source", "parameters", "timeline"):
            yield cast(Pane, self.query_one(f"#{name}", Widget))

    # -- reading, in worker threads --------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="read")
    def _open(self) -> None:
        try:
            steps = self.session.trace.source.step_numbers()
        except GradscopeError as error:
            self.app.call_from_thread(self.complain, error)
            return
        self.app.call_from_thread(self._opened, steps)

    def _opened(self, steps: Sequence[int]) -> None:
        self.steps = steps
        if not steps:
            self.header.say("no step was recorded yet")
            return
        first = next((step for step in steps if step >= 0), steps[0])
        self.travel(self.aim or Place(first, cursor.START))

    @work(thread=True, exclusive=True, group="read")
    def _read(self, place: Place, kind: GraphKind) -> None:
        worker = get_current_worker()
        try:
            loaded = self.session.load(place.step)
            graph = self.session.build(loaded, kind)
        except GradscopeError as error:
            if not worker.is_cancelled:
                self.app.call_from_thread(self.complain, error)
            return
        if not worker.is_cancelled:
            self.app.call_from_thread(self._arrive, place, loaded, graph)

    # -- travelling ------------------------------------------------------------------------------------

    def travel(self, place: Place) -> None:
        """Go to `place`: at once if its step was read, else when it is."""
        self.aim = place
        loaded = self.session.step(place.step)
        graph = self.session.graph(loaded, self.kind) if loaded is not None else None
        if loaded is not None and graph is not None:
            self._arrive(place, loaded, graph)
        else:
            self.header.say(f"reading {step_word(place.step)}…")
            self._read(place, self.kind)

    def _arrive(self, place: Place, loaded: Loaded, graph: Graph) -> None:
        before = self.scene
        here = before.moment if before else cursor.START
        same = before is not None and before.step.row.template == loaded.template
        self.aim = cursor.resolve(place, len(loaded), here, same)
        selected = before.selected if before else None
        if before is not None and selected is not None and before.graph is not graph:
            selected = same_node(before.graph.by_id.get(selected), graph)
        self.header.say("")
        self.display_scene(
            Scene(
                trace=self.session.trace,
                step=loaded.step,
                moment=self.aim.moment,
                state=loaded.history.at(self.aim.moment),
                kind=self.kind,
                graph=graph,
                selected=selected,
                ascii=self.ascii,
                step_numbers=self.steps,
                samples=loaded.samples,
            )
        )

    def display_scene(self, scene: Scene) -> None:
        self.scene = scene
        for pane in self.panes():
            pane.show(scene)

    def complain(self, error: GradscopeError) -> None:
        self.header.say("")
        self.notify(str(error), severity="error", timeout=10)

    # -- keys ------------------------------------------------------------------------------------------

    def _here(self) -> tuple[Place, Loaded] | None:
        """Where the cursor is going, if that step was read; keys pressed before that wait for nothing."""
        loaded = self.session.step(self.aim.step) if self.aim is not None else None
        if self.aim is None or loaded is None or self.aim.moment < cursor.START:
            return None
        return self.aim, loaded

    def action_moment(self, by: int) -> None:
        if (here := self._here()) is not None:
            self.travel(cursor.by_moments(here[0], by, len(here[1]), self.steps))

    def action_phase(self, by: int) -> None:
        if (here := self._here()) is not None:
            self.travel(cursor.by_phases(here[0], by, here[1].landmarks.phases, self.steps))

    def action_step(self, by: int) -> None:
        if self.aim is not None:
            self.travel(cursor.by_steps(self.aim, by, self.steps))

    def action_edge(self, by: int) -> None:
        if (here := self._here()) is not None:
            self.travel(Place(here[0].step, cursor.LAST if by > 0 else cursor.START))

    def action_kind(self) -> None:
        kinds = list(GraphKind)
        self.kind = kinds[(kinds.index(self.kind) + 1) % len(kinds)]
        if self.aim is not None:
            self.travel(self.aim)

    def action_select(self, node: int | None) -> None:
        self.post_message(Select(node))

    # -- messages of the panes ---------------------------------------------------------------------------

    @on(Travel)
    def _travel(self, message: Travel) -> None:
        self.travel(Place(message.step, message.moment))

    @on(Select)
    def _select(self, message: Select) -> None:
        if self.scene is not None:
            self.display_scene(replace(self.scene, selected=message.node))

    @on(Notice)
    def _notice(self, message: Notice) -> None:
        self.notify(message.text, severity=message.severity)
