"""The source: the user's file around the line that the cursor is at."""

from __future__ import annotations

from textual.content import Content

from ..scene import Scene
from .lines import LinesPane


class SourcePane(LinesPane):
    """The lines of the file that the moment's call is in, the current one marked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Source"

    def show(self, scene: Scene) -> None:
        stack = scene.step.moments[scene.moment].stack if scene.moment >= 0 else None
        self.set_lines([Content(f"{line.file}:{line.line}  {line.code}") for line in scene.trace.source_lines(stack)])
