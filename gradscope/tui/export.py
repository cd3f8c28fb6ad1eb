"""Writing what is on screen to files. Slow: for worker threads, which may be told to stop before a file is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import GradscopeError
from ..model.graph import Graph
from ..options import ViewOptions
from ..render.base import RenderOptions
from ..render.registry import by_suffix, formats, render, save


def suffixes() -> str:
    """The suffixes that a graph can be exported to: `svg png pdf …`."""
    return " ".join(suffix.lstrip(".") for one in formats() for suffix in one.suffixes)


def wrong_name(name: str) -> str | None:
    """Why a graph cannot be written to a file of that name, None when it can."""
    if not name.strip():
        return "type the name of a file"
    try:
        by_suffix(name.strip())
    except GradscopeError as error:
        return str(error)
    folder = Path(name.strip()).parent
    return None if folder.is_dir() else f"there is no folder {folder}"


def export_graph(graph: Graph, path: Path, *, theme: str, ascii: bool, cancelled: Callable[[], bool]) -> bool:
    """Write `graph` in the format of the path's suffix; False when it was cancelled, and nothing was written.

    Raises GradscopeError: MissingEngine, LayoutFailed, CannotWrite.
    """
    format = by_suffix(path).name
    content = render(graph, format, ViewOptions(kind=graph.kind.value, theme=theme), RenderOptions(ascii=ascii))
    if cancelled():
        return False
    save(path, content)
    return True


def save_text(text: str, path: Path) -> None:
    """Write `text` to a file. Raises CannotWrite."""
    save(path, text.encode())


def plain_svg(svg: str) -> str:
    """A screenshot without what it would load from elsewhere: its fonts."""
    return re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
