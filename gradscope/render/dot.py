"""DOT: the picture's source, and what the layout engines are fed.

The `graphviz` package quotes; `_html` escapes what stands inside HTML-like labels. A node is a small table:
the title and role, the type, the leaf table's row, notes and badges.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from textwrap import wrap

from ..model.graph import EdgeKind
from ..transforms import SEVERITY_MARKS
from .base import RenderOptions
from .theme import EdgeStyle, LegendEntry, NodeStyle, Theme, legend, theme
from .view import GraphView, ModuleView, NodeView
from .words import Role

FONT = "Helvetica"  # the engines measure it as Arimo, which Helvetica, Arial and Liberation Sans agree with
_LEGEND_COLUMNS = 5
_WRAP = 48  # characters of a note before it goes on in the next line
_SMALL, _NORMAL, _TITLE = "9", "10", "12"


class Dot:
    name = "dot"
    suffixes = (".dot", ".gv")
    description = "DOT, the language of Graphviz"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        return dot_source(view, options).encode()


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
            if len(inputs.get(node.id, ())) > 1:
                attributes["ordering"] = "in"  # arguments from left to right
            if tooltips:
                attributes["tooltip"] = graphviz.escape(node.tooltip)
            scope.node(node_name(node.id), label=_card(node, look), **attributes)

    add_nodes(graph, "")
    # Inner modules first: each subgraph is complete when its parent takes it in.
    clusters: dict[str, list[graphviz.Digraph]] = {}
    numbers = {path: number for number, path in enumerate(view.modules)}
    for path, module in reversed(list(view.modules.items())):
        cluster = graphviz.Digraph(f"cluster_{numbers[path]}")
        cluster.attr(**_cluster_attributes(module, look))
        add_nodes(cluster, path)
        for inner in reversed(clusters.pop(path, [])):
            cluster.subgraph(inner)
        clusters.setdefault(module.parent, []).append(cluster)
    for cluster in reversed(clusters.pop("", [])):
        graph.subgraph(cluster)
    for edge in view.edges:
        attributes = _edge_attributes(look.edges[edge.kind], edge.kind, edge.label)
        if tooltips:
            attributes["edgetooltip"] = graphviz.escape(edge.tooltip)
        ends = node_name(edge.source), node_name(edge.target)
        if _reversed(view, edge.kind):
            ends = ends[1], ends[0]
            attributes |= {"dir": "back", "arrowtail": attributes.pop("arrowhead")}
        graph.edge(*ends, **attributes)
    return str(graph.source)


_NODE = {"fontname": FONT, "fontsize": _NORMAL, "shape": "box", "margin": "0.1,0.06", "height": "0.2", "width": "0.3"}
_EDGE = {"fontname": FONT, "fontsize": _SMALL, "arrowsize": "0.7"}


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
        "label": _header(view, look),
        "labelloc": "t",
        "labeljust": "l",
        "nodesep": "0.28",
        "ranksep": "0.36",
        "pad": "0.25",
        "rankdir": options.direction,
        "outputorder": "edgesfirst",
        "splines": "true",
    }


# -- cards ---------------------------------------------------------------------------------------


def _card(node: NodeView, look: Theme) -> str:
    style = look.nodes[node.role]
    rows = ['<TR><TD HEIGHT="5"></TD></TR>'] if style.corner in ("drum", "stack") else []
    rows.append(_row(_title_cell(node, style), _role_cell(node, style)))
    if node.role is Role.OP:  # an op is one word on a line of the picture
        rows = [_row(_cell(_bold(node.heading, style.ink), text=node.heading, align="CENTER"))]
    elif node.type_line:
        rows.append(_row(_cell(_font(node.type_line, look.muted, _SMALL), text=node.type_line, span=2)))
    rows += _findings(node, look)
    for key, value in node.rows:
        rows.append(_row(_cell(_font(key, look.muted, _NORMAL), text=key), _value_cell(value, style)))
    for note in node.notes:
        rows += [_row(_cell(_font(part, look.muted, _SMALL), text=part, span=2)) for part in wrap(note, _WRAP)]
    for mark, word in zip(node.marks, node.badges, strict=True):
        if mark in SEVERITY_MARKS:
            continue
        badge = look.badge(mark)
        words = f"{badge.sign} {word}"
        rows.append(_row(_cell(f"<B>{_font(words, badge.line, _SMALL)}</B>", text=words, span=2)))
    return f"<{_table(rows)}>"


def _findings(node: NodeView, look: Theme) -> Iterator[str]:
    """A banner for each severity, and what the findings say."""
    for mark, word in zip(node.marks, node.badges, strict=True):
        if mark in SEVERITY_MARKS:
            badge = look.badge(mark)
            for number, part in enumerate(wrap(f"{badge.sign} {word}", _WRAP)):
                words = f"<B>{_font(part if not number else f'  {part}', look.paper, _NORMAL)}</B>"
                yield _row(_cell(words, text=part, span=2, fill=badge.line))
    for message in node.messages:
        for part in wrap(message, _WRAP):
            yield _row(_cell(_font(part, look.nodes[node.role].ink, _SMALL), text=part, span=2))


def _title_cell(node: NodeView, style: NodeStyle) -> str:
    return _cell(_bold(node.heading, style.ink), text=node.heading, size=12)


def _role_cell(node: NodeView, style: NodeStyle) -> str:
    words = f"  {style.sign} {node.caption}".rstrip()
    return _cell(_font(words, style.line, _SMALL), text=words, align="RIGHT")


def _value_cell(value: str, style: NodeStyle) -> str:
    return _cell(_font(value, style.ink, _NORMAL), text=value, align="RIGHT")


def _bold(text: str, colour: str) -> str:
    return f"<B>{_font(text, colour, _TITLE)}</B>"


def _font(text: str, colour: str, size: str) -> str:
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{_html(text)}</FONT>'


def _cell(content: str, *, text: str, align: str = "LEFT", span: int = 1, size: int = 10, fill: str = "") -> str:
    looks = (f' COLSPAN="{span}"' if span > 1 else "") + (f' BGCOLOR="{fill}"' if fill else "")
    return f'<TD ALIGN="{align}"{looks}{_wide(text, size)}>{content}</TD>'


def _wide(text: str, size: int) -> str:
    """A least width for text the engines cannot measure: East Asian characters are one em wide."""
    if not any(unicodedata.east_asian_width(char) in "WF" for char in text):
        return ""
    ems = sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.56 for char in text)
    return f' WIDTH="{int(ems * size) + 8}"'


def _row(*cells: str) -> str:
    return f"<TR>{''.join(cells)}</TR>"


def _table(rows: Iterable[str], spacing: int = 0, padding: int = 1) -> str:
    body = "".join(rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="{padding}">{body}</TABLE>'


def _html(text: str) -> str:
    """Text inside an HTML-like label, where Graphviz leaves out empty and leading-space content."""
    return escape(text).replace("  ", "&#160; ") or "&#160;"


# -- looks ---------------------------------------------------------------------------------------

_SHAPES = {"note": "note", "drum": "cylinder", "stack": "box3d"}
_BORDERS = {"dashed": "dashed", "dotted": "dotted"}


def _node_attributes(node: NodeView, look: Theme) -> dict[str, str]:
    style = look.nodes[node.role]
    outline = next((look.badge(mark).line for mark in node.marks if look.badge(mark).outline), None)
    styles = ["filled"]
    if style.corner in ("round", "pill"):
        styles.append("rounded")
    if style.border in _BORDERS:
        styles.append(_BORDERS[style.border])
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


def _edge_attributes(style: EdgeStyle, kind: EdgeKind, label: str) -> dict[str, str]:
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
    if label:
        sign = "✂ " if kind is EdgeKind.CUT else ""
        attributes["label"] = f"<{_font(f'  {sign}{label}', style.line, _SMALL)}>"
    return attributes


def _cluster_attributes(module: ModuleView, look: Theme) -> dict[str, str]:
    depth = module.path.count(".")
    words = f"<B>{_font(module.heading, look.ink, _NORMAL)}</B>"
    if module.type:
        words += _font(f"  {module.type}", look.muted, _NORMAL)
    return {
        "label": f"<{words}>",
        "labeljust": "l",
        "style": "filled,rounded",
        "fillcolor": look.cluster_fills[depth % len(look.cluster_fills)],
        "color": look.cluster_line,
        "penwidth": "2.2" if module.count > 1 else "1",
        "margin": "10",
    }


# -- header: title and legend --------------------------------------------------------------------


def _header(view: GraphView, look: Theme) -> str:
    notes = wrap("; ".join(view.notes), 2 * _WRAP)
    lines = [
        f"<B>{_font(view.title, look.ink, '15')}</B>",
        *(_font(n, look.muted, _NORMAL) for n in (view.subtitle, *notes)),
    ]
    rows = [f'<TR><TD ALIGN="LEFT">{line}</TD></TR>' for line in lines]
    widest = max(_points(view.title, 15), *(_points(line, 10) for line in (view.subtitle, *notes)))
    entries = legend(view, look)
    nodes = [entry for entry in entries if entry.node is not None]
    others = [entry for entry in entries if entry.node is None]
    groups = [entries] if len(entries) <= _LEGEND_COLUMNS else [nodes, others]
    rows += [f'<TR><TD ALIGN="LEFT">{_legend_table(group, look, widest)}</TD></TR>' for group in groups if group]
    rows.append('<TR><TD HEIGHT="6"></TD></TR>')
    return f"<{_table(rows, spacing=2)}>"


def _legend_table(entries: Sequence[LegendEntry], look: Theme, widest: int) -> str:
    """The legend as a grid. A table fills its cell, so what is left of the width goes to an empty last column."""
    columns = min(_LEGEND_COLUMNS, len(entries))
    chunks = [entries[start : start + columns] for start in range(0, len(entries), columns)]
    used = sum(
        max(_points(chunk[place].word, 9) for chunk in chunks if place < len(chunk)) + 44 for place in range(columns)
    )
    filler = f'<TD WIDTH="{max(widest - used, 1)}"></TD>'
    empty = "<TD></TD><TD></TD>"
    rows = (
        _row(*(_legend_cells(entry, look) for entry in chunk), *[empty] * (columns - len(chunk)), filler)
        for chunk in chunks
    )
    return _table(rows, spacing=2)


def _points(text: str, size: int) -> int:
    """About how wide `text` is, in points."""
    return int(sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.52 for char in text) * size)


def _legend_cells(entry: LegendEntry, look: Theme) -> str:
    word = f'<TD ALIGN="LEFT">{_font(entry.word, look.muted, _SMALL)}  </TD>'
    if entry.node is not None:
        return f'<TD ALIGN="LEFT">{_swatch(entry.node)}</TD>{word}'
    if entry.badge is not None:
        return f'<TD ALIGN="CENTER"><B>{_font(entry.badge.sign, entry.badge.line, _NORMAL)}</B></TD>{word}'
    assert entry.edge is not None
    strokes = {"solid": "──►", "dotted": "· · ·", "dashed": "─ ─ ┤"}
    return f'<TD ALIGN="CENTER">{_font(strokes[entry.edge.border], entry.edge.line, _SMALL)}</TD>{word}'


def _swatch(style: NodeStyle) -> str:
    width = {"bold": "2", "double": "1"}.get(style.border, "1")
    styles = [*(["ROUNDED"] if style.corner in ("round", "pill") else []), *_legend_border(style.border)]
    attribute = f' STYLE="{",".join(styles)}"' if styles else ""
    sign = _font(style.sign, style.line, _SMALL)
    inner = (
        f'<TABLE BORDER="{width}"{attribute} COLOR="{style.line}" BGCOLOR="{style.fill}" CELLBORDER="0" '
        f'CELLSPACING="0" CELLPADDING="1"><TR><TD WIDTH="18" HEIGHT="11">{sign}</TD></TR></TABLE>'
    )
    if style.border != "double":
        return inner
    return (
        f'<TABLE BORDER="1" COLOR="{style.line}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">'
        f"<TR><TD>{inner}</TD></TR></TABLE>"
    )


def _legend_border(border: str) -> Iterator[str]:
    if border in _BORDERS:
        yield border.upper()
