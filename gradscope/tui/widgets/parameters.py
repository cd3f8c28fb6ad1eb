"""Parameters: shown as text until its widget is there."""

from __future__ import annotations

from textual.content import Content

from ..scene import Scene
from .lines import LinesPane


class ParametersPane(LinesPane):
    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Parameters"

    def show(self, scene: Scene) -> None:
        self.set_lines([Content(f"{len(scene.graph.nodes)} nodes, {len(scene.step_numbers)} steps")])
