"""Formats by name and by suffix, and the two verbs: `render` a graph to bytes, `write` it to a file.

A new output is one module with a `Renderer` and one line in `RENDERERS`; html, csv, parquet and
perfetto belong here when they come.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import CannotWrite, UnknownName
from ..model.findings import Finding
from ..model.graph import Graph
from ..options import ViewOptions
from ..transforms import Fitted, fit, mark_findings, passes, simplify
from .base import Renderer, RenderOptions
from .dot import Dot
from .graphml import GraphMl
from .json_ import Json
from .mermaid import Mermaid
from .raster import Pdf, Png
from .svg import Svg
from .text_ import Text
from .view import GraphView

RENDERERS: tuple[Renderer, ...] = (Svg(), Png(), Pdf(), Dot(), Json(), GraphMl(), Mermaid(), Text())


@dataclass(frozen=True, slots=True)
class Format:
    """What a user is told about a format."""

    name: str
    suffixes: tuple[str, ...]
    description: str


def formats() -> tuple[Format, ...]:
    return tuple(Format(one.name, one.suffixes, one.description) for one in RENDERERS)


def by_name(name: str) -> Renderer:
    """The renderer of format `name`. Raises UnknownName listing the known ones."""
    known = {renderer.name: renderer for renderer in RENDERERS}
    if name not in known:
        raise UnknownName("format", name, known)
    return known[name]


def by_suffix(path: str | os.PathLike[str]) -> Renderer:
    """The renderer for a file of that suffix. Raises UnknownName listing the known ones."""
    known: Mapping[str, Renderer] = {suffix: renderer for renderer in RENDERERS for suffix in renderer.suffixes}
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise UnknownName("picture suffix", suffix or Path(path).name, known)
    return known[suffix]


def render(
    graph: Graph,
    format: str,
    options: ViewOptions | None = None,
    look: RenderOptions | None = None,
    findings: Sequence[Finding] = (),
) -> bytes:
    """`graph` in `format`, folded and focused as `options` say, `findings` marked on the nodes they name.

    Pictures show at most `look.limit` nodes and say what was left out; data formats have all of it.
    Raises UnknownName for a wrong format, theme, engine, focus or module, UsageError for a wrong depth,
    MissingEngine where no program can lay the picture out and LayoutFailed where one could not.
    """
    return _render(by_name(format), graph, options or ViewOptions(), look, findings)


def write(
    graph: Graph,
    path: str | os.PathLike[str],
    options: ViewOptions | None = None,
    look: RenderOptions | None = None,
    findings: Sequence[Finding] = (),
) -> Path:
    """`graph` as a file whose suffix picks the format. The file is complete or not there.

    Raises CannotWrite and what `render` raises; nothing is touched before the picture is ready.
    """
    target = Path(path)
    renderer = by_suffix(target)
    look = look or RenderOptions()
    if not look.folder:
        look = replace(look, folder=_folder_of(target))
    save(target, _render(renderer, graph, options or ViewOptions(), look, findings))
    return target


def _render(
    renderer: Renderer, graph: Graph, options: ViewOptions, look: RenderOptions | None, findings: Sequence[Finding]
) -> bytes:
    look = replace(look or RenderOptions(), theme=options.theme, engine=options.engine, legend=options.legend)
    wanted = simplify(mark_findings(graph, findings), passes(options, picture=not renderer.complete))

    def viewed(fitted: Fitted) -> GraphView:
        return GraphView(fitted.graph, notes=fitted.notes, density=look.density, folder=look.folder, findings=findings)

    def readable(drawn: Graph) -> bool:
        return options.depth is not None or renderer.readable(viewed(Fitted(drawn)), look)

    limit = None if renderer.complete else look.limit
    fitted = Fitted(wanted) if limit is None else fit(wanted, limit, options.expand, readable=readable)
    return renderer.render(viewed(fitted), look)


def _folder_of(target: Path) -> str:
    """The folder of a picture, relative to the current one, so that its links to sources work."""
    try:
        relative = os.path.relpath(target.parent)
    except ValueError:  # another drive
        return ""
    return "" if relative == "." else relative.replace(os.sep, "/")


def save(path: Path, content: bytes) -> None:
    """Writes `content` beside `path` and moves it there in one step. Raises CannotWrite."""
    if path.is_dir():
        raise CannotWrite(f"cannot write {path}: it is a folder; name a file in it")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        reason = "there is no such folder" if not path.parent.is_dir() else error.strerror or str(error)
        raise CannotWrite(f"cannot write {path}: {reason}") from None
