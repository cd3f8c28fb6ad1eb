"""Passes that leave nodes out: focus on a name, prune what no gradient needs, keep the nearest."""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from ..errors import UnknownName
from ..model.graph import EdgeKind, Graph
from .findings import SEVERITY_MARKS
from .sides import is_backward

_MOST_NAMES = 12  # how many known names an error lists when there are many


def focus(graph: Graph, name: str) -> Graph:
    """What flows into and out of the tensor or module called `name`, and nothing else.

    Data is followed among tensors and ops, gradients among grad nodes, each from the node itself: from a tensor one
    does not get into the backward of everything that depends on it.
    Raises UnknownName, with the nearest names, when no node is called that.
    """
    if not graph.nodes:
        return graph
    found = [node.id for node in graph.find(name)]
    found += [node.id for node in graph.nodes if node.module and node.module.startswith(name + ".")]
    if not found:
        names = {known for node in graph.nodes for known in (node.name, node.label, node.module) if known}
        raise UnknownName("tensor or module", name, nearest_names(name, sorted(names)))
    named = frozenset(found)
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


def nearest_names(name: str, known: Sequence[str]) -> Sequence[str]:
    """`known`, or only its most similar names when listing all would bury the reader."""
    if len(known) <= _MOST_NAMES:
        return known
    return difflib.get_close_matches(name, known, n=_MOST_NAMES, cutoff=0.0)
