"""`Diagram`: one graph as a picture that saves, prints and shows itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LayoutFailed, MissingEngine
from ..model.findings import Finding
from ..model.graph import Graph
from ..options import ViewOptions
from .base import RenderOptions
from .registry import render, write


@dataclass(frozen=True, repr=False)
class Diagram:
    """A picture of `graph`, folded, focused and coloured as `options` say, `findings` marked on the nodes they name."""

    graph: Graph
    options: ViewOptions = field(default_factory=ViewOptions)
    look: RenderOptions = field(default_factory=RenderOptions)
    findings: Sequence[Finding] = ()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; the suffix picks the format. Raises what `registry.write` raises."""
        return write(self.graph, path, self.options, self.look, self.findings)

    def svg(self) -> str:
        """The picture as one SVG element, never wider than what it lies in. Raises MissingEngine, LayoutFailed."""
        document = render(self.graph, "svg", self.options, self.look, self.findings).decode()
        return document[document.index("<svg") :]

    def text(self) -> str:
        """The graph as lines of text."""
        return render(self.graph, "text", self.options, self.look, self.findings).decode()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Diagram of {len(self.graph.nodes)} nodes: print() draws it as text, .save() as a picture>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """SVG and text for a notebook; only text, and why, where nothing can lay the picture out."""
        bundle = {"text/plain": self.text()}
        try:
            bundle["image/svg+xml"] = self.svg()
        except (MissingEngine, LayoutFailed) as why:
            bundle["text/plain"] += f"\n({why})\n"
        return bundle
