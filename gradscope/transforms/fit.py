"""Fitting: making a graph small enough to be read, by the mildest means that suffice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UsageError
from ..model.graph import Graph
from .chains import fold_chains
from .modules import fold_modules
from .repeats import fold_repeats
from .select import nearest, prune


@dataclass(frozen=True, slots=True)
class Fitted:
    """A graph small enough to draw, and what was done to it, in words."""

    graph: Graph
    notes: tuple[str, ...] = ()


def fit(graph: Graph, limit: int) -> Fitted:
    """`graph` in at most `limit` nodes.

    In this order, until it fits: drop what no gradient depends on, draw equal blocks once, fold modules from
    the deepest level up, fold chains, and as a last resort show only what is nearest to the result.
    Raises UsageError when `limit` is below 1.
    """
    if limit < 1:
        raise UsageError(f"the most nodes to draw is {limit}; it must be 1 or more")
    means: tuple[tuple[Callable[[Graph], Graph], str], ...] = (
        (prune, "what no gradient depends on is left out"),
        (fold_repeats, "equal blocks are drawn once, ×N"),
        (lambda current: _fold_modules_to(current, limit), "modules are folded (open one with expand)"),
        (fold_chains, "long chains are folded"),
        (lambda current: nearest(current, limit), "only what is nearest to the result (narrow with focus or depth)"),
    )
    total, notes = len(graph.nodes), []
    for step, note in means:
        if len(graph.nodes) <= limit:
            break
        simpler = step(graph)
        if len(simpler.nodes) < len(graph.nodes):
            graph = simpler
            notes.append(note)
    return Fitted(graph, (f"{len(graph.nodes):,} of {total:,} nodes", *notes) if notes else ())


def _fold_modules_to(graph: Graph, limit: int) -> Graph:
    """Modules folded at the greatest depth that fits, or at depth 0 when none does."""
    deepest = max((node.module.count(".") + 1 for node in graph.nodes if node.module), default=0)
    folded = graph
    for depth in reversed(range(deepest)):
        folded = fold_modules(graph, depth)
        if len(folded.nodes) <= limit:
            break
    return folded
