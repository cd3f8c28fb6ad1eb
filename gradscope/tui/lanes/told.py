"""What a picture shows of its graph, in a few words. Pure."""

from __future__ import annotations

from ...text import plural
from ..scene import Scene
from .picture import Picture

_KINDS = {"forward": "forward", "backward": "backward", "both": "forward + backward"}
_FOCUS = {"ancestors": "what led here", "descendants": "what follows", "path": "path"}


def picture_words(picture: Picture, scene: Scene, *, marked: bool) -> str:
    """`forward · 12 of 40 nodes`; `marked`: a node is where a path is to begin."""
    nodes, total = len(picture), len(picture.graph.nodes)
    parts = [_KINDS[scene.kind.value]]
    parts.append(f"{nodes:,} of {plural(total, 'node')}" if nodes < total else plural(total, "node"))
    if picture.shape.focus is not None:
        parts.append(_FOCUS[picture.shape.focus.relation])
    if marked:
        parts.append("path from the marked node")
    pairing = scene.against.pairing if scene.against is not None else None
    if pairing is not None:
        sides = ((pairing.only_mine, "here"), (pairing.only_other, "there"))
        parts += [f"{len(ids):,} only {side}" for ids, side in sides if ids]
    return " · ".join(parts)
