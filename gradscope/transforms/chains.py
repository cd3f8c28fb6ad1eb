"""Folding chains: a long line of nodes with one way in and one way out becomes one node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.graph import EdgeKind, Graph, GraphNode, NodeKind
from ..text import elide_list
from .contract import FOLDED_MARKS, contiguous_runs, contract, standing_for
from .sides import BACKWARD, is_backward


def fold_chains(graph: Graph, least: int = 8) -> Graph:
    """Lines of at least `least` nodes become one node each. Marked nodes are never hidden.

    The edges that tie a tensor to its grad_fn do not count, so the forward and the backward of a long
    chain fold side by side.
    """
    while True:
        homes = _chains(graph, least)
        if not homes:
            return graph
        graph = contract(graph, homes)


def _chains(graph: Graph, least: int) -> dict[int, GraphNode]:
    before, after = _neighbours(graph)
    groups: dict[int, int] = {}
    for node in graph.topological():
        if not _is_link(graph.by_id[node], before, after):
            continue
        (previous,) = before[node]
        joined = previous in groups and _alike(graph.by_id[previous], graph.by_id[node])
        groups[node] = groups[previous] if joined else node
    homes: dict[int, GraphNode] = {}
    for run in contiguous_runs(graph, groups):
        if len(run) >= least:
            homes.update(dict.fromkeys(run, _chain_node([graph.by_id[node] for node in run])))
    return homes


def _neighbours(graph: Graph) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Each node's predecessors and successors along data and gradients."""
    before: dict[int, list[int]] = {node.id: [] for node in graph.nodes}
    after: dict[int, list[int]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        if edge.kind is not EdgeKind.MADE:
            before[edge.target].append(edge.source)
            after[edge.source].append(edge.target)
    return before, after


def _is_link(node: GraphNode, before: dict[int, list[int]], after: dict[int, list[int]]) -> bool:
    linear = len(before[node.id]) == 1 == len(after[node.id])
    return linear and node.kind is not NodeKind.MODULE and not node.marks & FOLDED_MARKS


def _alike(one: GraphNode, other: GraphNode) -> bool:
    """Whether two nodes may share a chain: the same module, the same direction."""
    return one.module == other.module and is_backward(one) == is_backward(other)


def _chain_node(run: Sequence[GraphNode]) -> GraphNode:
    calls = [_called(node) for node in run if node.kind is not NodeKind.TENSOR]
    calls = calls or [node.op or "tensor" for node in run]
    kinds = list(dict.fromkeys(calls))
    label = elide_list(kinds, 3) + (f" ×{len(calls):,}" if len(calls) > len(kinds) else "")
    return replace(
        standing_for(run, label=label),
        op=BACKWARD if is_backward(run[0]) else None,
        module=run[0].module,
    )


def _called(node: GraphNode) -> str:
    return node.label if is_backward(node) else node.op or node.label
