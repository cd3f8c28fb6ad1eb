"""`LinesPane`: lines of styled text that scroll. Only the visible ones are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip


class LinesPane(ScrollView, can_focus=True):
    """A scrolling list of `Content` lines. `set_lines` replaces them, and keeps the place of who scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Content] = ()

    def set_lines(self, lines: Sequence[Content]) -> None:
        self.lines = lines
        width = self.scrollable_content_region.width
        self.virtual_size = Size(width, len(lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        number = self.scroll_offset.y + y
        style = self.visual_style
        if number >= len(self.lines):
            return Strip.blank(width, style.rich_style)
        content = self.lines[number]
        strip = Strip(content.render_segments(style), content.cell_length)
        return strip.crop_extend(0, width, style.rich_style).apply_offsets(0, number)

    def reveal(self, number: int, *, centre: bool = True) -> None:
        """Scroll so that line `number` is visible."""
        self.scroll_to_region(Region(0, number, 1, 1), animate=False, center=centre, immediate=True)
