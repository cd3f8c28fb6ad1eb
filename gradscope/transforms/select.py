"""Passes that leave nodes out: focus on a name, prune what no gradient needs, keep the nearest."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import replace

from ..errors import UnknownName, UsageError
from ..model.graph import EdgeKind, Graph, NodeKind
from .findings import SEVERITY_MARKS
from .sides import is_backward


def focus(graph: Graph, name: str) -> Graph:
    """What flows into and out of the tensor or module called `name`, with or without its model, and nothing else.

    Data is followed among tensors and ops, gradients among grad nodes, each from the node itself: from a tensor one
    does not get into the backward of everything that depends on it.
    Raises UnknownName, with the nearest names, when no node is called that, UsageError when several models have one.
    """
    if not graph.nodes:
        return graph
    known = {called for node in graph.nodes for called in (node.name, node.label) if called}
    known |= {path for node in graph.nodes for path in prefixes(node.module)}
    name = meant(graph, "tensor or module", name, known)
    found = [node.id for node in graph.find(name)]
    named = frozenset([*found, *(node.id for node in graph.nodes if name in prefixes(node.module))])
    partners = {
        end
        for edge in graph.edges
        if edge.kind is EdgeKind.MADE and (edge.source in named or edge.target in named)
        for end in (edge.source, edge.target)
    }
    flow = replace(graph, edges=tuple(edge for edge in graph.edges if edge.kind is not EdgeKind.MADE))
    return graph.subgraph(flow.ancestors(*named, *partners) | flow.descendants(*named, *partners))


def prune(graph: Graph) -> Graph:
    """Without the tensors and ops that no gradient depends on (metrics, bookkeeping, counters).

    Kept are grad nodes, whatever requires grad, what a finding names, all that leads there, and the first node
    after a cut. A graph without any gradient is left as it is.
    """
    carrying = [node.id for node in graph.nodes if node.requires_grad or is_backward(node)]
    if not carrying:
        return graph
    needed = graph.ancestors(*carrying, *_named_by_findings(graph))
    cuts = {edge.target for edge in graph.edges if edge.kind is EdgeKind.CUT and edge.source in needed}
    return graph.subgraph(needed | cuts)


def nearest(graph: Graph, limit: int) -> Graph:
    """The `limit` nodes with the fewest edges between them and a finding or the root (without roots, the last result).

    Further roots and results count once everything that hangs together with the first is in.
    """
    starts = [node.id for node in graph.nodes if "root" in node.marks]
    starts += [node.id for node in reversed(graph.nodes) if not graph.outgoing.get(node.id)]
    seen: dict[int, None] = {}
    for together in ([*_named_by_findings(graph), *starts[:1]], *([start] for start in starts[1:])):
        queue = deque(together)
        while queue and len(seen) < limit:
            current = queue.popleft()
            if current not in seen:
                seen[current] = None
                queue.extend((*graph.predecessors(current), *graph.successors(current)))
    return graph.subgraph(seen)


def _named_by_findings(graph: Graph) -> list[int]:
    return [node.id for node in graph.nodes if node.marks & SEVERITY_MARKS]


def opened_modules(graph: Graph, expand: Iterable[str]) -> frozenset[str]:
    """The modules to keep open: those named, with or without their model, and all that they lie in.

    Raises UnknownName, with the nearest names, for one that is not there, UsageError for one that several models have.
    """
    known = {path for path in graph.modules if path}
    for node in graph.nodes:
        known.update(path for module in graph.around(node.module) for path in prefixes(graph.called(module).module))
        if node.kind is NodeKind.MODULE and node.name:
            known.add(graph.called(node.name).module)
    opened: set[str] = set()
    for name in expand:
        path = meant(graph, "module", name, known) if graph.nodes else name
        opened.update(prefixes(path))
        if graph.by_calls:  # every call of it, and those that it lies in
            calls = [key for key, called in graph.calls.items() if called.module == path]
            opened.update(around for key in calls for around in graph.around(key))
    return frozenset(opened)


def prefixes(path: str | None) -> list[str]:
    """A module's path and those of all modules around it, the outermost first."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def meant(graph: Graph, what: str, name: str, known: Collection[str]) -> str:
    """The one of `known` that `name` stands for. Raises UnknownName for none, UsageError for several."""
    if name in known:
        return name
    found = [one for one in graph.aliases.get(name, ()) if one in known]
    if len(found) > 1:
        raise UsageError(f"several models have a {what} called {name!r}: name {' or '.join(found)}")
    if not found:
        raise UnknownName(what, name, known)
    return found[0]
