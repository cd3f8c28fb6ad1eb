"""Combining: one node for a call, its results and its grad nodes; one edge for data down and gradients up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..model.graph import EdgeKind, Graph, GraphEdge, GraphKind, GraphNode, NodeKind
from .contract import FOLDED_MARKS, all_members
from .sides import is_backward

UP = "↑"  # before a gradient on an edge that data goes down


def combine(graph: Graph) -> Graph:
    """Each op with what it made and the grad nodes of its backward becomes one node, each leaf with its AccumulateGrad.

    All edges then lead as data does; a gradient is the label of the edge that it came back along. A graph of the
    backward alone stays, and so does one in which that would close a cycle.
    """
    if graph.combined or graph.kind is GraphKind.BACKWARD:
        return graph
    groups: defaultdict[int, list[GraphNode]] = defaultdict(list)
    keys = _keys(graph)
    for node in graph.nodes:
        groups[keys[node.id]].append(node)
    homes = {key: _home(group) for key, group in groups.items()}
    combined = replace(
        graph,
        nodes=tuple(homes.values()),
        edges=tuple(_edges(graph, {node: homes[key].id for node, key in keys.items()})),
        combined=True,
    )
    try:
        combined.topological()
    except ValueError:
        return graph
    return combined


def _keys(graph: Graph) -> dict[int, int]:
    """For each node the id of one that it is combined with."""
    first: dict[int, int] = {}  # by the moment of the call
    keys: dict[int, int] = {}
    owners = {edge.target: edge.source for edge in reversed(graph.edges) if edge.kind is EdgeKind.MADE}
    for node in graph.nodes:
        if not is_backward(node):
            made = node.moment if graph.incoming.get(node.id) or node.kind is NodeKind.OP else None
            keys[node.id] = node.id if made is None else first.setdefault(made, node.id)
    feeders: dict[int, set[int]] = defaultdict(set)
    backward = graph.subgraph(node.id for node in graph.nodes if is_backward(node))
    for place in backward.topological():
        node = graph.by_id[place]
        if node.made_at in first:
            keys[place] = first[node.made_at]
        elif place in owners:
            keys[place] = keys[owners[place]]
        elif len(feeders[place]) == 1 and node.kind is NodeKind.GRAD_FN:
            (keys[place],) = feeders[place]  # a part of what one op does, of which no tensor is left
        else:
            keys[place] = place
        for edge in backward.outgoing.get(place, ()):
            feeders[edge.target].add(keys[place])
    return keys


def _home(group: Sequence[GraphNode]) -> GraphNode:
    """What stands for a group: the first result, else its op. Of its grad nodes the result's own comes first."""
    if len(group) == 1:
        return group[0]
    tensors = [node for node in group if node.kind is NodeKind.TENSOR]
    home = (tensors or group)[0]
    ops = [node for node in group if node.kind is NodeKind.OP]
    parts = [node for node in group if node is not home and node not in ops]
    return replace(
        home,
        op=home.op or next((node.op for node in ops), None),
        arguments=home.arguments or next((node.arguments for node in ops), ""),
        notes=tuple(dict.fromkeys(note for node in (*ops, *tensors[:1]) for note in node.notes)) or home.notes,
        marks=home.marks | (frozenset(mark for node in group for mark in node.marks) & FOLDED_MARKS),
        members=all_members(group),
        parts=tuple(sorted(parts, key=lambda part: is_backward(part) and part.label != home.grad_fn)),
    )


def _edges(graph: Graph, homes: dict[int, int]) -> Iterable[GraphEdge]:
    """Data and cuts between the homes, each once for each position, with the gradients that came back along them."""
    found: dict[tuple[int, int, EdgeKind, int], GraphEdge] = {}
    gradients: dict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    for edge in graph.edges:
        source, target = homes[edge.source], homes[edge.target]
        if source == target or edge.kind is EdgeKind.MADE:
            continue
        if edge.kind is EdgeKind.GRAD:
            gradients[target, source].update({edge.label: None} if edge.label else {})
        else:
            key = (source, target, edge.kind, edge.index)
            found.setdefault(key, replace(edge, source=source, target=target))
    told: set[tuple[int, int]] = set()
    for edge in found.values():
        ends = edge.source, edge.target
        if ends in gradients and edge.kind is EdgeKind.DATA and ends not in told:
            told.add(ends)
            yield replace(edge, label=_label(gradients[ends]))
        else:
            yield edge
    for ends, labels in gradients.items():
        if ends not in told:  # a way of the gradient alone: what made the tensor was not recorded
            yield GraphEdge(*ends, EdgeKind.DATA, label=_label(labels))


def _label(gradients: Iterable[str]) -> str:
    labels = list(gradients)
    return f"{UP} {', '.join(labels)}" if labels else ""
