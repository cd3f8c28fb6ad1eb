"""`Found`: what a search found in a picture, and which of it comes next. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set

from .picture import Picture, nearby


class Found:
    """The ids of the nodes found, in the order of their rows, folded ones too, and the rows that hold any."""

    def __init__(self, picture: Picture | None = None, wanted: str = "") -> None:
        self.nodes: Sequence[int] = picture.search(wanted) if picture is not None else ()
        self._rows = [picture.row_of[node] for node in self.nodes] if picture is not None else []
        self.rows: Set[int] = frozenset(self._rows)

    def __len__(self) -> int:
        return len(self.nodes)

    def from_row(self, row: int) -> int | None:
        """The first node found in `row` or after it, else the first of all."""
        return next((node for node, there in zip(self.nodes, self._rows) if there >= row), next(iter(self.nodes), None))

    def beside(self, selected: int | None, row: int, by: int) -> tuple[int, int]:
        """The next (`by` 1) or previous one (-1), around the end, and its position: from the selected one, else `row`.

        Raises ValueError where nothing was found.
        """
        if not self.nodes:
            raise ValueError("nothing was found")
        if selected in self.nodes:
            place = (self.nodes.index(selected) + by) % len(self.nodes)
        else:
            _, place = nearby(self._rows, row, by)
        return self.nodes[place], place
