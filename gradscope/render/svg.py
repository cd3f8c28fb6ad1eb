"""SVG: the engine's drawing, made to fit a page, with tooltips, source links and nothing it should not have.

The engine's document is parsed and rebuilt from an allow-list of elements and attributes, so whatever a
program's names contained, the result holds shapes and text only. Links come from `GraphView`, never from DOT.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from .base import RenderOptions
from .dot import dot_source, node_name, readable
from .engine import choose
from .pieces import ModuleView
from .theme import AUTO, Theme, in_the_dark, theme
from .view import GraphView

_FONTS = "Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif"
_ELEMENTS = frozenset({"g", "path", "polygon", "polyline", "ellipse", "text"})
_ATTRIBUTES = frozenset(
    {"class", "transform", "d", "points", "cx", "cy", "rx", "ry", "x", "y"}
    | {"fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "stroke-opacity"}
    | {"text-anchor", "font-size", "font-weight", "font-style"}
)
_COLOURED = ("fill", "stroke")
_POINTS_PER_PIXEL = 0.75


class Svg:
    name = "svg"
    suffixes = (".svg",)
    description = "SVG, for pages, notebooks and printing"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        engine = choose("svg", options.engine)
        drawn = engine.run(dot_source(view, options, tooltips=False), "svg")
        return polish(drawn, view, theme(options.theme), auto=options.theme == AUTO)

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        return readable(view, options)


def polish(drawn: bytes, view: GraphView, look: Theme, *, auto: bool = False) -> bytes:
    """The engine's SVG as a document of our own; see the module's docstring."""
    # The engine we started wrote this; expat does not fetch external entities.
    parsed = ET.fromstring(drawn)  # noqa: S314
    box = [float(number) for number in re.split(r"[ ,]+", parsed.get("viewBox", "0 0 1 1").strip())]
    width, height = (max(round(size / _POINTS_PER_PIXEL), 1) for size in box[2:])
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": f"gradscope gradscope-{AUTO if auto else look.name}",
            "viewBox": " ".join(f"{number:g}" for number in box),
            "width": str(width),
            "height": str(height),
            "role": "img",
            "font-family": _FONTS,
        },
    )
    ET.SubElement(root, "title").text = f"{view.title}: {view.subtitle}"
    style = ET.SubElement(root, "style")
    _Copy(view, look).run(parsed, root)
    name = AUTO if auto else look.name
    style.text = _style(name) + (_dark_style(name, root) if auto else "")
    body: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


class _Copy:
    """Copies what is allowed, giving nodes, edges and modules their tooltips and links."""

    def __init__(self, view: GraphView, look: Theme) -> None:
        self.nodes = {node_name(node.id): node for node in view.nodes}
        self.clusters = {f"cluster_{number}": module for number, module in enumerate(view.modules.values())}
        self.fills = look.cluster_fills
        self.depths = {path: len(view.graph.around(path)) - 1 for path in view.modules}
        self.labels: list[ET.Element] = []
        # Several edges may join the same two nodes, in whichever direction they were laid out.
        self.edges: dict[str, list[str]] = {}
        for edge in view.edges:
            ends = node_name(edge.source), node_name(edge.target)
            for start, end in (ends, ends[::-1]):
                self.edges.setdefault(f"{start}->{end}", []).append(edge.tooltip)

    def run(self, source: ET.Element, root: ET.Element) -> None:
        stack = [(source, root)]
        while stack:
            element, made = stack.pop()
            for child in element:
                tag = _local(child.tag)
                if tag == "a":  # the engine's own wrapper; its content belongs to the group it is in
                    stack.append((child, made))
                elif tag in _ELEMENTS:
                    copy = ET.SubElement(made, tag, _clean(child))
                    copy.text = child.text if tag == "text" else None
                    stack.append((child, self._group(child, copy) if tag == "g" else copy))
        whole = root.find("g")
        if whole is not None:
            whole.extend(self.labels)

    def _group(self, source: ET.Element, group: ET.Element) -> ET.Element:
        """Describes the group of a node, an edge or a module; returns what its shapes go into."""
        name = next((part.text or "" for part in source if _local(part.tag) == "title"), "")
        kind = group.get("class", "").partition(" ")[0]
        if kind == "node" and name in self.nodes:
            node = self.nodes[name]
            group.set("data-id", str(node.id))
            return _described(group, node.tooltip, node.link)
        if kind == "edge" and self.edges.get(name):
            return _described(group, self.edges[name].pop(0), None)
        if kind == "cluster" and name in self.clusters:
            self._lift_labels(source, self.clusters[name])
            return _described(group, self.clusters[name].tooltip, None)
        return group

    def _lift_labels(self, source: ET.Element, module: ModuleView) -> None:
        """A module's name is drawn last and with a halo, so that edges that cross it leave it readable."""
        fill = self.fills[self.depths[module.path] % len(self.fills)]
        for text in [part for part in source if _local(part.tag) == "text"]:
            halo = {"stroke": fill.lower(), "stroke-width": "4", "stroke-linejoin": "round", "paint-order": "stroke"}
            label = ET.Element("text", {**_clean(text), **halo})
            label.text = text.text
            self.labels.append(label)
            source.remove(text)


def _described(group: ET.Element, tooltip: str, link: str | None) -> ET.Element:
    """Gives a group its tooltip and link; returns the element that its shapes go into."""
    ET.SubElement(group, "title").text = tooltip
    return group if link is None else ET.SubElement(group, "a", {"href": link})


def _clean(element: ET.Element) -> dict[str, str]:
    kept = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES}
    return {name: value.lower() if name in _COLOURED else value for name, value in kept.items()}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _style(name: str) -> str:
    """Never wider than its page; the node or edge under the pointer stands out. Every rule is inside `.gradscope-…`."""
    scope = f".gradscope-{name}"
    return (
        f"{scope}{{max-width:100%;height:auto}}"
        f"{scope} a{{cursor:pointer}}"
        f"{scope} .node:hover path,{scope} .node:hover polygon,{scope} .node:hover ellipse{{stroke-width:2.6}}"
        f"{scope} .edge:hover path{{stroke-width:3}}"
    )


def _dark_style(name: str, root: ET.Element) -> str:
    """What a page in the dark sees: each colour that is there as the dark theme has it."""
    dark = in_the_dark()
    used = sorted({(key, one.get(key, "")) for one in root.iter() for key in _COLOURED if one.get(key) in dark})
    rules = "".join(f'.gradscope-{name} [{key}="{colour}"]{{{key}:{dark[colour]}}}' for key, colour in used)
    return f"@media (prefers-color-scheme: dark){{{rules}}}"
