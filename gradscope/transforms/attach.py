"""Attaching: parameters and constants drawn inside the op that reads them, AccumulateGrad inside what feeds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..model.graph import EdgeKind, Graph, GraphNode, NodeKind
from .contract import FOLDED_MARKS, all_members, contract


def attach_parameters(graph: Graph) -> Graph:
    """Each parameter or buffer that one node reads, or the calls of one module, becomes a part of what reads it.

    So does, in a backward alone, each AccumulateGrad that one grad node alone feeds.
    """
    return _attach(graph, lambda node: _feeder(graph, node) or (_readers(graph, node) if _is_held(node) else ()))


def attach_constants(graph: Graph) -> Graph:
    """Where a node is a call: what needs no gradient, has no name and comes from outside lies in its one reader."""
    if not graph.combined:
        return graph
    return _attach(graph, lambda node: _readers(graph, node) if _is_constant(node) else (), most=1)


def _attach(graph: Graph, hosts_of: Callable[[GraphNode], Sequence[int]], most: int | None = None) -> Graph:
    """Each node that has hosts, `most` of them at most, becomes a part of these."""
    attached: dict[int, list[GraphNode]] = {}
    first: dict[int, int] = {}
    for node in graph.nodes:
        hosts = hosts_of(node)
        for host in hosts if most is None or len(hosts) <= most else ():
            first.setdefault(node.id, host)
            attached.setdefault(host, []).append(node)
    if not first:
        return graph
    homes: dict[int, GraphNode] = {}
    for host, guests in attached.items():
        own = [guest.id for guest in guests if first[guest.id] == host]
        homes.update(dict.fromkeys((host, *own), _with_guests(graph.by_id[host], guests, own)))
    inside = replace(graph, edges=tuple(edge for edge in graph.edges if edge.source not in first))
    contracted = contract(inside, homes, keep_index=True)
    try:
        contracted.topological()
    except ValueError:
        return graph
    return contracted


def _readers(graph: Graph, node: GraphNode) -> Sequence[int]:
    """What reads a node that nothing makes, if that is one node, or the calls of one module."""
    ways = graph.outgoing.get(node.id, ())
    readers = [graph.by_id[reader] for reader in dict.fromkeys(edge.target for edge in ways)]
    if graph.incoming.get(node.id) or any(edge.kind is EdgeKind.MADE for edge in ways):
        return ()
    if any(one.kind not in (NodeKind.OP, NodeKind.TENSOR) or node.count > one.count for one in readers):
        return ()
    calls = {one.module for one in readers}
    modules = {graph.called(call).module if call else None for call in calls}
    told_apart = graph.by_calls and None not in modules and len(modules) == 1 and len(calls) == len(readers)
    return [one.id for one in readers] if len(readers) == 1 or told_apart else ()


def _is_held(node: GraphNode) -> bool:
    return node.kind is NodeKind.TENSOR and node.role in ("parameter", "buffer")


def _is_constant(node: GraphNode) -> bool:
    """Whether a tensor needs no gradient and is no variable of the program: `torch.ones(16, 1)`, `tgt[:, t]`."""
    named = (node.name or "").replace(".", "").isidentifier()
    return node.kind is NodeKind.TENSOR and node.requires_grad is False and not named and not node.marks & FOLDED_MARKS


def _feeder(graph: Graph, node: GraphNode) -> Sequence[int]:
    """The one grad node that feeds an AccumulateGrad."""
    if node.kind is not NodeKind.ACCUMULATE_GRAD or graph.outgoing.get(node.id):
        return ()
    incoming = graph.incoming.get(node.id, ())
    feeders = {edge.source for edge in incoming}
    if len(feeders) != 1 or any(edge.kind is EdgeKind.MADE for edge in incoming):
        return ()
    feeder = graph.by_id[feeders.pop()]
    return (feeder.id,) if feeder.kind is NodeKind.GRAD_FN and feeder.count == node.count else ()


def _with_guests(host: GraphNode, guests: Sequence[GraphNode], own: Sequence[int]) -> GraphNode:
    """The host with its guests inside; `own` are those that lie in no other one before."""
    inside = frozenset(mark for guest in guests for mark in guest.marks)
    marks = host.marks | (inside & FOLDED_MARKS - {"mutated"})  # a parameter's update changes no result
    parts = tuple(replace(guest, parts=()) for guest in guests)
    members = all_members((host, *(guest for guest in guests if guest.id in own)))
    return replace(host, parts=(*parts, *host.parts), marks=marks, members=members)
