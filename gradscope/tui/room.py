"""`Room`: how the panes share the screen, as the user has set it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

_NOTCH, _LEAST, _MOST = 5, 20, 80  # percent
_ROWS = 12  # at most more for the timeline
_COLUMNS = {"graph": "left", "parameters": "left", "inspector": "right", "source": "right"}
_UPPER = ("graph", "inspector")


@dataclass
class Room:
    """Percents: `width` of the left column, `heights` of the upper pane of each; `rows` more for the timeline."""

    width: int = 60
    heights: dict[str, int] = field(default_factory=lambda: {"left": 60, "right": 60})
    rows: int = 0

    def grow(self, pane: str, by: int) -> bool:
        """Make `pane` larger, or smaller (`by` -1), and its neighbours the other way; whether that changed anything."""
        before = (self.width, dict(self.heights), self.rows)
        if pane == "timeline":
            self.rows = min(max(self.rows + by, 0), _ROWS)
        else:
            column = _COLUMNS[pane]
            self.width = _notch(self.width, by if column == "left" else -by)
            self.heights[column] = _notch(self.heights[column], by if pane in _UPPER else -by)
        return before != (self.width, self.heights, self.rows)

    def widths(self) -> dict[str, int]:
        """Each column's part of the width."""
        return {"left": self.width, "right": 100 - self.width}

    def parts(self) -> dict[str, int]:
        """Each pane's part of its column's height."""
        uppers = {pane: self.heights[column] for pane, column in _COLUMNS.items()}
        return {pane: upper if pane in _UPPER else 100 - upper for pane, upper in uppers.items()}


def _notch(percent: int, by: int) -> int:
    return min(max(percent + by * _NOTCH, _LEAST), _MOST)
