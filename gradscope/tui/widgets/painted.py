"""`Painted`: a widget whose lines are sent to the terminal only where they changed."""

from __future__ import annotations

from typing import cast

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Painted:
    """Override `paint_line`. Call `repaint` after a change of contents; `refresh` sends every line.

    It is mixed into a widget, and none itself: Textual takes a widget's CSS from its first base that is one.
    """

    _shown: dict[int, Strip] | None = None  # each line as it was rendered last

    def paint_line(self, y: int) -> Strip:
        """Line `y` of the content, as wide as it."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        strip = self.paint_line(y)
        if self._shown is None:
            self._shown = {}
        self._shown[y] = strip
        return strip

    def repaint(self) -> None:
        """Have the lines rendered that look another way by now."""
        widget, shown = cast(Widget, self), self._shown
        width, height = widget.size
        if not shown or not widget.is_attached:
            widget.refresh()
            return
        changed = []
        for y in range(height):
            strip, before = self.paint_line(y), shown.get(y)
            if strip != before:
                first, end = _difference(before, strip, width) if before is not None else (0, width)
                changed.append(Region(first, y, end - first, 1))
        if changed:
            widget.refresh(*changed)

    def entitle(self, title: str | None = None, subtitle: str | None = None) -> None:
        """Put words into the border where they are others: setting them renders the whole widget."""
        widget = cast(Widget, self)
        if title is not None and title != widget.border_title:
            widget.border_title = title
        if subtitle is not None and subtitle != (widget.border_subtitle or ""):
            widget.border_subtitle = subtitle


def _difference(before: Strip, now: Strip, width: int) -> tuple[int, int]:
    """The cells from the first to behind the last in which two lines differ; the whole line where signs are wide."""
    one, two = _cells(before), _cells(now)
    if not len(one) == len(two) == width:
        return 0, width
    places = [place for place in range(width) if one[place] != two[place]]
    return (places[0], places[-1] + 1) if places else (0, width)


def _cells(strip: Strip) -> list[tuple[str, Style | None]]:
    """Each sign with its style; none of a line in which a sign is not one cell wide."""
    found = [(sign, segment.style) for segment in strip for sign in segment.text]
    return found if len(found) == strip.cell_length else []
