"""Nesting by calls: a box of a picture is one call of a module, and what a module merely holds has none."""

from __future__ import annotations

from dataclasses import replace

from ..model.graph import EdgeKind, Graph, GraphNode
from .sides import is_backward


def in_calls(graph: Graph) -> Graph:
    """The graph in which each node lies in the call that made it, a parameter in the innermost around all its readers.

    Where no calls were recorded, modules nest as their paths do.
    """
    if graph.by_calls or not graph.calls:
        return graph
    nested = replace(graph, by_calls=True)
    homes = {node.id: node.call or _shared(nested, node) for node in graph.nodes}
    for node in graph.nodes:
        if node.call is None and is_backward(node):
            owners = [edge.source for edge in graph.incoming.get(node.id, ()) if edge.kind is EdgeKind.MADE]
            homes[node.id] = homes[owners[0]] if owners else None
    return replace(nested, nodes=tuple(replace(node, module=homes[node.id]) for node in graph.nodes))


def _shared(graph: Graph, node: GraphNode) -> str | None:
    """The innermost call that lies around all that reads a parameter; what else came from outside lies in none."""
    if node.role not in ("parameter", "buffer"):
        return None
    readers = [edge.target for edge in graph.outgoing.get(node.id, ()) if edge.kind is not EdgeKind.MADE]
    around = [graph.around(graph.by_id[reader].call) for reader in readers]
    common = None
    for level in zip(*around):
        if len(set(level)) > 1:
            break
        common = level[0]
    return common
