"""Parameters and buffers as a table: norms, sums, gradients, how far the update moved them, a curve over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.worker import get_current_worker

from ...model.graph import NodeKind
from ...model.records import Parameter
from ...model.watching import recorded_exactly
from ...render.signs import to_ascii
from ...text import cells, elide, elide_middle, number, plural, printable
from ..columns import COLUMNS, ORDER, Column, beside, fitting, ranked, status_words
from ..depth import Depth
from ..differences import WIDTH
from ..figures import Figures, StepFigures
from ..ledger import Ledger, only_words, work_of
from ..messages import Select
from ..scene import Scene
from ..subject import tensor_filled
from .chart import ChartScreen
from .curve_column import CurveColumn
from .rows import Rows

_AT_ONCE = 4_000  # moments up to which a step's figures are made without a worker
_RANKED_AT_ONCE = 1_000  # parameters up to which they are ranked without a worker


class ParametersPane(CurveColumn):
    """Moving posts `Select` of the parameter's node, where the graph shows it; enter opens its chart."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "sort", "rank", tooltip="Rank by the next column; a click on its title does so too"),
        Binding("R", "reverse", "turn the order around", show=False),
        Binding("slash", "type", "filter", key_display="/", tooltip="Only the tensors whose names have these words"),
        Binding("u", "buffers", "everything, parameters only, buffers only", show=False),
        Binding("l", "columns", "the columns that there is no room for", show=False),
        Binding("enter", "choose", "chart", key_display="enter", tooltip="The chart of this tensor, as C"),
        Binding("escape", "clear", "end the filter", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "parameters--head",
        "parameters--name",
        "parameters--number",
        "parameters--gradient",
        "parameters--warning",
        "parameters--curve",
        "parameters--beside",
        "parameters--cursor",
    }
    DEFAULT_CSS = """
    ParametersPane {
        & > .parameters--head { color: $text-muted; text-style: underline; }
        & > .parameters--name { text-style: bold; }
        & > .parameters--number { color: $foreground; }
        & > .parameters--gradient { color: $text-warning; }
        & > .parameters--warning { color: $text-error; text-style: bold; }
        & > .parameters--curve { color: $text-primary; }
        & > .parameters--beside { color: $text-success; }
        & > .parameters--cursor { background: $surface-lighten-2; }
        &:focus > .parameters--cursor { background: $block-cursor-background 45%; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(head=1, id=id)
        self.border_title = "Parameters"
        self.ledger: Ledger | None = None
        self.shown: Sequence[Parameter] = ()
        self.sort = "name"
        self.descending = False
        self.roles: str | None = None  # None: parameters, leaves and buffers
        self.first_column = 0
        self._row_of: Mapping[int, int] = {}
        self._longest = 0
        self._listed: object = None
        self._leaves: tuple[object, Mapping[str, int]] = (None, {})
        self.along_depth = False  # bars of the gradients' norms, from the input on, in place of figures and curves
        self._depth: Depth | None = None

    # -- scenes --------------------------------------------------------------------------------------

    def show(self, scene: Scene) -> None:
        before, self.scene = self.scene, scene
        if self.ledger is None or not self.ledger.fits(scene):
            self._figure(scene)
        else:
            self._list()
        if before is None or before.selected != scene.selected:
            self._follow(scene)
        self.repaint()

    def _figure(self, scene: Scene) -> None:
        if work_of(scene) <= _AT_ONCE:
            self._figured(Ledger.of(scene, self.ledger))
        else:
            self._figure_apart(scene)

    @work(thread=True, exclusive=True, group="figures")
    def _figure_apart(self, scene: Scene) -> None:
        worker = get_current_worker()
        ledger = Ledger.of(scene, self.ledger)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._figured, ledger)

    def _figured(self, ledger: Ledger) -> None:
        if self.scene is not None and ledger.fits(self.scene):
            self.ledger = ledger
            self._depth = Depth(ledger.mine, self.scene.touches)
            self._list()
            self.entitle(subtitle=self._status())

    @property
    def figures(self) -> StepFigures | None:
        """Those of the step that is shown."""
        return self.ledger.mine if self.ledger is not None else None

    @property
    def _more(self) -> int:
        """Cells in each column for the difference to what is compared with."""
        return WIDTH if self.ledger is not None and self.ledger.others is not None else 0

    def curve_came(self, parameter: int) -> None:
        self.refresh_rows(self._row_of.get(parameter))

    def _follow(self, scene: Scene) -> None:
        """Put the cursor on the selected node's parameter, if it is one's."""
        node = scene.graph.by_id.get(scene.selected) if scene.selected is not None else None
        tensor = tensor_filled(scene.step.template, node) if node is not None else None
        figures = self.figures
        owner = figures.owners.get(tensor) if figures is not None and tensor is not None else None
        row = self._row_of.get(owner) if owner is not None else None
        if row is not None and row != self.cursor:
            self.cursor = row
            self.reveal(row)

    def _list(self) -> None:
        """Which parameters are shown, in which order; worked out anew only when that may have changed."""
        scene, figures = self.scene, self.figures
        if scene is None or figures is None:
            return
        names = scene.trace.names
        own = self.sort not in ("name", "shape") or self.along_depth or figures.leaves
        by_step = figures if own else None
        key = (by_step, names, self.sort, self.descending, self.roles, self.wanted, self.along_depth)
        if self._listed == key:
            return
        self._listed = key
        words = self.wanted.lower().split()
        chosen = [
            one
            for one in (*names.parameters.values(), *figures.leaves)
            if (self.roles is None or (one.role == "buffer") == (self.roles == "buffer"))
            and all(word in f"{one.root} {one.name} {one.role} {one.dtype}".lower() for word in words)
        ]
        if by_step is not None and len(chosen) > _RANKED_AT_ONCE:
            self._rank_apart(key, chosen, figures, scene)
        else:
            self._ranked(key, self._sorted(chosen, figures, scene))

    @work(thread=True, exclusive=True, group="rank", description="rank")
    def _rank_apart(self, key: object, chosen: list[Parameter], figures: StepFigures, scene: Scene) -> None:
        worker = get_current_worker()
        order = self._sorted(chosen, figures, scene)
        if not worker.is_cancelled:
            self.app.call_from_thread(self._ranked, key, order)

    def _ranked(self, key: object, order: Sequence[Parameter]) -> None:
        if key != self._listed:
            return
        held = self.current
        self.shown = order
        self._row_of = {one.id: row for row, one in enumerate(order)}
        self._longest = max((cells(one.name) for one in order), default=0)
        self.cursor = self._row_of.get(held.id) if held is not None else None
        self.set_count(len(order))
        self.entitle(subtitle=self._status())

    def _sorted(self, chosen: list[Parameter], figures: StepFigures, scene: Scene) -> Sequence[Parameter]:
        """By the wanted column as it is at this moment; the order stays until the step or the column changes."""
        if self.along_depth and self.sort == "name":
            chosen = list(Depth(figures, scene.touches).along(chosen))
        return ranked(chosen, self.sort, lambda one: figures.of(one, scene.state), descending=self.descending)

    def _status(self) -> str:
        if self.typing or self.wanted:
            words = f"/{self.wanted}{'▏' if self.typing else ''}  {len(self.shown):,} found"
        else:
            by = f" · by {self.sort} {'▼' if self.descending else '▲'}" if self.sort != "name" else ""
            only = only_words(self.scene) if self.scene is not None else ""
            words = f"{plural(len(self.shown), 'tensor')}{by}{only}{self._unmeasured()}"
        return to_ascii(words.replace("▲", "^")) if self.scene is not None and self.scene.ascii else words

    def _unmeasured(self) -> str:
        """What measures the updates of which this step does not know how far they went."""
        if self.scene is None or self.figures is None or not self.figures.unmeasured:
            return ""
        return f" · ?: {recorded_exactly(self.scene.trace.info)}"

    # -- drawing -------------------------------------------------------------------------------------

    def columns(self, width: int) -> tuple[int, list[Column], int]:
        """(cells for the name, the columns that there is room for, cells for the curve)."""
        if self.along_depth:
            return fitting(width, self._longest, [COLUMNS["|grad|"]], self._more, widest=width)
        return fitting(width, self._longest, list(COLUMNS.values())[self.first_column :], self._more)

    def head_strip(self, line: int, width: int) -> Strip:
        del line
        name, columns, curve = self.columns(width)
        parts = [self._titled("name", f"{'name':<{name}}")]
        more = self._more
        titles = [(column.title, f" {column.title:>{column.width - more}}") for column in columns]
        parts += [self._titled(column, title) + " " * more for column, title in titles]
        if curve:
            parts.append(f" {self._curve_title():<{curve}}"[: curve + 1])
        head = self.ink("parameters--head")
        return Strip([Segment(self._plain(part), head) for part in parts])

    def _curve_title(self) -> str:
        if not self.along_depth:
            return "|grad| over steps"
        known = self._depth is not None and self._depth.high > 0
        scale = f", {number(self._depth.low, 2)} to {number(self._depth.high, 2)}" if known and self._depth else ""
        return f"|grad| on a log scale{scale}"

    def _titled(self, column: str, title: str) -> str:
        """A title, with an arrow on the column that the table is sorted by."""
        if column != self.sort or (column == "name" and not self.descending):
            return title
        arrow = "▼" if self.descending else "▲"
        return title[:-1] + arrow if title.endswith(" ") else title.replace(" ", "", 1) + arrow

    def strip_of(self, row: int, width: int) -> Strip:
        scene, ledger, more = self.scene, self.ledger, self._more
        assert scene is not None
        assert ledger is not None
        parameter = self.shown[row]
        found, other = ledger.mine.of(parameter, scene.state), ledger.of_other(scene, parameter)
        name, columns, curve = self.columns(width)
        only = "+ " if more and other is None else ""
        shown = elide_middle(only + printable(parameter.name or f"{parameter.role} {abs(parameter.id)}"), name)
        parts: list[tuple[str, Style | None]] = [
            (f"{shown}{' ' * max(name - cells(shown), 0)}", self.ink("parameters--name"))
        ]
        for column in columns:
            words, room = column.words(found), column.width - more
            parts.append((f" {words[:room]:>{room}}", self._column_style(column, found)))
            if more:
                words = beside(column, found, other) if other is not None else ""
                parts.append((f" {words:<{more - 1}}", self.ink("parameters--beside")))
        if curve:
            parts.append((" ", None))
            has_column = any(column.title == "status" for column in columns)
            parts.append(self._curve_or_status(parameter.id, found, curve, has_column=has_column))
        strip = Strip([Segment(self._plain(words), style) for words, style in parts])
        if row == self.cursor:
            cursor = self.get_component_rich_style("parameters--cursor")
            strip = strip.crop_extend(0, width, None).apply_style(Style(bgcolor=cursor.bgcolor, bold=True))
        return strip

    def _curve_or_status(
        self, parameter: int, found: Figures, width: int, *, has_column: bool
    ) -> tuple[str, Style | None]:
        """The curve or the bar; what is odd about the parameter in its place, where that has no column of its own."""
        if self.along_depth and self._depth is not None and self.scene is not None:
            bar = self._depth.bar(found, width, ascii=self.scene.ascii)
            return bar, self.ink("parameters--gradient")
        if found.status and not has_column:
            odd = "parameters--warning" if found.status != ("buffer",) else "parameters--head"
            return elide(status_words(found.status), width), self.ink(odd)
        return self.spark(parameter, width), self.ink("parameters--curve")

    def _column_style(self, column: Column, found: Figures) -> Style:
        value = column.key(found)
        if column.title == "status" or (value is not None and not math.isfinite(value)):
            return self.ink("parameters--warning" if "buffer" not in found.status else "parameters--number")
        return self.ink("parameters--gradient" if "grad" in column.title else "parameters--number")

    def _plain(self, words: str) -> str:
        if self.scene is None or not self.scene.ascii:
            return words
        return to_ascii(words.translate({ord("Δ"): "d", ord("▲"): "^"}))

    # -- keys and mouse --------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.sort_by(ORDER[(ORDER.index(self.sort) + 1) % len(ORDER)])

    def sort_by(self, column: str) -> None:
        """Sort by a column: names from A, numbers from the greatest; by the same one again turns it around."""
        same = column == self.sort
        self.sort, self.descending = column, not self.descending if same else column != "name"
        self._list()
        self.repaint()

    def action_reverse(self) -> None:
        self.descending = not self.descending
        self._list()
        self.repaint()

    def show_depth(self, along: bool) -> None:
        """Bars of the gradients' norms along the depth, or the table again."""
        self.along_depth = along
        self._list()
        self.repaint()

    def action_buffers(self) -> None:
        """Everything; parameters only; buffers only."""
        self.roles = {None: "parameter", "parameter": "buffer", "buffer": None}[self.roles]
        self._list()
        self.repaint()

    def action_columns(self) -> None:
        """The columns that there was no room for; after the last, the first again."""
        _, shown, _ = self.columns(self.scrollable_content_region.width)
        following = self.first_column + max(len(shown), 1)
        self.first_column = following if following < len(COLUMNS) else 0
        self.repaint()

    def typed(self) -> None:
        self._list()
        self.entitle(subtitle=self._status())

    def typed_out(self) -> None:
        self.entitle(subtitle=self._status())

    def action_clear(self) -> None:
        if self.wanted:
            self.stop_typing()
        else:
            self.post_message(Select(None))

    @property
    def current(self) -> Parameter | None:
        """The parameter under the cursor."""
        return self.shown[self.cursor] if self.cursor is not None and self.cursor < len(self.shown) else None

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y > 0:
            super().on_click(event)
            return
        event.stop()
        name, columns, _ = self.columns(self.scrollable_content_region.width)
        place = name
        if offset.x < place:
            self.sort_by("name")
            return
        for column in columns:
            place += column.width + 1
            if offset.x < place:
                self.sort_by(column.title)
                return

    @on(Rows.Moved)
    def _moved(self, message: Rows.Moved) -> None:
        message.stop()
        node = self._node_of(self.shown[message.row])
        if node is not None:
            self.post_message(Select(node))

    @on(Rows.Chosen)
    def _chosen(self, message: Rows.Chosen) -> None:
        message.stop()
        if self.scene is not None:
            self.app.push_screen(ChartScreen(self.scene, self.shown[message.row]))

    def _node_of(self, parameter: Parameter) -> int | None:
        """The node of the scene's graph that stands for the parameter."""
        scene, figures = self.scene, self.figures
        if scene is None or figures is None:
            return None
        tensor = figures.tensor_of.get(parameter.id)
        if tensor is not None and tensor in scene.graph.by_id:
            return tensor
        if self._leaves[0] is not scene.graph:
            leaves = {node.name: node.id for node in scene.graph.nodes if node.kind is NodeKind.ACCUMULATE_GRAD}
            self._leaves = (scene.graph, {name: node for name, node in leaves.items() if name})
        return self._leaves[1].get(parameter.name)
