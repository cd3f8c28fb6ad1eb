"""The lane view: a step's graph as `git log --graph` shows history, one node a row, drawn only where it is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rich.style import Style
from textual import on, work
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.worker import get_current_worker

from ...model.graph import EdgeKind, GraphNode, NodeKind
from ...render.pieces import NodeView
from ...render.signs import to_ascii
from ...text import plural
from ..lanes.found import Found
from ..lanes.gallery import Gallery
from ..lanes.picture import Focus, Picture, Relation, Shape
from ..lanes.rows import Reader
from ..lanes.told import picture_words
from ..messages import Notice, Select, Travel
from ..scene import Scene
from .paint import NODE, RowPaint
from .rows import Rows

_AT_ONCE = 600  # nodes up to which a picture is made without a worker
_LANES = 0.45  # of the pane's width, at most, is for lanes


class GraphPane(Rows):
    """Shows `scene.graph`. Moving posts `Select`, enter on a node `Travel` to its moment."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "fold", "fold", tooltip="Fold the module that the node lies in; unfold a module or a loop"),
        Binding("M", "fold_all", "fold all modules; again: unfold all", show=False),
        Binding("equals_sign", "repeats", "equal blocks and loops once, ×N; again: each", show=False, key_display="="),
        Binding("slash", "type", "find", key_display="/", tooltip="Find nodes by name, op, module, type or mark"),
        Binding("n", "match(1)", "the next one found", show=False),
        Binding("N", "match(-1)", "the one found before", show=False),
        Binding("a", "focus_on('ancestors')", "before", tooltip="Only what led to the node"),
        Binding("z", "focus_on('descendants')", "after", tooltip="Only what follows from the node"),
        Binding("p", "path", "path", tooltip="Mark a node; on another one: only the paths between the two"),
        Binding("t", "twin", "from a tensor to its grad_fn, and back", show=False),
        Binding("enter", "choose", "travel to where the node ran; unfold", show=False),
        Binding("escape", "clear", "end the search, the focus, the selection", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "graph--lane",
        "graph--name",
        "graph--what",
        "graph--ahead",
        "graph--now",
        "graph--cursor",
        "graph--match",
        "graph--norm",
        "graph--finding",
        "graph--beside",
    }
    DEFAULT_CSS = """
    GraphPane {
        & > .graph--lane { color: $text-muted; }
        & > .graph--name { text-style: bold; }
        & > .graph--what { color: $text-muted; }
        & > .graph--ahead { color: $text-muted; text-style: dim; }
        & > .graph--now { color: $text-accent; text-style: bold; }
        & > .graph--cursor { background: $surface-lighten-2; }
        & > .graph--match { text-style: underline; }
        & > .graph--norm { color: $text-warning; }
        & > .graph--beside { color: $text-success; text-style: bold; }
        & > .graph--finding { color: $text-error; text-style: bold reverse; }
        &:focus > .graph--cursor { background: $block-cursor-background 45%; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Graph"
        self.scene: Scene | None = None
        self.shape: Shape | None = None  # None: as `Shape.first` has it, until the user folds
        self.picture: Picture | None = None
        self.reader: Reader | None = None
        self.mark: int | None = None  # the node that a path begins at
        self.found = Found()
        self._to_unfold: int | None = None  # once the picture is made
        self.gallery = Gallery()
        self._views: dict[int, NodeView] = {}
        self._first_lane = 0

    # -- scenes --------------------------------------------------------------------------------------

    def show(self, scene: Scene) -> None:
        before, self.scene = self.scene, scene
        if (
            self.shape is not None
            and self.shape.focus
            and before
            and before.step.row.template != scene.step.row.template
        ):
            self.shape = replace(self.shape, focus=None)
            self.mark = None
        self._draw_anew()
        if self.picture is None:
            return
        if scene.selected is not None and (before is None or scene.selected != before.selected):
            self._reveal_node(scene.selected)
        elif before is None or scene.moment != before.moment:
            row = self.picture.row_at(scene.moment)
            if row is not None and before is None:
                self.call_after_refresh(self.reveal, row)
            elif row is not None:
                self.reveal(row)

    def wanted_shape(self) -> Shape:
        assert self.scene is not None
        return self.shape if self.shape is not None else Shape.first(self.scene.graph)

    def _draw_anew(self) -> None:
        """Show the scene in the wanted shape: now if its picture was made or is small, else when it is made."""
        scene = self.scene
        assert scene is not None
        shape = self.wanted_shape()
        if not self.gallery.complete(scene, shape):
            if len(scene.graph.nodes) <= _AT_ONCE:
                self.gallery.make(scene, shape)
            else:
                self._make_apart(scene, shape)
        picture = self.gallery.picture(scene.graph, shape)
        if picture is not None:
            self._put(picture)
        elif self.picture is not None and self.picture.graph is scene.graph:
            self._put(self.picture)  # until the wanted one is made
        elif self.picture is None:
            self.entitle(subtitle=self._plain(f"laying out {plural(len(scene.graph.nodes), 'node')}…"))

    @work(thread=True, exclusive=True, group="picture")
    def _make_apart(self, scene: Scene, shape: Shape) -> None:
        worker = get_current_worker()
        picture = self.gallery.make(scene, shape)
        _ = picture.words, picture.modules, scene.graph.outgoing, scene.graph.incoming  # what keys will ask for
        if not worker.is_cancelled:
            self.app.call_from_thread(self._made)

    def _made(self) -> None:
        if self.scene is not None and (picture := self.gallery.picture(self.scene.graph, self.wanted_shape())):
            self._put(picture)

    def _put(self, picture: Picture) -> None:
        scene, fresh = self.scene, picture is not self.picture
        assert scene is not None
        if fresh:
            self.picture = picture
            self._views = {}
            self._first_lane = 0
            self.found = Found(picture, self.wanted)
        self.reader = self.gallery.reader(picture, scene)
        self.cursor = picture.row_of.get(scene.selected) if scene.selected is not None else None
        self._follow_lane()
        self.set_count(len(picture))
        self.entitle(subtitle=self._status())
        if fresh:
            self._reveal_place()
        if self._to_unfold is not None and picture.graph is scene.graph:
            node, self._to_unfold = self._to_unfold, None
            self.unfold_to(node)
        if not picture.nodes and picture.shape.focus is not None:
            self.post_message(Notice("no path leads from one of the two nodes to the other", "warning"))
            self._reshape(replace(picture.shape, focus=None))

    def _reveal_place(self) -> None:
        """The selected node's row, or the one that the moment is at."""
        if self.scene is None or self.picture is None:
            return
        row = self.cursor if self.cursor is not None else self.picture.row_at(self.scene.moment)
        self.reveal(row or 0)

    def _reveal_node(self, node: int) -> None:
        row = self.picture.row_of.get(node) if self.picture is not None else None
        if row is not None:
            self.reveal(row)

    def _follow_lane(self) -> None:
        """Move the lanes sideways so that the cursor's own is seen."""
        if self.picture is None or self.cursor is None:
            return
        room = self._lane_room(self.scrollable_content_region.width)
        column = self.picture.lanes.columns[self.cursor]
        if column < self._first_lane or column >= self._first_lane + room:
            self._first_lane = max(column - room // 2, 0)
        if column < room:
            self._first_lane = 0

    @staticmethod
    def _lane_room(width: int) -> int:
        return max(int(width * _LANES) // 2, 4)

    def _status(self) -> str:
        if self.picture is None or self.scene is None:
            return ""
        if self.typing or self.wanted:
            found = f"{len(self.found):,} found" if self.wanted else "type what to find"
            return self._plain(f"/{self.wanted}{'▏' if self.typing else ''}  {found}")
        return self._plain(picture_words(self.picture, self.scene, marked=self.mark is not None))

    def _plain(self, words: str) -> str:
        return to_ascii(words) if self.scene is not None and self.scene.ascii else words

    # -- drawing -------------------------------------------------------------------------------------

    def strip_of(self, row: int, width: int) -> Strip:
        picture, reader, scene = self.picture, self.reader, self.scene
        assert picture is not None
        assert reader is not None
        assert scene is not None
        words = reader.words(row, self._view(row))
        drawn = picture.lanes.draw(row, NODE, self._first_lane, self._lane_room(width))
        if self._first_lane and drawn:
            drawn = "‥" + drawn[1:]
        paint = RowPaint(self.ink, dark=self.app.current_theme.dark, ascii=scene.ascii)
        strip = paint.strip(words, drawn, width, found=row in self.found.rows)
        if row == self.cursor:
            cursor = self.get_component_rich_style("graph--cursor")
            strip = strip.crop_extend(0, width, None).apply_style(Style(bgcolor=cursor.bgcolor, bold=True))
        return strip

    def _view(self, row: int) -> NodeView:
        assert self.picture is not None
        if row not in self._views:
            self._views[row] = self.picture.view.node(self.picture.nodes[row])
        return self._views[row]

    # -- folding -------------------------------------------------------------------------------------

    def _node(self) -> tuple[int, GraphNode] | None:
        """The cursor's row and node; without a cursor the moment's."""
        if self.picture is None or self.scene is None:
            return None
        row = self.cursor if self.cursor is not None else self.picture.row_at(self.scene.moment)
        return (row, self.picture.nodes[row]) if row is not None else None

    def action_fold(self) -> None:
        """Unfold the module under the cursor; fold the module that the node under the cursor lies in."""
        found = self._node()
        if found is None or self.picture is None:
            return
        row, node = found
        shape = self.wanted_shape()
        if node.kind is NodeKind.MODULE:
            self._open(node)
            return
        path = self.picture.innermost(row)
        if path is None and node.count > 1:  # what a loop repeats
            self._reshape(self.picture.unfolded(node.id))
            self.post_message(Select(node.id))
        elif path is None:
            self.post_message(Notice("this node lies in no module that could be folded"))
        else:
            self._reshape(replace(shape, opened=self.picture.closed(path)))

    def _open(self, node: GraphNode) -> None:
        shape = self.wanted_shape()
        if node.name is not None and shape.opened is not None and self.picture is not None:
            self._reshape(replace(shape, opened=self.picture.opened(node.name)))

    def action_fold_all(self) -> None:
        """All modules folded; again: all unfolded."""
        if self.scene is not None:
            shape = self.wanted_shape()
            self._reshape(replace(shape, opened=None if shape.opened == frozenset() else frozenset()))

    def action_repeats(self) -> None:
        """Equal blocks once, ×N; again: each by itself."""
        if self.scene is not None:
            shape = self.wanted_shape()
            self._reshape(replace(shape, repeats=not shape.repeats))

    def unfold_to(self, node: int) -> None:
        """Draw a node of the graph by itself: open the modules, and the run of equal blocks, that it is folded into."""
        picture, scene = self.picture, self.scene
        if scene is None or picture is None or picture.graph is not scene.graph:
            self._to_unfold = node
            return
        row = picture.row_of.get(node)
        if row is not None and len(picture.nodes[row].members) > 1:
            self._reshape(picture.unfolded(node))

    def _reshape(self, shape: Shape) -> None:
        self.shape = shape
        self._draw_anew()

    # -- focus ---------------------------------------------------------------------------------------

    def action_focus_on(self, relation: Relation) -> None:
        """Only what led to the node under the cursor, or what follows from it."""
        found = self._node()
        if found is not None:
            members = found[1].members or (found[1].id,)
            self._reshape(replace(self.wanted_shape(), focus=Focus(relation, members)))

    def action_path(self) -> None:
        """Mark the node under the cursor; pressed on another one: only the paths between the two."""
        found = self._node()
        if found is None or self.picture is None:
            return
        if self.mark is None:
            self.mark = found[1].id
            self.entitle(subtitle=self._status())
            self.post_message(Notice("marked; press p on another node for the paths between the two"))
            return
        start, self.mark = self.mark, None
        self._reshape(replace(self.wanted_shape(), focus=Focus("path", (start,), (found[1].id,))))

    def action_twin(self) -> None:
        """From a tensor to its grad_fn, and back."""
        found = self._node()
        if found is None or self.picture is None:
            return
        graph, node = self.picture.graph, found[1].id
        ties = (*graph.outgoing.get(node, ()), *graph.incoming.get(node, ()))
        twins = [edge.target if edge.source == node else edge.source for edge in ties if edge.kind is EdgeKind.MADE]
        if twins:
            self.post_message(Select(twins[0]))
        else:
            self.post_message(Notice("nothing here is tied to it; press v for forward and backward together"))

    def action_clear(self) -> None:
        """End the search, then the mark, then the focus, then the selection."""
        if self.wanted or self.typing:
            self.stop_typing()
        elif self.mark is not None:
            self.mark = None
        elif self.shape is not None and self.shape.focus is not None:
            self._reshape(replace(self.shape, focus=None))
        else:
            self.post_message(Select(None))
        self.entitle(subtitle=self._status())
        self.repaint()

    # -- search --------------------------------------------------------------------------------------

    def typed(self) -> None:
        self.found = Found(self.picture, self.wanted)
        node = self.found.from_row(self.cursor or 0)
        if node is not None:
            self.post_message(Select(node))
        self.entitle(subtitle=self._status())

    def typed_out(self) -> None:
        selected = self.scene.selected if self.scene is not None else None
        if not self.found and self.wanted:
            words = f"no node has {self.wanted!r} in its name, op, module, type or marks"
            self.post_message(Notice(words, "warning"))
        elif selected is not None and selected in self.found.nodes:
            self.unfold_to(selected)
        self.entitle(subtitle=self._status())

    def action_match(self, by: int) -> None:
        """To the next match, or the previous one; it gets a row of its own."""
        if not self.found or self.scene is None:
            self.post_message(Notice("press / and type what to find"))
            return
        node, place = self.found.beside(self.scene.selected, -1 if self.cursor is None else self.cursor, by)
        self.post_message(Select(node))
        self.unfold_to(node)
        self.entitle(subtitle=self._plain(f"/{self.wanted}  {place + 1:,} of {len(self.found):,}"))

    # -- rows ----------------------------------------------------------------------------------------

    @on(Rows.Moved)
    def _moved(self, message: Rows.Moved) -> None:
        message.stop()
        if self.picture is not None:
            self.post_message(Select(self.picture.nodes[message.row].id))

    @on(Rows.Chosen)
    def _chosen(self, message: Rows.Chosen) -> None:
        message.stop()
        if self.picture is None or self.scene is None:
            return
        node = self.picture.nodes[message.row]
        if node.kind is NodeKind.MODULE:
            self._open(node)
            return
        moment = self.picture.reach.moment(node)
        if moment is None:
            self.post_message(Notice("this node is not reached in this step"))
        else:
            self.post_message(Travel(self.scene.step.number, moment))
