"""The graph behind tensors, as torch holds it: nodes and edges, from the roots of a backward on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..hiding.deep_graphs import room_to_free
from .accumulators import accumulator_of
from .askable import is_strided
from .tensor_facts import storage_key


def root_node(output: Any) -> Any:
    """The grad node of a backward's root: a tensor's `grad_fn`, its AccumulateGrad, or an edge's node."""
    if not isinstance(output, torch.Tensor):
        return output.node
    if output.grad_fn is not None:
        return output.grad_fn
    if not output.requires_grad or torch.is_inference_mode_enabled():
        return None  # in inference mode a leaf has no node to be found
    if not is_strided(output) or storage_key(output) is None:
        return None  # it has no view, by which its node is found
    return accumulator_of(output)


def walk(roots: Sequence[Any]) -> tuple[list[Any], list[tuple[int, int, int, int]], int]:
    """Every node reachable from `roots`, breadth first; the edges; and how many nodes are roots.

    An edge is (source, target, index, input_nr): `source.next_functions[index] == (target, input_nr)`.
    """
    nodes: list[Any] = []
    index: dict[Any, int] = {}
    for root in roots:
        if root is not None and root not in index:
            index[root] = len(nodes)
            nodes.append(root)
    count = len(nodes)
    edges: list[tuple[int, int, int, int]] = []
    place = index.get
    for source, node in enumerate(nodes):  # which grow as they are read
        for position, (target, input_nr) in enumerate(node.next_functions):
            if target is not None:
                found = place(target)
                if found is None:
                    found = index[target] = len(nodes)
                    nodes.append(target)
                edges.append((source, found, position, input_nr))
    room_to_free(len(nodes))
    return nodes, edges, count
