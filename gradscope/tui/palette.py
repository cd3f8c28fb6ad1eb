"""What the command palette finds beside the keys of all: each pane's own actions, and what is in the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple, cast

from textual.app import SystemCommand
from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.widget import Widget

from ..text import printable
from .cursor import Place
from .finding_lines import CodeLine
from .scene import Scene
from .screens.instrument import PANES, Instrument
from .subject import Subject, node_of
from .words import tensor_word

_MOST = 60  # found things are shown


class Entry(NamedTuple):
    """A thing of the trace: `name` is what is sought in, `about` says what choosing it does."""

    name: str
    about: str
    do: Callable[[], object]


class TraceProvider(Provider):
    """Findings, parameters, tensors, modules and lines of the step at hand. All words of a query must be in a name."""

    async def search(self, query: str) -> Hits:
        words, matcher = query.lower().split(), self.matcher(query)
        found = (entry for entry in self._entries() if all(word in entry.name.lower() for word in words))
        for entry in islice(found, _MOST):
            yield Hit(max(matcher.match(entry.name), 0.01), matcher.highlight(entry.name), entry.do, help=entry.about)

    async def discover(self) -> Hits:
        """Before anything is typed: the findings."""
        for entry in islice(self._entries(), _MOST):
            if entry.name.startswith("finding "):
                yield DiscoveryHit(entry.name, entry.do, help=entry.about)

    def _entries(self) -> Iterator[Entry]:
        screen = self.screen
        if isinstance(screen, Instrument) and screen.scene is not None:
            yield from entries(screen, screen.scene)


def entries(screen: Instrument, scene: Scene) -> Iterator[Entry]:
    """Everything that has a name."""
    for position, finding in enumerate(screen.found):
        name = f"finding {finding.code}: {printable(finding.message)}"
        yield Entry(name, "go to where it happens", partial(screen.to_finding, position))
    template, graph = scene.step.template, scene.graph
    named: dict[str, int] = {}
    for tensor in scene.step.tensors:
        node = node_of(template, graph, Subject(tensor=tensor.number)) if tensor.name else None
        if node is not None:
            kind = "parameter" if tensor.parameter is not None else "tensor"
            named.setdefault(f"{kind} {tensor_word(tensor)}", node)
    for name in sorted(named):  # parameters come first
        yield Entry(name, "select it; . and , lead to its changes", partial(screen.show_node, named[name]))
    modules = {node.module: node.id for node in reversed(graph.nodes) if node.module}
    for module in sorted(modules):
        yield Entry(f"module {printable(module)}", "select its first node", partial(screen.show_node, modules[module]))
    yield from _lines(screen, scene)


def _lines(screen: Instrument, scene: Scene) -> Iterator[Entry]:
    sites = scene.trace.source.sites().values()
    here = Place(scene.step.number, scene.moment)
    for file, line, code in sorted({(site.file, site.line, site.code) for site in sites}):
        at = CodeLine(file, line)
        name = f"line {at}  {printable(code.strip())}"
        yield Entry(name, "go to what it did next", partial(screen.to_line, at, here))


def pane_commands(screen: Instrument) -> Iterator[SystemCommand]:
    """The keys of each pane, which work wherever the focus is."""
    for name, title in PANES:
        pane = screen.query_one(f"#{name}", Widget)
        for binding in pane.BINDINGS:
            one = cast(Binding, binding)
            key = one.key_display or one.key.replace("slash", "/")
            yield SystemCommand(
                one.tooltip or one.description, f"{title}  ({key})", partial(_act, screen, name, one.action)
            )


async def _act(screen: Instrument, name: str, action: str) -> None:
    screen.action_pane(name)
    await screen.query_one(f"#{name}", Widget).run_action(action)
