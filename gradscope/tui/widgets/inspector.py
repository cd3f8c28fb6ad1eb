"""The inspector: everything known of the selected node, or of what the cursor's moment is about."""

from __future__ import annotations

from textual.content import Content

from ..scene import Scene
from .lines import LinesPane


class InspectorPane(LinesPane):
    """Facts of one tensor or grad node at the scene's moment."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Inspector"

    def show(self, scene: Scene) -> None:
        node = scene.graph.by_id.get(scene.selected) if scene.selected is not None else None
        self.set_lines([Content(node.label if node else "nothing is selected")])
