"""How a row of the graph looks: its lanes, sign, name and marks at the left, columns at the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from ...render.signs import to_ascii
from ...render.theme import theme
from ...text import cells, elide
from ..differences import WIDTH
from ..lanes.rows import AHEAD, DONE, NOW, RowWords

NODE = "\0"  # stands for the node in the lanes' drawing
_STATE_SIGNS = {AHEAD: "·", NOW: "▸", DONE: " "}
_Part = tuple[str, "Style | None"]


class RowPaint:
    """Paints rows with a pane's inks: the component classes `graph--…`."""

    def __init__(self, ink: Callable[[str], Style], *, dark: bool, ascii: bool) -> None:
        self.ink = ink
        self.look = theme("dark" if dark else "light")
        self.ascii = ascii

    def strip(self, words: RowWords, lanes: str, width: int, *, found: bool) -> Strip:
        """A row `width` wide. `found`: the search has found it."""
        styles = self._styles(words)
        before, sign, after = lanes.partition(NODE)
        lane = self.ink("graph--lane")
        parts: list[_Part] = [(_STATE_SIGNS[words.state], styles["state"]), (before, lane)]
        parts += [(words.sign if sign else "…", styles["sign"]), (after + " ", lane)]
        marks = list(self._marks(words))
        columns = list(self._columns(words, styles, width))
        room = width - sum(cells(text) for text, _ in (*parts, *marks, *columns))
        name = elide(words.name, max(room, 4))
        parts.append((name, styles["name"] + self.ink("graph--match") if found else styles["name"]))
        free = room - cells(name)
        rule = _fitting(words.rule, free - 1)
        parts += [*marks, (rule, styles["norm"]), (" " * (free - cells(rule)), None), *columns]
        return Strip([Segment(to_ascii(text) if self.ascii else text, style) for text, style in parts if text])

    def _styles(self, words: RowWords) -> Mapping[str, Style]:
        if words.state == AHEAD:
            return dict.fromkeys(("state", "sign", "name", "what", "norm"), self.ink("graph--ahead"))
        return {
            "state": self.ink("graph--now"),
            "sign": Style(color=self.look.nodes[words.role].line, bold=words.state == NOW),
            "name": self.ink("graph--name"),
            "what": self.ink("graph--what"),
            "norm": self.ink("graph--norm"),
        }

    def _marks(self, words: RowWords) -> Iterator[_Part]:
        for mark in words.marks:
            badge = self.look.badge(mark)
            yield f" {badge.sign}", Style(color=badge.line, bold=True, dim=words.state == AHEAD)
        for code in words.findings:
            yield f" {code}", self.ink("graph--finding")
        if words.only:
            yield f" {words.only}", self.ink("graph--beside")

    def _columns(self, words: RowWords, styles: Mapping[str, Style], width: int) -> Iterator[_Part]:
        """Op, shape and norm, each where it stands in every row; where steps are compared, the norm's difference."""
        texts = {"what": words.what, "shape": words.shape, "norm": f"|g| {words.norm}" if words.norm else words.part}
        for column, size in _sizes(width):
            shown = elide(texts[column], size)
            yield f" {shown}{' ' * (size - cells(shown))}", styles["norm" if column == "norm" else "what"]
        if words.beside is not None and _sizes(width):
            yield f" {words.beside:<{WIDTH - 1}}", self.ink("graph--beside")


def _fitting(parts: Sequence[str], room: int) -> str:
    """As many whole parts as there is room for, with a sign of the rest: half a number would be another one."""
    for count in range(len(parts), 0, -1):
        text = f"  {', '.join(parts[:count])}{', …' if count < len(parts) else ''}"
        if cells(text) <= room:
            return text
    return ""


def _sizes(width: int) -> list[tuple[str, int]]:
    """The columns at the right and their sizes, by the pane's width."""
    if width < 30:
        return []
    if width < 48:
        return [("norm", 9)]
    if width < 84:
        return [("what", 18), ("norm", 12)]
    return [("what", 24), ("shape", 16), ("norm", 12)]
