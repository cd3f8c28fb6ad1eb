"""SVG: the engine's drawing, made to fit a page, with tooltips, source links and nothing it should not have.

The engine's document is parsed and rebuilt from an allow-list of elements and attributes, so whatever a
program's names contained, the result holds shapes and text only. Links come from `GraphView`, never from DOT.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from .base import RenderOptions
from .dot import dot_source, node_name
from .engine import choose
from .theme import Theme, theme
from .view import GraphView

_FONTS = "Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif"
_ELEMENTS = frozenset({"g", "path", "polygon", "polyline", "ellipse", "text"})
_ATTRIBUTES = frozenset(
    {"class", "transform", "d", "points", "cx", "cy", "rx", "ry", "x", "y"}
    | {"fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "stroke-opacity"}
    | {"text-anchor", "font-size", "font-weight", "font-style"}
)
_POINTS_PER_PIXEL = 0.75


class Svg:
    name = "svg"
    suffixes = (".svg",)
    description = "SVG, for pages, notebooks and printing"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        engine = choose("svg", options.engine)
        drawn = engine.run(dot_source(view, options, tooltips=False), "svg")
        return polish(drawn, view, theme(options.theme))


def polish(drawn: bytes, view: GraphView, look: Theme) -> bytes:
    """The engine's SVG as a document of our own; see the module's docstring."""
    # The engine we started wrote this; expat does not fetch external entities.
    parsed = ET.fromstring(drawn)  # noqa: S314
    box = [float(number) for number in re.split(r"[ ,]+", parsed.get("viewBox", "0 0 1 1").strip())]
    width, height = (max(round(size / _POINTS_PER_PIXEL), 1) for size in box[2:])
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": f"gradscope gradscope-{look.name}",
            "viewBox": " ".join(f"{number:g}" for number in box),
            "width": str(width),
            "height": str(height),
            "role": "img",
            "font-family": _FONTS,
        },
    )
    ET.SubElement(root, "title").text = f"{view.title}: {view.subtitle}"
    ET.SubElement(root, "style").text = _style(look)
    # Several edges may join the same two nodes; those before share the name.
    edges: dict[str, list[str]] = {}
    for edge in view.edges:
        ends = node_name(edge.source), node_name(edge.target)
        for start, end in (ends, ends[::-1]):
            edges.setdefault(f"{start}->{end}", []).append(edge.tooltip)
    tooltips = {node_name(node.id): node.tooltip for node in view.nodes}
    links = {node_name(node.id): node.link for node in view.nodes if node.link}
    clusters = {f"cluster_{number}": module for number, module in enumerate(view.modules.values())}
    stack = [(parsed, root)]
    while stack:
        source, target = stack.pop()
        for child in source:
            tag = _local(child.tag)
            if tag == "a":  # the engine's own wrapper; its content belongs to the group it is in
                stack.append((child, target))
                continue
            if tag not in _ELEMENTS:
                continue
            made = ET.SubElement(target, tag, _clean(child))
            made.text = child.text if tag == "text" else None
            stack.append((child, made))
            name = next((part.text or "" for part in child if _local(part.tag) == "title"), "")
            kind = made.get("class", "").partition(" ")[0]
            if kind == "node" and name in tooltips:
                made.set("data-id", name[1:])
                stack[-1] = (child, _described(made, tooltips[name], links.get(name)))
            elif kind == "edge" and edges.get(name):
                stack[-1] = (child, _described(made, edges[name].pop(0), None))
            elif kind == "cluster" and name in clusters:
                stack[-1] = (child, _described(made, clusters[name].tooltip, None))
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _described(group: ET.Element, tooltip: str, link: str | None) -> ET.Element:
    """Gives a group its tooltip and link; returns the element that its shapes go into."""
    ET.SubElement(group, "title").text = tooltip
    return group if link is None else ET.SubElement(group, "a", {"href": link})


def _clean(element: ET.Element) -> dict[str, str]:
    kept = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES}
    if element.get("{http://www.w3.org/XML/1998/namespace}space") == "preserve":
        kept["style"] = "white-space:pre"
    return kept


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _style(look: Theme) -> str:
    """Never wider than its page; the node or edge under the pointer stands out. Every rule is inside `.gradscope-…`."""
    scope = f".gradscope-{look.name}"
    return (
        f"{scope}{{max-width:100%;height:auto}}"
        f"{scope} a{{cursor:pointer}}"
        f"{scope} .node:hover path,{scope} .node:hover polygon,{scope} .node:hover ellipse{{stroke-width:2.6}}"
        f"{scope} .edge:hover path{{stroke-width:3}}"
    )
