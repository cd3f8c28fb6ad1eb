"""Semantic role → colour, border and sign, light and dark; and the legend made from them.

Colours are drawn from Okabe and Ito's palette, which colour-blind readers can tell apart, and no role is told
by colour alone: each has its own border and sign too. The signs are in every font, the engine's own included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import UnknownName
from ..model.graph import EdgeKind
from ..text import elide
from ..transforms import UP
from .view import GraphView
from .words import BADGES, Role, badge_word


@dataclass(frozen=True, slots=True)
class NodeStyle:
    """`border`: solid, bold, dashed, dotted or double. `corner`: square, round, pill, note, drum or stack."""

    fill: str
    line: str
    ink: str
    border: str
    corner: str
    sign: str


@dataclass(frozen=True, slots=True)
class EdgeStyle:
    """`head` is a Graphviz arrow shape, `border` as for nodes."""

    line: str
    border: str
    head: str
    width: float


@dataclass(frozen=True, slots=True)
class BadgeStyle:
    """How a mark is drawn; `outline` marks colour the node's border too."""

    line: str
    sign: str
    outline: bool


@dataclass(frozen=True, slots=True)
class Theme:
    name: str
    paper: str
    ink: str
    muted: str
    nodes: Mapping[Role, NodeStyle]
    edges: Mapping[EdgeKind, EdgeStyle]
    badges: Mapping[str, BadgeStyle]
    cluster_fills: tuple[str, ...]  # by nesting depth, repeated
    cluster_line: str

    def badge(self, mark: str) -> BadgeStyle:
        return self.badges.get(mark, BadgeStyle(self.muted, "*", outline=False))


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One line of the legend. Exactly one of the three styles is set."""

    word: str
    node: NodeStyle | None = None
    badge: BadgeStyle | None = None
    edge: EdgeStyle | None = None


# Border, corner and sign of each role; the same in both themes.
_FORMS = {
    Role.PARAMETER: ("double", "square", "■"),
    Role.LEAF: ("bold", "square", "●"),
    Role.FROZEN: ("dashed", "square", "□"),
    Role.RESULT: ("solid", "round", "○"),
    Role.INPUT: ("solid", "square", "◊"),
    Role.NO_GRAD: ("dotted", "round", "▫"),
    Role.BUFFER: ("dotted", "square", "▪"),
    Role.OP: ("solid", "pill", "ƒ"),
    Role.GRAD_FN: ("solid", "note", "∂"),
    Role.ACCUMULATE_GRAD: ("solid", "drum", "∑"),
    Role.MODULE: ("solid", "stack", "≡"),
    Role.MODULE_BACKWARD: ("dashed", "stack", "≡∂"),
}

# fill, line, ink
_LIGHT = {
    Role.PARAMETER: ("#E3F0FA", "#0068A8", "#10293B"),
    Role.LEAF: ("#DFF4EC", "#00795A", "#0B2E24"),
    Role.FROZEN: ("#EEF1F4", "#5B6B7A", "#2B3640"),
    Role.RESULT: ("#FEFEFE", "#66717C", "#1B232B"),  # not the paper's, which has another one in the dark
    Role.INPUT: ("#F6F4EE", "#7A6F55", "#332D1E"),
    Role.NO_GRAD: ("#F8F8F8", "#7A7A7A", "#3A3A3A"),
    Role.BUFFER: ("#F1EEF7", "#6E6390", "#2C2640"),
    Role.OP: ("#E9ECF0", "#66717C", "#1B232B"),
    Role.GRAD_FN: ("#FDEBDD", "#B64E00", "#40200A"),
    Role.ACCUMULATE_GRAD: ("#FBE0CB", "#B64E00", "#40200A"),
    Role.MODULE: ("#E8EEF9", "#44619D", "#17243F"),
    Role.MODULE_BACKWARD: ("#FDF0E4", "#B06000", "#3F270A"),
}
_DARK = {
    Role.PARAMETER: ("#12344C", "#56B4E9", "#E6F3FC"),
    Role.LEAF: ("#0E3A2D", "#35C79A", "#DDF7EC"),
    Role.FROZEN: ("#272E36", "#94A3B3", "#D7DEE6"),
    Role.RESULT: ("#1E242C", "#9AA7B4", "#E8EDF2"),
    Role.INPUT: ("#2D2A20", "#C9BA8E", "#F1EBDB"),
    Role.NO_GRAD: ("#232323", "#9C9C9C", "#DDDDDD"),
    Role.BUFFER: ("#2A2538", "#B3A5DD", "#ECE7F8"),
    Role.OP: ("#2A313A", "#9AA7B4", "#E8EDF2"),
    Role.GRAD_FN: ("#42270F", "#F0994A", "#FDEBDB"),
    Role.ACCUMULATE_GRAD: ("#532E0E", "#F0994A", "#FDEBDB"),
    Role.MODULE: ("#1D2A45", "#8AABEA", "#E3ECFC"),
    Role.MODULE_BACKWARD: ("#382512", "#E0A55C", "#FBEBD6"),
}

_BADGE_FORMS = {
    "error": ("‡", True),
    "warning": ("†", True),
    "note": ("¡", True),
    "nan": ("▲", True),
    "inf": ("∞", True),
    "stale": ("‼", True),
    "mutated": ("≠", False),
    "cut": ("¬", False),
    "not_reached": ("¦", False),
    "moved": ("►", True),
    "retained": ("♦", False),
    "root": ("▼", False),
}
_BADGES_LIGHT = {"error": "#B3261E", "warning": "#8A5A00", "note": "#0068A8"}
_BADGES_LIGHT |= {"nan": "#B3261E", "inf": "#B3261E", "stale": "#B3261E", "mutated": "#8A5A00", "cut": "#5A6570"}
_BADGES_DARK = {"error": "#FF8A7A", "warning": "#F2C14E", "note": "#56B4E9"}
_BADGES_DARK |= {"nan": "#FF8A7A", "inf": "#FF8A7A", "stale": "#FF8A7A", "mutated": "#F2C14E", "cut": "#A3AFBB"}


def _nodes(colours: Mapping[Role, tuple[str, str, str]]) -> dict[Role, NodeStyle]:
    return {role: NodeStyle(*colours[role], *_FORMS[role]) for role in Role}


def _badges(special: Mapping[str, str], moved: str, plain: str) -> dict[str, BadgeStyle]:
    colours = {"moved": moved, **special}
    return {mark: BadgeStyle(colours.get(mark, plain), *_BADGE_FORMS[mark]) for mark in BADGES}


def _edges(data: str, grad: str, made: str, cut: str) -> dict[EdgeKind, EdgeStyle]:
    return {
        EdgeKind.DATA: EdgeStyle(data, "solid", "normal", 1.1),
        EdgeKind.GRAD: EdgeStyle(grad, "solid", "onormal", 1.4),
        EdgeKind.MADE: EdgeStyle(made, "dotted", "none", 1.1),
        EdgeKind.CUT: EdgeStyle(cut, "dashed", "tee", 1.4),
    }


THEMES = {
    "light": Theme(
        name="light",
        paper="#FFFFFF",
        ink="#1B232B",
        muted="#5A6570",
        nodes=_nodes(_LIGHT),
        edges=_edges("#4A5560", "#B64E00", "#7A8590", "#5A6570"),
        badges=_badges(_BADGES_LIGHT, "#8A3A86", "#4A5560"),
        cluster_fills=("#F7F8FA", "#F0F2F6"),
        cluster_line="#C3CAD2",
    ),
    "dark": Theme(
        name="dark",
        paper="#14181D",
        ink="#E8EDF2",
        muted="#A3AFBB",
        nodes=_nodes(_DARK),
        edges=_edges("#B4BFCA", "#F0994A", "#8793A0", "#A3AFBB"),
        badges=_badges(_BADGES_DARK, "#E39BDD", "#B4BFCA"),
        cluster_fills=("#1A1F26", "#20262E"),
        cluster_line="#3C4651",
    ),
}


AUTO = "auto"  # light, and dark where the page is


def theme(name: str) -> Theme:
    """The theme called `name`, the light one for `auto`. Raises UnknownName."""
    if name not in (AUTO, *THEMES):
        raise UnknownName("theme", name, (AUTO, *THEMES))
    return THEMES["light" if name == AUTO else name]


def in_the_dark() -> Mapping[str, str]:
    """Each colour of the light theme, in small letters, with the one that stands for it in the dark one."""
    pairs = zip(_colours(THEMES["light"]), _colours(THEMES["dark"]), strict=True)
    return {light.lower(): dark for light, dark in pairs}


def _colours(look: Theme) -> Iterator[str]:
    yield from (look.paper, look.ink, look.muted, *look.cluster_fills, look.cluster_line)
    for style in look.nodes.values():
        yield from (style.fill, style.line, style.ink)
    yield from (edge.line for edge in look.edges.values())
    yield from (badge.line for badge in look.badges.values())


_WORD = 40  # characters
_EDGE_LEGEND = {
    EdgeKind.DATA: "data",
    EdgeKind.GRAD: "gradient",
    EdgeKind.MADE: "tensor – its grad_fn",
    EdgeKind.CUT: "gradient cut here",
}


def legend(view: GraphView, look: Theme) -> tuple[LegendEntry, ...]:
    """What the picture's borders, signs and lines mean; only what is in the picture."""
    nodes = [LegendEntry(role.value, node=look.nodes[role]) for role in view.roles]
    badges = [LegendEntry(elide(badge_word(mark), _WORD), badge=look.badge(mark)) for mark in view.marks]
    edges = [LegendEntry(_edge_word(view, kind), edge=look.edges[kind]) for kind in view.edge_kinds]
    return (*nodes, *badges, *edges)


def _edge_word(view: GraphView, kind: EdgeKind) -> str:
    """What a line means, and the numbers on it."""
    if kind is EdgeKind.DATA and any(UP in edge.label for edge in view.edges):
        return f"data; {UP} the gradient that came back (|g| its norm)"
    labels = [edge.label for edge in view.edges if edge.kind is kind and edge.label] if kind is EdgeKind.GRAD else []
    norms = sum(label.startswith("|g|") for label in labels)
    numbers = [*(["a number is its value"] if len(labels) > norms else []), *(["|g| its norm"] if norms else [])]
    return _EDGE_LEGEND[kind] + (f" ({', '.join(numbers)})" if numbers else "")
