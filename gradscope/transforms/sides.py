"""Forward or backward: which of the two a node belongs to."""

from __future__ import annotations

from ..model.graph import GraphNode, NodeKind

BACKWARD = "backward"  # `op` of a folded run of grad nodes


def is_backward(node: GraphNode) -> bool:
    """Whether the node belongs to a backward: a grad node, or a folded run of them."""
    if node.kind is NodeKind.MODULE:
        return node.op == BACKWARD
    return node.kind in (NodeKind.GRAD_FN, NodeKind.ACCUMULATE_GRAD)
