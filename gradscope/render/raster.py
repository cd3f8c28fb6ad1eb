"""PNG and PDF, drawn by the engine itself."""

from __future__ import annotations

from .base import RenderOptions
from .dot import dot_source, readable
from .engine import choose
from .view import GraphView

_DPI = 144  # twice a screen's: sharp on dense displays and in print
_PURE_FONTS = (
    ("\u0000", "\u052f"),
    ("\u2010", "\u2044"),
    ("\u20a0", "\u20bf"),
    ("\u2190", "\u25e6"),
    ("\u2660", "\u266f"),
)


class Png:
    name = "png"
    suffixes = (".png",)
    description = "PNG, 144 dots per inch"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        source = dot_source(view, options, tooltips=False)
        # graphviz-pure brings fonts for Latin, Greek and Cyrillic; dot draws with the system's.
        engine = choose("png", options.engine, prefer=None if _has_glyphs(source.replace("✂ ", "")) else "dot")
        if engine.name == "graphviz-pure":
            source = source.replace("✂ ", "")
        return engine.run(source, "png", dpi=_DPI)

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        return readable(view, options)


class Pdf:
    name = "pdf"
    suffixes = (".pdf",)
    description = "PDF (needs the system's Graphviz)"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        return choose("pdf", options.engine).run(dot_source(view, options, tooltips=False), "pdf")

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        return readable(view, options)


def _has_glyphs(source: str) -> bool:
    return all(any(first <= char <= last for first, last in _PURE_FONTS) for char in set(source))
