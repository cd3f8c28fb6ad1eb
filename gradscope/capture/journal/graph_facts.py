"""What is compared of the graph of a backward whose step is not watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..hiding.deep_graphs import room_to_free
from ..measure.askable import is_plain
from ..measure.grad_graph import walk
from ..step.entry import Entry

_NEW, _NONE = -1, -2  # places of an edge's target: a node that no edge before leads to, and no node at all


class GraphFacts:
    """The graph behind the roots of a backward, breadth first.

    Of each node its type, where its edges lead, and the shapes of its gradients; of each leaf which parameter it is,
    whether it has a gradient already, and its hooks. `entries`: of the registry.
    """

    __slots__ = ("_counts", "_facts", "_kinds", "_leaves", "_links", "_shaped", "_shapes")

    def __init__(self, roots: Sequence[Any], entries: Mapping[int, Entry]) -> None:
        nodes, edges, count = walk(roots)
        self._kinds = list(map(type, nodes))
        leaves = [place for place, kind in enumerate(self._kinds) if kind.__name__ == "AccumulateGrad"]
        self._leaves = [(place, _leaf(nodes[place].variable, entries)) for place in leaves]
        self._shaped = sorted({*range(len(nodes))}.difference(leaves))
        self._shapes = _shapes(nodes, self._shaped)
        self._facts = (count, [root is None for root in roots], self._kinds, edges, self._leaves, self._shapes)
        self._counts = [len(node.next_functions) for node in nodes]
        self._links: list[tuple[int, list[tuple[int, int]]]] = []  # made when a graph is compared with it

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, GraphFacts) and self._facts == other._facts)

    __hash__ = None  # type: ignore[assignment]

    def hold_of(self, roots: Sequence[Any], entries: Mapping[int, Entry]) -> bool:
        """Whether they are those of the graph behind the only one of `roots`, without taking them anew."""
        if len(roots) != 1 or self._facts[:2] != (1, [False]) or roots[0] is None:
            return False
        nodes = self._followed(roots[0])
        if nodes is None or list(map(type, nodes)) != self._kinds or len(set(nodes)) != len(nodes):
            return False
        room_to_free(len(nodes))
        for place, facts in self._leaves:
            leaf: torch.Tensor = nodes[place].variable
            entry = entries.get(id(leaf))
            usual = None if entry is None or entry() is not leaf or leaf._backward_hooks else entry.parameter
            if (usual, leaf.grad is None, 0) != facts and _leaf(leaf, entries) != facts:
                return False
        return _shapes(nodes, self._shaped) == self._shapes

    def _followed(self, root: Any) -> list[Any] | None:
        """The nodes to which the edges from `root` lead, as they did here; None where they lead elsewhere."""
        nodes = [root]
        add = nodes.append
        for place, links in self._links or self._told_by_node():
            functions = nodes[place].next_functions
            if len(functions) != len(links):
                return None
            for (target, number), (known, expected) in zip(functions, links):
                if known >= 0:
                    if target is not nodes[known] or number != expected:
                        return None
                elif (target is None) is not (known == _NONE) or number != expected:
                    return None
                elif target is not None:
                    add(target)
        return nodes

    def _told_by_node(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Of each node with edges, where each leads, and the input there."""
        links = {place: [(_NONE, 0)] * count for place, count in enumerate(self._counts) if count}
        met = 0
        for source, target, position, number in self._facts[3]:
            links[source][position] = (_NEW if target > met else target, number)
            met = max(met, target)
        self._links = list(links.items())
        return self._links


def _leaf(leaf: torch.Tensor, entries: Mapping[int, Entry]) -> tuple[object, bool, int]:
    """Which parameter the leaf is, or what another is like; whether it has no gradient yet; how many hooks it has."""
    entry = entries.get(id(leaf))
    hooks = leaf._backward_hooks
    if entry is not None and entry.parameter is not None and entry() is leaf:
        return entry.parameter, leaf.grad is None, len(hooks) if hooks else 0
    return tensor_facts(leaf), leaf.grad is None, len(hooks) if hooks else 0


def _shapes(nodes: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """The shapes of the gradients that come into the nodes at these places."""
    return [one.shape for place in places for one in nodes[place]._input_metadata]


def tensor_facts(tensor: torch.Tensor) -> object:
    """What is compared of a tensor that a call is given."""
    if not is_plain(tensor):
        return type(tensor)
    return (tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad)
