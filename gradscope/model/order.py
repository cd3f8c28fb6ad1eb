"""The order of a graph's nodes in which each comes after all that lead to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence


def topological(nodes: Iterable[int], targets: Mapping[int, Sequence[int]]) -> list[int]:
    """`nodes`, each after all that lead to it (Kahn 1962); ties keep the order given.

    `targets` are the nodes that each one's edges lead to, all among `nodes`. What lies on a cycle, or behind one, is
    left out.
    """
    waiting = dict.fromkeys(nodes, 0)
    for node in waiting:
        for target in targets.get(node, ()):
            waiting[target] += 1
    ready = deque(node for node, count in waiting.items() if not count)
    order = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for target in targets.get(node, ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return order
