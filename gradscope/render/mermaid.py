"""Mermaid, for Markdown pages that draw it (GitHub, GitLab, Notion)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..model.graph import EdgeKind
from .base import RenderOptions
from .pieces import NodeView
from .theme import NodeStyle, Theme, theme
from .view import GraphView

_ARROWS = {EdgeKind.DATA: "-->", EdgeKind.GRAD: "==>", EdgeKind.MADE: "-.-", EdgeKind.CUT: "-.-x"}
_SHAPES = {
    "square": ('["', '"]'),
    "round": ('("', '")'),
    "pill": ('(["', '"])'),
    "note": ('[/"', '"/]'),
    "drum": ('[("', '")]'),
    "stack": ('[["', '"]]'),
}
_DASHES = {"dashed": "5 3", "dotted": "1 3"}


class Mermaid:
    name = "mermaid"
    suffixes = (".mmd", ".mermaid")
    description = "Mermaid, for Markdown"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        return ("\n".join(_lines(view, options, theme(options.theme))) + "\n").encode()

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        del view, options
        return True


def _lines(view: GraphView, options: RenderOptions, look: Theme) -> Iterator[str]:
    yield "---"
    yield f"title: {json.dumps(f'{view.title}: {view.subtitle}', ensure_ascii=False)}"
    yield "---"
    yield f"flowchart {options.direction}"
    yield from (f"%% {note}" for note in view.notes)
    by_group: dict[str, list[NodeView]] = {}
    for node in view.nodes:
        by_group.setdefault(node.group, []).append(node)
    for node in by_group.get("", ()):
        yield f"  {_node(node, look)}"
    # Outer modules come first; a module is closed before the next that does not lie in it.
    numbers = {path: number for number, path in enumerate(view.modules)}
    open_paths: list[str] = []
    for path in sorted(view.modules, key=lambda path: path.split(".")):
        module = view.modules[path]
        while open_paths and open_paths[-1] != module.parent:
            yield f"{'  ' * len(open_paths)}end"
            open_paths.pop()
        words = " ".join(part for part in (module.heading, module.type) if part)
        yield f"{'  ' * (len(open_paths) + 1)}subgraph m{numbers[path]} [{_quoted(words)}]"
        open_paths.append(path)
        yield from (f"{'  ' * (len(open_paths) + 1)}{_node(node, look)}" for node in by_group.get(path, ()))
    yield from (f"{'  ' * depth}end" for depth in range(len(open_paths), 0, -1))
    for edge in view.edges:
        label = f"|{_quoted(edge.label)}|" if edge.label else ""
        yield f"  n{edge.source} {_ARROWS[edge.kind]}{label} n{edge.target}"
    for node in view.nodes:
        if node.findings:
            yield f"  style n{node.id} stroke:{look.badge(node.marks[0]).line},stroke-width:4px"
    for role in view.roles:
        yield f"  classDef {role.name.lower()} {_class(look.nodes[role])}"


def _node(node: NodeView, look: Theme) -> str:
    start, end = _SHAPES[look.nodes[node.role].corner]
    lines = [f"<b>{_escaped(node.heading)}</b> {_escaped(node.caption)}".rstrip()]
    lines += [_escaped(line) for line in (node.type_line, *(f"{key}: {value}" for key, value in node.rows)) if line]
    signs = (f"{look.badge(mark).sign} {word}" for mark, word in zip(node.marks, node.badges, strict=True))
    lines += [_escaped(f"{look.nodes[part.role].sign} {part.words}") for part in node.parts]
    lines += [_escaped(line) for line in (*node.messages, *node.notes, *signs)]
    return f"n{node.id}{start}{'<br/>'.join(lines)}{end}:::{node.role.name.lower()}"


def _class(style: NodeStyle) -> str:
    width = {"bold": "3px", "double": "3px"}.get(style.border, "1px")
    dashes = f",stroke-dasharray:{_DASHES[style.border]}" if style.border in _DASHES else ""
    return f"fill:{style.fill},stroke:{style.line},color:{style.ink},stroke-width:{width}{dashes}"


def _quoted(words: str) -> str:
    return f'"{_escaped(words)}"'


def _escaped(words: str) -> str:
    """Mermaid's entities: `#` starts one, so it goes first; brackets and markup mean nothing in them."""
    return "".join(char if char.isalnum() or char in " .,:+-=/()[]×·→–…_" else f"#{ord(char)};" for char in words)
