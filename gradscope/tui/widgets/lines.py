"""`LinesPane`: lines of styled text that scroll. Only the visible ones are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from .painted import Painted


class LinesPane(Painted, ScrollView, can_focus=True):
    """A scrolling list of `Content` lines. `set_lines` replaces them, and keeps the place of who scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]

    DEFAULT_CSS = """
    LinesPane {
        overflow-x: hidden;
        overflow-y: scroll;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Content] = ()

    def set_lines(self, lines: Sequence[Content]) -> None:
        self.lines = lines
        self.set_length(len(lines))

    def set_length(self, count: int) -> None:
        """Show `count` lines, which `line_at` gives."""
        size = Size(self.scrollable_content_region.width, count)
        if size != self.virtual_size:
            # A reactive set would lay out and paint the whole screen anew; only the scroll bar depends on it.
            self.set_reactive(LinesPane.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = count
            if self.scroll_offset.y > self.max_scroll_y:
                self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        self.repaint()

    def line_at(self, number: int) -> Content | None:
        """The line with that number, from 0; None past the end."""
        return self.lines[number] if number < len(self.lines) else None

    def paint_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        number = self.scroll_offset.y + y
        style = self.visual_style
        content = self.line_at(number)
        if content is None:
            return Strip.blank(width, style.rich_style)
        strip = Strip(content.render_segments(style), content.cell_length)
        return strip.crop_extend(0, width, style.rich_style).apply_offsets(0, number)

    def reveal(self, number: int, *, centre: bool = True) -> None:
        """Scroll so that line `number` is visible."""
        self.scroll_to_region(Region(0, number, 1, 1), animate=False, center=centre, immediate=True, force=True)
