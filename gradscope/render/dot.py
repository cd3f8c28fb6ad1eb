"""DOT: the picture's source, and what the layout engines are fed.

The `graphviz` package quotes; `labels` escapes what stands inside HTML-like labels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import LayoutFailed, MissingEngine
from ..model.graph import EdgeKind, Graph
from ..transforms import UP
from .base import PAGE_WIDTH, SMALLEST_TEXT, RenderOptions
from .cards import card
from .engine import choose
from .header import BORDERS, header
from .labels import NORMAL, SMALL, bold, cell, font, gap, row, table
from .pieces import EdgeView, ModuleView, NodeView
from .theme import EdgeStyle, NodeStyle, Theme, theme
from .view import GraphView
from .words import Role

if TYPE_CHECKING:
    import graphviz

FONT = "Helvetica"  # the engines measure it as Arimo, which Helvetica, Arial and Liberation Sans agree with
WIDEST = PAGE_WIDTH * float(SMALL) / SMALLEST_TEXT  # points, of a picture whose smallest text can be read on a page


class Dot:
    name = "dot"
    suffixes = (".dot", ".gv")
    description = "DOT, the language of Graphviz"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        return dot_source(view, options).encode()

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        return readable(view, options)


def readable(view: GraphView, options: RenderOptions) -> bool:
    """Whether the picture's text is large enough when it is as wide as a page; True where nothing can lay it out."""
    try:
        drawn = choose("svg", options.engine).run(dot_source(view, options, tooltips=False), "svg")
    except MissingEngine:
        return True
    except LayoutFailed:
        return False
    found = re.search(rb'viewBox="\S+ \S+ (\S+) ', drawn)
    return found is None or float(found[1]) <= WIDEST


def dot_source(view: GraphView, options: RenderOptions, *, tooltips: bool = True) -> str:
    """The graph in DOT. Without `tooltips`, for SVG, which gets its own."""
    import graphviz  # 30 ms, and no other output needs it

    look = theme(options.theme)
    inputs = view.graph.incoming
    graph = graphviz.Digraph(
        "gradscope", graph_attr=_graph_attributes(view, look, options), node_attr=_NODE, edge_attr=_EDGE
    )
    by_group: dict[str, list[NodeView]] = {}
    for node in view.nodes:
        by_group.setdefault(node.group, []).append(node)

    def add_nodes(scope: graphviz.Digraph, path: str) -> None:
        for node in by_group.get(path, ()):
            attributes = _node_attributes(node, look)
            if len(inputs.get(node.id, ())) > 1 and not view.graph.combined:
                attributes["ordering"] = "in"  # arguments from left to right
            if tooltips:
                attributes["tooltip"] = graphviz.escape(node.tooltip)
            scope.node(node_name(node.id), label=card(node, look), **attributes)

    add_nodes(graph, "")
    # Inner modules first: each subgraph is complete when its parent takes it in.
    clusters: dict[str, list[graphviz.Digraph]] = {}
    numbers = {path: number for number, path in enumerate(view.modules)}
    for path, module in reversed(list(view.modules.items())):
        cluster = graphviz.Digraph(f"cluster_{numbers[path]}")
        cluster.attr(**_cluster_attributes(module, look, len(view.graph.around(path)) - 1))
        add_nodes(cluster, path)
        for inner in reversed(clusters.pop(path, [])):
            cluster.subgraph(inner)
        clusters.setdefault(module.parent, []).append(cluster)
    for cluster in reversed(clusters.pop("", [])):
        graph.subgraph(cluster)
    _add_edges(graph, view, look, tooltips=tooltips)
    return str(graph.source)


def _add_edges(graph: graphviz.Digraph, view: GraphView, look: Theme, *, tooltips: bool) -> None:
    import graphviz

    spine = _spine(view.graph) if view.graph.combined else frozenset()
    for edge in view.edges:
        attributes = _edge_attributes(look.edges[edge.kind], edge, look)
        if (edge.source, edge.target) in spine:
            attributes["weight"] = _STRAIGHT
        if tooltips:
            attributes["edgetooltip"] = graphviz.escape(edge.tooltip)
        ends = node_name(edge.source), node_name(edge.target)
        if _reversed(view, edge.kind):
            ends = ends[1], ends[0]
            attributes |= {"dir": "back", "arrowtail": attributes.pop("arrowhead")}
        graph.edge(*ends, **attributes)


_NODE = {"fontname": FONT, "fontsize": NORMAL, "shape": "box", "margin": "0.1,0.06", "height": "0.2", "width": "0.3"}
_EDGE = {"fontname": FONT, "fontsize": SMALL, "arrowsize": "0.7"}


_STRAIGHT = "12"


def _spine(graph: Graph) -> frozenset[tuple[int, int]]:
    """The edges along which gradients come back and that no longer way goes around: they are drawn straight."""
    depth: dict[int, int] = {}
    for node in graph.topological():
        depth[node] = max((depth[before] + 1 for before in graph.predecessors(node)), default=0)
    ends = ((edge.source, edge.target) for edge in graph.edges)
    return frozenset(
        (source, target)
        for source, target in ends
        if depth[target] == depth[source] + 1 and graph.by_id[source].requires_grad
    )


def node_name(node: int) -> str:
    return f"n{node}"


def _reversed(view: GraphView, kind: EdgeKind) -> bool:
    """Where forward and backward share a picture, grad edges are laid out against their direction.

    So each grad node comes to lie beside the tensor it belongs to.
    """
    return kind is EdgeKind.GRAD and EdgeKind.MADE in view.edge_kinds


def _graph_attributes(view: GraphView, look: Theme, options: RenderOptions) -> dict[str, str]:
    return {
        "bgcolor": look.paper,
        "fontname": FONT,
        "fontcolor": look.ink,
        "label": header(view, look, with_legend=options.legend),
        "labelloc": "t",
        "labeljust": "l",
        "nodesep": "0.28",
        "ranksep": "0.26" if view.graph.combined else "0.36",
        "pad": "0.25",
        "rankdir": options.direction,
        "outputorder": "edgesfirst",
        "splines": "true",
    }


_SHAPES = {"note": "note", "drum": "cylinder", "stack": "box3d"}


def _node_attributes(node: NodeView, look: Theme) -> dict[str, str]:
    style: NodeStyle = look.nodes[node.role]
    outline = next((look.badge(mark).line for mark in node.marks if look.badge(mark).outline), None)
    styles = ["filled"]
    if style.corner in ("round", "pill"):
        styles.append("rounded")
    if style.border in BORDERS:
        styles.append(BORDERS[style.border])
    attributes = {
        "class": f"node-{node.role.name.lower()}",
        "fillcolor": style.fill,
        "color": outline or style.line,
        "penwidth": "2.4" if outline else "2" if style.border == "bold" else "1.1",
        "style": ",".join(styles),
        "shape": _SHAPES.get(style.corner, "box"),
    }
    if style.border == "double":
        attributes["peripheries"] = "2"
    if node.role is Role.OP:
        attributes["margin"] = "0.08,0.02"
    return attributes


def _edge_attributes(style: EdgeStyle, edge: EdgeView, look: Theme) -> dict[str, str]:
    kind = edge.kind
    attributes = {
        "class": f"edge-{kind.value}",
        "color": style.line,
        "style": style.border,
        "penwidth": str(style.width),
        "arrowhead": style.head,
    }
    if kind is EdgeKind.MADE:
        attributes |= {"minlen": "0", "weight": "3"}
    elif kind is EdgeKind.DATA:
        attributes["weight"] = "2"
    if edge.loops:
        attributes |= {"constraint": "false", "class": "edge-loop", "style": "dashed"}
    if edge.label:
        sign = "✂ " if kind is EdgeKind.CUT else ""
        colour = look.edges[EdgeKind.GRAD].line if UP in edge.label else style.line
        words = f"{sign}{edge.label}"
        shown = cell(font(words, colour, SMALL), text=words, size=9)
        attributes["label"] = f"<{table([row(gap(4), shown)], padding=0)}>"
    return attributes


def _cluster_attributes(module: ModuleView, look: Theme, depth: int) -> dict[str, str]:
    words = cell(bold(module.heading, look.ink, NORMAL), text=module.heading, size=11)
    if module.type:
        words += gap() + cell(font(module.type, look.muted, NORMAL), text=module.type)
    return {
        "label": f"<{table([row(words)], padding=0)}>",
        "labeljust": "l",
        "style": "filled,rounded",
        "fillcolor": look.cluster_fills[depth % len(look.cluster_fills)],
        "color": look.cluster_line,
        "penwidth": "2.2" if module.count > 1 else "1",
        "margin": "8",
    }
