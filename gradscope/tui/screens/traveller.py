"""`Traveller`: where the cursor is, and how it gets elsewhere. Reading happens in worker threads, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from textual import on, work
from textual.screen import Screen
from textual.worker import get_current_worker

from ...errors import GradscopeError
from ...model.findings import Finding
from ...model.graph import Graph, GraphKind
from ...model.trace import Trace
from ...text import printable
from .. import cursor
from ..cursor import Place
from ..memory import kept
from ..messages import Notice, Select, Travel
from ..pin import Pin
from ..scene import Pane, Scene
from ..session import Loaded, Session
from ..subject import Subject, node_of, same_node, subject_at
from ..trail import Trail
from ..widgets.inspector import subject_in
from ..words import step_word


class Traveller(Screen[None]):
    """Makes each `Scene` and shows it to the panes. `scene` is None until the first step is read.

    `aim` is where the cursor is going: keys pressed while a step is being read count from there.
    """

    def __init__(
        self,
        session: Session,
        start: Place | None,
        *,
        ascii: bool,
        findings: Callable[[Trace], Sequence[Finding]] | None,
    ) -> None:
        super().__init__()
        self._findings = findings
        self.session = session
        self.aim = start
        self.ascii = ascii
        self.kind = GraphKind.BOTH
        self.steps: Sequence[int] = ()
        self.found: tuple[Finding, ...] = ()
        self.scene: Scene | None = None
        self._unfolds = False
        self.trail = Trail()
        self.pin: Pin | None = None  # what steps are compared with
        self.unjudged = "nothing was checked" if findings is None else ""

    def panes(self) -> Iterable[Pane]:
        """What shows the scene now."""
        return ()

    def say(self, note: str) -> None:
        """What is going on, for the user to see; "" when nothing is."""

    def tell(self, do: Callable[..., object], *arguments: object, **options: object) -> None:
        """From a worker thread: have the UI thread do something, unless nobody waits for this worker any more."""
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(do, *arguments, **options)

    # -- reading -------------------------------------------------------------------------------------------

    @work(thread=True, group="open")
    def open(self) -> None:
        """Read which steps there are, and go to where it begins."""
        try:
            steps = self.session.trace.source.step_numbers()
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        self.tell(self.opened, steps)

    def opened(self, steps: Sequence[int]) -> None:
        self.steps = steps
        if not steps:
            self.say("no step yet")
            return
        self.go(self.aim or self.first_place())
        self.call_after_refresh(self.judge)

    def first_place(self) -> Place:
        """Where to begin if nobody said: in the first step of a loop, in the last one of a script that failed."""
        info = self.session.trace.info
        failed = info.status == "failed" and not info.interrupted
        first = next((step for step in self.steps if step >= 0), self.steps[0])
        return Place(self.steps[-1] if failed else first, cursor.OPENING)

    @work(thread=True, exclusive=True, group="read")
    def _read(self, place: Place, kind: GraphKind) -> None:
        try:
            loaded = self.session.load(place.step)
            graph = self.session.build(loaded, kind)
            if self.pin is not None:
                self.pin.load(self.session, loaded, graph)
        except GradscopeError as error:
            self.tell(self._failed, error)
            return
        self.tell(self._was_read, place, loaded, graph)

    def _failed(self, error: GradscopeError) -> None:
        """A step could not be read: stay where we are."""
        if self.scene is not None:
            self.aim = Place(self.scene.step.number, self.scene.moment)
        self.complain(error)

    def complain(self, error: GradscopeError) -> None:
        self.say("")
        self.notify(str(error), severity="error", timeout=10, markup=False)

    @work(thread=True, exclusive=True, group="findings")
    def judge(self) -> None:
        """Ask for the findings; they come when they come."""
        if self._findings is None:
            return
        self.unjudged = ""
        try:
            found = tuple(self._findings(self.session.trace))
        except (GradscopeError, ValueError) as error:
            self.unjudged = printable(str(error))
            self.tell(self.notify, f"No findings: {self.unjudged}", severity="warning", markup=False)
            return
        self.tell(self._judged, found)

    def _judged(self, found: tuple[Finding, ...]) -> None:
        self.found = found
        if found and self.scene is not None:
            self.display_scene(replace(self.scene, findings=found))

    @property
    def no_findings(self) -> str:
        """Why there are none."""
        if any(worker.group == "findings" and not worker.is_finished for worker in self.app.workers):
            return "The findings are still being looked for."
        return f"It is not known what is wrong: {self.unjudged}" if self.unjudged else "There are no findings."

    @property
    def reading(self) -> bool:
        """Whether something is being read or looked for; the cursor is not where it is going yet."""
        groups = ("open", "read")
        return any(worker.group in groups and not worker.is_finished for worker in self.app.workers)

    def cancel_reading(self) -> None:
        """Forget what is being read or looked for."""
        self.workers.cancel_group(self, "read")

    # -- travelling ----------------------------------------------------------------------------------------

    def travel(self, place: Place, *, unfold: bool = False) -> None:
        """The user goes to `place`. `unfold` what its node is folded into."""
        self.go(place, unfold=unfold)

    def jump(self, place: Place, *, unfold: bool = False) -> None:
        """The user leaves for `place`, and may want to come back."""
        here = self.scene
        if here is not None and place != (here.step.number, here.moment):
            self.trail.leave(Place(here.step.number, here.moment))
        self.travel(place, unfold=unfold)

    def go(self, place: Place, *, unfold: bool = False) -> None:
        """Show `place`: at once if its step was read, else when it is."""
        self.cancel_reading()
        self.aim = place
        self._unfolds = unfold
        loaded = self.session.step(place.step)
        graph = self.session.graph(loaded, self.kind) if loaded is not None else None
        beside = self.pin is None or (loaded is not None and self.pin.ready(loaded, self.kind))
        if loaded is not None and graph is not None and beside:
            self._arrive(place, loaded, graph)
        else:
            self.say(f"reading {step_word(place.step)}…")
            self._read(place, self.kind)

    def _was_read(self, place: Place, loaded: Loaded, graph: Graph) -> None:
        with kept():
            self._arrive(place, loaded, graph)

    def _arrive(self, place: Place, loaded: Loaded, graph: Graph) -> None:
        before = self.scene
        here = before.moment if before else cursor.START
        same = before is not None and before.step.row.template == loaded.template
        self.aim = cursor.resolve(place, len(loaded), here, same, loaded.landmarks.opening)
        selected = before.selected if before else None
        if before is not None and selected is not None and before.graph is not graph:
            selected = same_node(before.graph.by_id.get(selected), graph)
        self.say("")
        scene = Scene(
            trace=self.session.trace,
            step=loaded.step,
            moment=self.aim.moment,
            state=loaded.history.at(self.aim.moment),
            kind=graph.kind,
            graph=graph,
            selected=selected,
            findings=self.found,
            ascii=self.ascii,
            step_numbers=self.steps,
            samples=loaded.samples,
            touches=loaded.touches,
            beside=loaded.beside,
        )
        if self.pin is not None:
            scene = replace(scene, against=self.pin.against(loaded, scene))
        self.display_scene(scene)
        if self._unfolds:
            self._unfolds = False
            node = node_of(loaded.step.template, graph, subject_at(loaded.step.template, self.aim.moment))
            if node is not None:
                self.unfold(node)

    def unfold(self, node: int) -> None:
        """Have a node of the graph drawn by itself, where it can be."""

    def display_scene(self, scene: Scene) -> None:
        self.scene = scene
        for pane in self.panes():
            pane.show(scene)

    def here(self) -> tuple[Place, Loaded] | None:
        """Where the cursor is going, if that step was read; keys pressed before that do nothing."""
        loaded = self.session.step(self.aim.step) if self.aim is not None else None
        if self.aim is None or loaded is None or self.aim.moment < cursor.START:
            return None
        return self.aim, loaded

    def action_moment(self, by: int) -> None:
        if (here := self.here()) is not None:
            self.travel(cursor.by_moments(here[0], by, len(here[1]), self.steps))

    def action_phase(self, by: int) -> None:
        if (here := self.here()) is not None:
            self.travel(cursor.by_phases(here[0], by, here[1].landmarks.phases, self.steps))

    def action_step(self, by: int) -> None:
        if self.aim is not None:
            self.travel(cursor.by_steps(self.aim, by, self.steps))

    def action_edge(self, by: int) -> None:
        if (here := self.here()) is not None:
            self.jump(Place(here[0].step, len(here[1]) - 1 if by > 0 else cursor.START))

    def action_back(self) -> None:
        self._turn(self.trail.back, "No jump led here: ( goes back only.")

    def action_forward(self) -> None:
        self._turn(self.trail.forward, "Nothing lies ahead: ) undoes (.")

    def _turn(self, turn: Callable[[Place], Place | None], otherwise: str) -> None:
        if self.scene is None:
            return
        place = turn(Place(self.scene.step.number, self.scene.moment))
        if place is None:
            self.notify(otherwise)
        else:
            self.travel(place)

    def action_cancel(self) -> None:
        """End what is being read or looked for: the cursor stays where it is."""
        if self.scene is not None and self.reading:
            self.cancel_reading()
            self.aim = Place(self.scene.step.number, self.scene.moment)
            self.say("")
            self.notify("Cancelled: still at the same place.")

    def action_kind(self) -> None:
        kinds = list(GraphKind)
        self.kind = kinds[(kinds.index(self.kind) + 1) % len(kinds)]
        if self.aim is not None:
            self.go(self.aim)

    # -- what is selected ------------------------------------------------------------------------------------

    def subject(self) -> Subject:
        """What the user looks at: the selection, or what the moment is about."""
        return subject_in(self.scene) if self.scene is not None else Subject()

    def tensor(self) -> int | None:
        """The tensor the user looks at; for a grad node, the tensor whose gradient it receives."""
        subject = self.subject()
        if subject.grad is not None and self.scene is not None:
            node = self.scene.step.graphs[subject.grad[0]].nodes[subject.grad[1]]
            return node.tensor if node.tensor is not None else next(iter(node.output_tensors), None)
        return subject.tensor

    def action_unselect(self) -> None:
        self.post_message(Select(None))

    def action_select_current(self) -> None:
        if self.scene is not None:
            template = self.scene.step.template
            node = node_of(template, self.scene.graph, subject_at(template, self.scene.moment))
            if node is None:
                self.notify("The graph has no node for this moment.")
            self.post_message(Select(node))

    @on(Travel)
    def _travel(self, message: Travel) -> None:
        (self.travel if message.drags else self.jump)(Place(message.step, message.moment))

    @on(Select)
    def _select(self, message: Select) -> None:
        if self.scene is not None and message.node != self.scene.selected:
            self.display_scene(replace(self.scene, selected=message.node))

    @on(Notice)
    def _notice(self, message: Notice) -> None:
        self.notify(message.text, severity=message.severity, markup=False)
