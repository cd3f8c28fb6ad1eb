"""The tab strip of narrow terminals: one pane at a time, by key or click."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from ..themes import MUTED


class TabStrip(Widget):
    """`panes` are (name, title) in key order; `active` is the one that is shown."""

    def __init__(self, panes: tuple[tuple[str, str], ...], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.panes = panes
        self.active = panes[0][0]

    def activate(self, name: str) -> None:
        if name != self.active:
            self.active = name
            self.refresh()

    def render(self) -> Content:
        parts = []
        for place, (name, title) in enumerate(self.panes, 1):
            mark = f"[{place} {title}]" if name == self.active else f" {place} {title} "
            style = "bold $text-accent" if name == self.active else MUTED
            parts.append(Content.styled(mark, style).stylize(f"@click=screen.pane('{name}')"))
        return Content(" ").join(parts)
