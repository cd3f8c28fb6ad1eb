"""What a renderer is, and what it may be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .view import Density, GraphView

DEFAULT_LIMIT = 60  # nodes; more is a hairball on any screen
PAGE_WIDTH = 1000  # pixels
SMALLEST_TEXT = 9  # pixels, of a picture that is fitted to a page


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How to draw. `direction` is TB (top to bottom) or LR; `limit` None draws every node.

    `width`, `ascii` and `colour` are for text; `folder` is where the output will lie, relative to the folder that
    source paths are relative to.
    """

    theme: str = "auto"
    engine: str | None = None
    direction: str = "TB"
    density: Density = Density.AUTO
    limit: int | None = DEFAULT_LIMIT
    width: int = 100
    ascii: bool = False
    colour: bool = False
    legend: bool = True
    folder: str = ""


class Renderer(Protocol):
    """Three facts, what it makes of a view, and whether that can be read.

    `complete` renderers write data and get the whole graph, others a readable part.
    """

    @property
    def name(self) -> str: ...
    @property
    def suffixes(self) -> tuple[str, ...]: ...
    @property
    def description(self) -> str: ...
    @property
    def complete(self) -> bool: ...

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        """The file's content. Raises MissingEngine or LayoutFailed where a layout engine is needed."""
        ...

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        """Whether this much can be read where it will be shown; asked of pictures alone."""
        ...
