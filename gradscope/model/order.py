"""Graphs of any kind: what can be reached, and the order in which each node comes after all that lead to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def reached(starts: Iterable[N], onward: Callable[[N], Iterable[N]], most: int | None = None) -> list[N]:
    """`starts` and all that `onward` leads to from them, each once, the nearest first; at most `most` of them."""
    found = list(dict.fromkeys(starts))
    seen = set(found)
    for one in found:  # which grows as it is read
        for other in onward(one):
            if other not in seen and (most is None or len(found) < most):
                seen.add(other)
                found.append(other)
    return found


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
