"""Text for the terminal: lanes on the left, the words of `GraphView` on the right; ASCII and colour if asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from ..model.graph import EdgeKind
from ..text import cells, elide
from .base import RenderOptions
from .colour import fitted
from .lanes import Lanes, order
from .pieces import NodeView
from .signs import role_sign, to_ascii
from .theme import legend, theme
from .view import GraphView
from .words import Role

# ANSI colours that readers' own palettes adapt to light and dark.
_COLOURS = {
    Role.PARAMETER: "34",
    Role.LEAF: "32",
    Role.FROZEN: "90",
    Role.INPUT: "33",
    Role.NO_GRAD: "90",
    Role.BUFFER: "35",
    Role.GRAD_FN: "33",
    Role.ACCUMULATE_GRAD: "93",
    Role.MODULE: "36",
    Role.MODULE_BACKWARD: "33",
}
_COLUMN = 56  # where the type begins, at most
_GRAVE = frozenset({"error", "nan", "inf", "stale", "cut", "mutated"})


class Text:
    name = "text"
    suffixes = (".txt",)
    description = "text, as in the terminal"
    complete = False

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        if options.colour:
            drawn = fitted(_lines(view, options), options.width)
        else:
            drawn = "".join(f"{elide(line.rstrip(), options.width)}\n" for line in _lines(view, options))
        if options.ascii:
            return to_ascii(drawn).encode("ascii", "backslashreplace")
        return drawn.encode()

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        del view, options
        return True


def _lines(view: GraphView, options: RenderOptions) -> Iterator[str]:
    yield _styled(view.title, "1", options)
    yield _styled(view.subtitle, "2", options)
    for note in view.notes:
        yield from (_styled(part, "2", options) for part in wrap(note, max(options.width, 24)))
    forward = [node for node in view.nodes if not node.backward]
    backward = [node for node in view.nodes if node.backward]
    for name, nodes in (("forward", forward), ("backward", backward)):
        if nodes:
            yield ""
            if forward and backward:
                yield _styled(f"{name}:", "2", options)
            yield from _block(view, nodes, options)
    if options.legend:
        yield ""
        yield from (_styled(line, "2", options) for line in _legend(view, options))


def _block(view: GraphView, nodes: Sequence[NodeView], options: RenderOptions) -> Iterator[str]:
    by_id = {node.id: node for node in nodes}
    edges = [
        (edge.source, edge.target, edge.kind is EdgeKind.CUT)
        for edge in view.edges
        if edge.source in by_id and edge.target in by_id and edge.kind is not EdgeKind.MADE and not edge.loops
    ]
    targets: dict[int, list[int]] = {}
    for source, target, _ in edges:
        targets.setdefault(source, []).append(target)
    lanes = Lanes(order(list(by_id), targets), edges)
    shown = [by_id[node] for node in lanes.order]
    drawn = [lanes.draw(row, role_sign(node.role, ascii=options.ascii)) + " " for row, node in enumerate(shown)]
    used = (len(lane) + cells(f"{node.heading} {node.caption}") for lane, node in zip(drawn, shown))
    column = max(used, default=0)
    for row, node in enumerate(shown):
        yield from _node(node, drawn[row], lanes.below(row), column, options)


def _node(node: NodeView, drawn: str, below: str, column: int, options: RenderOptions) -> Iterator[str]:
    title = _styled(node.heading, f"1;{_COLOURS[node.role]}" if node.role in _COLOURS else "1", options)
    pad = " " * (min(column, _COLUMN) - len(drawn) - cells(f"{node.heading} {node.caption}"))
    place = _styled(f"  in {node.place}", "2", options) if node.place else ""
    yield f"{drawn}{title} {node.caption}{pad}  {node.type_line}{place}"
    facts = [(f"{key} {value}", "") for key, value in node.rows]
    look = theme(options.theme)
    for mark, word in zip(node.marks, node.badges, strict=True):
        facts.append((f"{look.badge(mark).sign} {word}", "1;31" if mark in _GRAVE else "1"))
    after = f"{below}   ".ljust(len(drawn) + 2)
    room = max(options.width - len(after), 24)
    for line in _wrapped(facts, room, options):
        yield f"{after}{line}"
    for part in node.parts:
        sign = "" if part.role is Role.OP else f"{role_sign(part.role, ascii=options.ascii)} "
        yield f"{after}{_styled(f'{sign}{part.words}', _COLOURS.get(part.role, '2'), options)}"
    for message in node.messages:
        yield from (f"{after}{_styled(part, '1', options)}" for part in wrap(message, room))
    for note in node.notes:
        yield from (f"{after}{_styled(part, '2', options)}" for part in wrap(note, room))


def _wrapped(
    facts: Sequence[tuple[str, str]], room: int, options: RenderOptions, separator: str = " · "
) -> Iterator[str]:
    """(words, ANSI codes) side by side, in as many lines as they need."""
    line: list[str] = []
    used = 0
    for words, codes in facts:
        size = cells(words) + len(separator)
        if line and used + size > room:
            yield separator.join(line)
            line, used = [], 0
        line.append(_styled(words, codes, options) if codes else words)
        used += size
    if line:
        yield separator.join(line)


def _legend(view: GraphView, options: RenderOptions) -> Iterator[str]:
    entries = [f"{role_sign(role, ascii=options.ascii)} {role.value}" for role in view.roles]
    entries += [f"{entry.badge.sign} {entry.word}" for entry in legend(view, theme(options.theme)) if entry.badge]
    entries += ["┆ gradient cut"] if EdgeKind.CUT in view.edge_kinds else []
    return _wrapped([(entry, "") for entry in entries], options.width, options, separator="   ")


def _styled(words: str, codes: str, options: RenderOptions) -> str:
    return f"\x1b[{codes}m{words}\x1b[0m" if options.colour and words else words
