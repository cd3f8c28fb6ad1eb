"""Attaching: parameters drawn inside the op that reads them, results inside the op that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.graph import EdgeKind, Graph, GraphNode, NodeKind
from ..text import tensor_type
from .contract import FOLDED_MARKS, all_members, contract


def attach_parameters(graph: Graph) -> Graph:
    """Each parameter or buffer that one node alone reads becomes a note of that node.

    So does each AccumulateGrad of a module's parameter that one grad node alone feeds.
    """
    attached: dict[int, list[GraphNode]] = {}
    for node in graph.nodes:
        host = _reader(graph, node) if node.kind is NodeKind.TENSOR else _feeder(graph, node)
        if host is not None:
            attached.setdefault(host, []).append(node)
    homes: dict[int, GraphNode] = {}
    for host, guests in attached.items():
        home = _with_guests(graph.by_id[host], guests)
        homes.update(dict.fromkeys((host, *(guest.id for guest in guests)), home))
    return _without_cycle(graph, homes)


def attach_results(graph: Graph) -> Graph:
    """Each op with one result is drawn as part of that result."""
    homes: dict[int, GraphNode] = {}
    for node in graph.nodes:
        if node.kind is not NodeKind.OP or len(results := graph.outgoing.get(node.id, ())) != 1:
            continue
        result = graph.by_id[results[0].target]
        alone = len(graph.incoming[result.id]) == 1 and result.kind is NodeKind.TENSOR and result.count == node.count
        if alone and results[0].kind is EdgeKind.DATA:
            notes = tuple(dict.fromkeys((*node.notes, *result.notes)))
            marks = result.marks | (node.marks & FOLDED_MARKS)
            members = all_members((node, result))
            home = replace(result, op=result.op or node.op, notes=notes, marks=marks, members=members)
            homes.update({node.id: home, result.id: home})
    return _without_cycle(graph, homes)


def _without_cycle(graph: Graph, homes: dict[int, GraphNode]) -> Graph:
    """The contraction, unless it would close a cycle: then the graph stays as it is."""
    if not homes:
        return graph
    contracted = contract(graph, homes, keep_index=True)
    try:
        contracted.topological()
    except ValueError:
        return graph
    return contracted


def _reader(graph: Graph, node: GraphNode) -> int | None:
    """The one node that reads a parameter or buffer, if it is made by nothing and read by one."""
    if node.role not in ("parameter", "buffer") or graph.incoming.get(node.id):
        return None
    backward = (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD)
    readers = {
        edge.target
        for edge in graph.outgoing.get(node.id, ())
        if edge.kind is not EdgeKind.MADE or graph.by_id[edge.target].kind not in backward
    }
    if len(readers) != 1:
        return None
    reader = graph.by_id[readers.pop()]
    return reader.id if reader.kind in (NodeKind.OP, NodeKind.TENSOR) and reader.count == node.count else None


def _feeder(graph: Graph, node: GraphNode) -> int | None:
    """The one grad node that feeds a parameter's AccumulateGrad."""
    if node.kind is not NodeKind.ACCUMULATE_GRAD or node.module is None or graph.outgoing.get(node.id):
        return None
    incoming = graph.incoming.get(node.id, ())
    owners = [graph.by_id[edge.source] for edge in incoming if edge.kind is EdgeKind.MADE]
    feeders = {edge.source for edge in incoming if edge.kind is not EdgeKind.MADE}
    if len(feeders) != 1 or any(_reader(graph, owner) is None for owner in owners):
        return None
    feeder = graph.by_id[feeders.pop()]
    return feeder.id if feeder.kind is NodeKind.GRAD_FN and feeder.count == node.count else None


def _with_guests(host: GraphNode, guests: Sequence[GraphNode]) -> GraphNode:
    notes = tuple(_note(guest) for guest in guests)
    marks = host.marks | (frozenset(mark for guest in guests for mark in guest.marks) & FOLDED_MARKS)
    return replace(host, notes=(*host.notes, *notes), marks=marks, members=all_members((host, *guests)))


def _note(guest: GraphNode) -> str:
    name = (guest.name or guest.label).rpartition(".")[2]
    if guest.kind is NodeKind.ACCUMULATE_GRAD:
        return f"fills {name}.grad"
    frozen = ", frozen" if guest.role == "parameter" and guest.requires_grad is False else ""
    return f"{name}: {tensor_type(guest.dtype, guest.shape)}{frozen}"
