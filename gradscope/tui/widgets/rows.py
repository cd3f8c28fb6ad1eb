"""`Rows`: a list of which only the visible rows are made, with a cursor; keys cost the same at any length."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from .painted import Painted


class Rows(Painted, ScrollView, can_focus=True):
    """Override `strip_of`, and what the handlers of `Moved` and `Chosen` do. `head` lines stay at the top."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("ctrl+home", "first", "first row", show=False),
        Binding("ctrl+end", "last", "last row", show=False),
        Binding("enter", "choose", "open", show=False),
    ]
    DEFAULT_CSS = "Rows { overflow-x: hidden; scrollbar-size-vertical: 1; }"

    class Moved(Message):
        """The user moved the cursor to `row`."""

        def __init__(self, rows: Rows, row: int) -> None:
            super().__init__()
            self.rows, self.row = rows, row

        @property
        def control(self) -> Rows:
            return self.rows

    class Chosen(Moved):
        """The user pressed enter on `row`, or clicked it twice."""

    def __init__(self, *, head: int = 0, id: str | None = None) -> None:
        super().__init__(id=id)
        self.head = head
        self.count = 0
        self.cursor: int | None = None
        self.wanted = ""  # what the user typed after `/`
        self.typing = False
        self._inks: dict[str, Style] = {}

    # -- what subclasses say -------------------------------------------------------------------------

    def strip_of(self, row: int, width: int) -> Strip:
        """Row `row`, at most `width` wide."""
        raise NotImplementedError

    def head_strip(self, line: int, width: int) -> Strip:
        """Line `line` of the head."""
        raise NotImplementedError

    def typed(self) -> None:
        """`wanted` has changed."""

    def typed_out(self) -> None:
        """The user pressed enter after typing."""

    # -- what owners call ----------------------------------------------------------------------------

    def set_count(self, count: int) -> None:
        """How many rows there are."""
        if count != self.count:
            self.count = count
            self.virtual_size = Size(self.size.width, count + self.head)
        if self.cursor is not None and self.cursor >= count:
            self.cursor = count - 1 if count else None
        self.repaint()

    def reveal(self, row: int) -> None:
        """Scroll so that `row` is visible, with rows around it."""
        room = max(self.scrollable_content_region.height - self.head, 1)
        top = round(self.scroll_offset.y)
        margin = min(2, (room - 1) // 2)
        if row < top + margin or row >= top + room - margin:
            self.scroll_to(y=max(row - room // 2, 0), animate=False, immediate=True)

    # -- drawing -------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, self.count + self.head)

    def paint_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y < self.head:
            return self._fit(self.head_strip(y, width), width)
        row = self.scroll_offset.y + y - self.head
        if row >= self.count:
            return Strip.blank(width, self._base)
        return self._fit(self.strip_of(row, width), width)

    def _fit(self, strip: Strip, width: int) -> Strip:
        return strip.crop_extend(0, width, self._base).apply_style(self._base)

    @property
    def _base(self) -> Style:
        if "" not in self._inks:
            self._inks[""] = self.rich_style
        return self._inks[""]

    def ink(self, component: str) -> Style:
        """A component class's style without its background, so that a cursor shows through."""
        if component not in self._inks:
            look = self.get_component_rich_style(component)
            self._inks[component] = Style(
                color=look.color, bold=look.bold, dim=look.dim, underline=look.underline, reverse=look.reverse
            )
        return self._inks[component]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._inks = {}

    # -- keys and mouse ------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        start = self.cursor if self.cursor is not None else round(self.scroll_offset.y) - (by > 0)
        self.go(start + by)

    def action_page(self, by: int) -> None:
        start = self.cursor if self.cursor is not None else round(self.scroll_offset.y)
        self.go(start + by * max(self.scrollable_content_region.height - self.head - 1, 1))

    def action_first(self) -> None:
        self.go(0)

    def action_last(self) -> None:
        self.go(self.count - 1)

    def action_choose(self) -> None:
        if self.cursor is not None:
            self.post_message(self.Chosen(self, self.cursor))

    def action_type(self) -> None:
        """Take the next keys as text, until enter or escape."""
        self.typing, self.wanted = True, ""
        self._retyped()

    def stop_typing(self) -> None:
        """Forget what was typed."""
        self.typing, self.wanted = False, ""
        self._retyped()

    def _retyped(self) -> None:
        self.typed()
        self.repaint()

    def on_key(self, event: events.Key) -> None:
        if event.key == "slash" and not self.typing:
            self.action_type()  # here, not by its binding: what is typed right behind it belongs to the search
        elif not self.typing:
            return
        elif event.key == "enter":
            self.typing = False
            self.typed_out()
        elif event.key == "escape":
            self.stop_typing()
        elif event.key == "backspace":
            self.wanted = self.wanted[:-1]
            self._retyped()
        elif event.is_printable and event.character:
            self.wanted += event.character
            self._retyped()
        else:
            return
        event.stop()
        event.prevent_default()

    def go(self, row: int) -> None:
        """Put the cursor on `row`, or as near as there are rows, and tell so."""
        if not self.count:
            return
        self.cursor = min(max(row, 0), self.count - 1)
        self.reveal(self.cursor)
        self.repaint()
        self.post_message(self.Moved(self, self.cursor))

    def row_under(self, event: events.MouseEvent) -> int | None:
        """The row that the mouse is on."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.head:
            return None
        row = offset.y - self.head + self.scroll_offset.y
        return row if row < self.count else None

    def on_click(self, event: events.Click) -> None:
        row = self.row_under(event)
        if row is None:
            return
        event.stop()
        if event.chain == 2:
            self.post_message(self.Chosen(self, row))
        else:
            self.go(row)

    def refresh_rows(self, *rows: int | None) -> None:
        """Draw only these rows anew."""
        top = round(self.scroll_offset.y)
        for row in rows:
            if row is not None:
                self.refresh(Region(0, row - top + self.head, self.size.width, 1))
