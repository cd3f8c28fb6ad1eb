"""The instrument: its panes, and how they share the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from ...model.findings import Finding
from ...model.trace import Trace
from ...text import printable
from ..cursor import Place
from ..keys import KEYS, Key
from ..messages import Select
from ..room import Room
from ..scene import Pane
from ..session import Session
from ..subject import parameter_of
from ..widgets.chart import ChartScreen
from ..widgets.graph import GraphPane
from ..widgets.header import HeaderPane
from ..widgets.hints import Hints
from ..widgets.inspector import InspectorPane
from ..widgets.parameters import ParametersPane
from ..widgets.source import SourcePane
from ..widgets.tabs import TabStrip
from ..widgets.timeline import TimelinePane
from .help import Help
from .taking import Taking

_OWN = (GraphPane, InspectorPane, SourcePane, ParametersPane, TimelinePane)
PANES = (("graph", "Graph"), ("inspector", "Inspector"), ("source", "Source"), ("parameters", "Parameters"))
_WIDE, _HIGH = 110, 28  # from this size on, panes stand side by side
_LEAST = (50, 14)


def pane_keys() -> frozenset[str]:
    """The keys that some pane has for itself."""
    bindings = (one for pane in _OWN for one in pane.BINDINGS if isinstance(one, Binding))
    return frozenset(one.key for one in Binding.make_bindings(bindings))


class Instrument(Taking):
    """The screen of `gradscope view`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", show=False, priority=True),
        *(key.binding() for keys in KEYS.values() for key in keys),
    ]

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
        self.zoomed: str | None = None
        self.room = Room()
        self.keys: Mapping[str, Sequence[Key]] = KEYS

    def compose(self) -> ComposeResult:
        yield HeaderPane(self.script, follows=self.follows, id="header")
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
        self.begin_following()
        self.tell_following()
        self.open()

    def on_unmount(self) -> None:
        close = getattr(self._findings, "close", None)
        if close is not None:
            close()
        if self._follower is not None:
            self._follower.close()
        if self.pin is not None:
            self.pin.close()

    def tell_following(self) -> None:
        self.query_one("#header", HeaderPane).follows(self.follows and self.grows)
        words = "following the newest step, L pauses" if self.follows else "paused here, L follows the newest step"
        self.query_one("#timeline").border_subtitle = words if self.grows else ""

    def named(self, script: str) -> None:
        if script:
            self.script = PurePath(script).name
            self.query_one("#header", HeaderPane).script = printable(self.script)

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
        """Show all panes, or where there is no room the active one; only one while it is zoomed."""
        one = self.zoomed or (self.active if self.narrow else None)
        for name, _ in PANES:
            self.query_one(f"#{name}").display = one in (None, name)
        left = one in ("graph", "parameters")
        self.query_one("#left").display = one is None or left
        self.query_one("#right").display = one is None or not left
        self.set_class(self.zoomed is not None, "-zoomed")
        self.set_class(self.zoomed == "timeline", "-timeline")
        self.query_one("#tabs", TabStrip).activate(self.active)
        for name, part in self.room.widths().items():
            self.query_one(f"#{name}").styles.width = f"{part}fr"
        for name, part in self.room.parts().items():
            self.query_one(f"#{name}").styles.height = f"{part}fr"
        rows = (5 if self.narrow else 6) + self.room.rows
        for rack in self.query("ToastRack"):  # what is told never covers the timeline
            rack.styles.margin = (0, 0, 1 if self.zoomed else rows + 1, 0)
        self.query_one("#timeline").styles.height = "1fr" if self.zoomed == "timeline" else rows
        if self.scene is not None:
            self.display_scene(self.scene)

    def panes(self) -> Iterable[Pane]:
        """The panes that can be seen; a hidden one is shown the scene when it comes up."""
        for name in ("header", "timeline", *(name for name, _ in PANES)):
            pane = self.query_one(f"#{name}", Widget)
            if pane.display:
                yield cast(Pane, pane)

    def show_node(self, node: int) -> None:
        """Select a node, and draw it by itself."""
        self.post_message(Select(node))
        self.unfold(node)

    def unfold(self, node: int) -> None:
        self.query_one("#graph", GraphPane).unfold_to(node)

    def action_pane(self, name: str) -> None:
        before = (self.active, self.zoomed)
        self.active = name if name != "timeline" else self.active
        self.zoomed = self.zoomed and name
        if before != (self.active, self.zoomed):
            self._arrange()
        self.query_one(f"#{name}", Widget).focus()

    def focused_pane(self) -> str:
        """The pane that keys go to."""
        focused = self.focused.id if self.focused is not None else None
        return focused if focused in (*(name for name, _ in PANES), "timeline") else self.active

    def action_zoom(self) -> None:
        """All the room for the pane at hand; again: back."""
        self.zoomed = self.focused_pane() if self.zoomed is None else None
        self._arrange()

    def action_grow(self, by: int) -> None:
        """More room for the pane at hand, or less."""
        pane = self.focused_pane()
        if self.zoomed is not None or (self.narrow and pane != "timeline"):
            self.notify("This pane has all the room.")
        elif self.room.grow(pane, by):
            self._arrange()

    def action_next_pane(self, by: int) -> None:
        names = [name for name, _ in PANES] + ["timeline"]
        focused = self.focused.id if self.focused is not None and self.focused.id in names else None
        at = names.index(focused) + by if focused is not None else 0
        self.action_pane(names[at % len(names)])

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """In the order of the hints: those of the instrument stay in place, the pane's own follow."""
        found = super().active_bindings
        named = (key.key.split(",")[0] for keys in self.keys.values() for key in keys)
        own = {key: found[key] for key in named if key in found}
        return {**own, **found}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Who types a search keeps the keys that move within a line; without one that runs, escape is the panes'."""
        if action == "cancel":
            return self.reading and self.scene is not None
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

    def action_depth(self) -> None:
        """Bars along the depth, in their pane; again: the table."""
        table = self.query_one("#parameters", ParametersPane)
        table.show_depth(not table.along_depth)
        if table.along_depth:
            self.action_pane("parameters")

    def action_stack(self) -> None:
        if self.narrow:
            self.action_pane("source")
        self.query_one("#source", SourcePane).toggle_stack()

    def action_help(self) -> None:
        panes = [self.query_one(f"#{name}", Widget) for name in ("graph", "parameters", "source", "timeline")]
        self.app.push_screen(Help(panes, self.keys))

    def action_theme(self) -> None:
        self.app.theme = "gradscope-light" if self.app.current_theme.dark else "gradscope-dark"
