"""The chart of one parameter: its gradient's sum and its own at each phase of a step, and both over all steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static
from textual.worker import get_current_worker

from ...errors import GradscopeError
from ...model.records import Parameter
from ...model.state import State
from ...render.signs import to_ascii
from ...text import number, printable, tensor_type
from ..curves import Curves
from ..figures import CARRIED, FILLED, KNOWN, NONE, UNKNOWN, Gradient, PhasePoint, StepFigures, five_phases
from ..plots import bars, bounds, curve
from ..scene import Scene
from ..words import step_word
from .hints import Hints

_HEIGHT = 7  # lines of a curve
_DECADES = 100  # how many times the least the greatest is where a curve has a log scale


class Chart(Static):
    """Draws what it was given in the width that it has."""

    def __init__(self, parameter: Parameter, step: int, *, ascii: bool) -> None:
        super().__init__("reading…")
        self.parameter = parameter
        self.step = step
        self.ascii = ascii
        self.points: Sequence[PhasePoint] = ()
        self.series: Sequence[tuple[int, float | None, float | None]] = ()
        self.curves = Curves()

    def put(
        self, points: Sequence[PhasePoint], series: Sequence[tuple[int, float | None, float | None]], curves: Curves
    ) -> None:
        self.points, self.series, self.curves = points, series, curves
        self._draw()

    def on_resize(self) -> None:
        if self.points:
            self._draw()

    def _draw(self) -> None:
        styled = []
        for title, lines, style in self.parts(max(self.content_size.width, 40)):
            styled += [Content.styled(title, "bold"), *(Content.styled(line, style) for line in lines), Content("")]
        self.update(Content("\n").join(styled))

    def lines(self, width: int) -> list[str]:
        """The whole chart as text."""
        return [line for title, lines, _ in self.parts(width) for line in (title, *lines, "")]

    def parts(self, width: int) -> Iterator[tuple[str, list[str], str]]:
        """Each figure: its title, its lines, and the colour they are drawn in."""
        for title, lines, style in self._figures(width):
            yield self._plain(title), [self._plain(line) for line in lines], style

    def _figures(self, width: int) -> Iterator[tuple[str, list[str], str]]:
        name, step = printable(self.parameter.name), step_word(self.step)
        sums = [(_name(one), one.gradient.sum, _words(one.gradient)) for one in self.points]
        yield f"gradient sum of {name} in {step}", bars(sums, width, ascii=self.ascii), "$text-warning"
        sums = [(_name(one), one.sum, _number(one.sum)) for one in self.points]
        moved = _change(self.points)
        drawn = bars(sums, width, ascii=self.ascii) + ([f"  {moved}"] if moved else [])
        yield f"parameter sum of {name} in {step}", drawn, "$text-primary"
        for title, values, log, style in (
            (f"|grad| of {name} over the steps", [gradient for _, _, gradient in self.series], True, "$text-warning"),
            (f"|p| of {name} over the steps", [norm for _, norm, _ in self.series], False, "$text-primary"),
            ("loss over the steps", self.curves.losses, False, "$text-secondary"),
        ):
            if sum(value is not None for value in values) > 1:
                low, high = bounds(values, log=log)
                scale = log and low > 0 and high / low > _DECADES
                lines = curve(values, width, _HEIGHT, ascii=self.ascii, log=scale)
                yield title + (" (log)" if scale else ""), lines, style

    def _plain(self, line: str) -> str:
        return to_ascii(line) if self.ascii else line


class ChartScreen(ModalScreen[None]):
    """Shows the chart until a key closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,C,q,enter", "dismiss", "back", key_display="esc"),
    ]
    DEFAULT_CSS = """
    ChartScreen { align: center middle; }
    ChartScreen > VerticalScroll {
        width: 90%; max-width: 110; height: 90%;
        border: round $accent; background: $background; padding: 0 1;
    }
    ChartScreen Chart { height: auto; }
    """

    def __init__(self, scene: Scene, parameter: Parameter) -> None:
        super().__init__()
        self.scene = scene
        self.parameter = parameter

    def compose(self) -> ComposeResult:
        with VerticalScroll() as frame:
            frame.border_title = self._title()
            yield Chart(self.parameter, self.scene.step.number, ascii=self.scene.ascii)
        yield Hints()

    def _title(self) -> str:
        kind = tensor_type(self.parameter.dtype, self.parameter.shape)
        words = f"{printable(self.parameter.name)}  {self.parameter.role}  {kind}"
        return to_ascii(words) if self.scene.ascii else words

    def on_mount(self) -> None:
        self._read()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        worker = get_current_worker()
        scene, step = self.scene, self.scene.step
        curves = Curves()
        try:
            figures = StepFigures(step, scene.samples, scene.beside)
            points = five_phases(figures, self.parameter.id, lambda moment: State.at(step, moment))
            lasts = self.parameter.id >= 0
            series = scene.trace.source.series(self.parameter.id) if lasts else ()
            curves.read(scene.trace, lambda: not worker.is_cancelled)
        except GradscopeError as error:
            if not worker.is_cancelled:
                self.app.call_from_thread(self.query_one(Chart).update, Content(str(error)))
            return
        if not worker.is_cancelled:
            self.app.call_from_thread(self.query_one(Chart).put, points, series, curves)


def _name(point: PhasePoint) -> str:
    return point.phase.replace("_", " ")


def _words(gradient: Gradient) -> str:
    if gradient.kind == NONE:
        return "None"
    if gradient.kind in (CARRIED, FILLED, UNKNOWN):
        return "from before" if gradient.kind == CARRIED else "not known"
    if gradient.sum is None and gradient.kind == KNOWN and gradient.norm is not None:
        return f"norm {number(gradient.norm)}"
    return _number(gradient.sum)


def _number(value: float | None) -> str:
    return "not recorded" if value is None else number(value, 6)


def _change(points: Sequence[PhasePoint]) -> str:
    """In words, the phase in which the parameter's sum changed."""
    for before, after in pairwise(points):
        if before.sum is not None and after.sum is not None and before.sum != after.sum:
            return f"{_name(after)} changed it by {number(after.sum - before.sum, 3)}"
    return ""
