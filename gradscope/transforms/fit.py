"""Fitting: making a graph small enough to be read, by the mildest means that suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..model.graph import Graph
from .attach import attach_parameters, attach_results
from .chains import fold_chains
from .modules import fold_modules
from .repeats import fold_repeats
from .runs import fold_runs
from .select import nearest, prune


@dataclass(frozen=True, slots=True)
class Fitted:
    """A graph small enough to draw, and what was done to it, in words."""

    graph: Graph
    notes: tuple[str, ...] = ()


COMFORTABLE = 60  # nodes that fit a screen; beyond it a graph is tidied, though nothing is taken from it


def fit(graph: Graph, limit: int, expand: Iterable[str] = ()) -> Fitted:
    """`graph` in at most `limit` nodes; modules in `expand` are neither folded nor drawn as one of several equals.

    Beyond a screenful it is tidied: what no gradient depends on goes, parameters and ops are drawn inside what
    reads and results from them, equal blocks once. Beyond `limit`, until it fits, what a loop repeats is drawn once,
    then modules are folded from the deepest level up, then chains, and as a last resort only what is nearest to the
    result is shown. Raises UsageError when `limit` is below 1, UnknownName for an unknown module in `expand`.
    """
    if limit < 1:
        raise UsageError(f"the most nodes to draw is {limit}; it must be 1 or more")
    enough, opened = min(limit, COMFORTABLE), tuple(expand)
    means: tuple[tuple[int, Callable[[Graph], Graph], str], ...] = (
        (enough, prune, "what no gradient depends on is left out"),
        (enough, attach_parameters, "parameters are written on the op that reads them"),
        (enough, attach_results, "ops are written on their results"),
        (enough, lambda current: fold_repeats(current, expand=opened), "equal blocks are drawn once, ×N"),
        (limit, fold_runs, "what a loop repeats is drawn once, ×N"),
        (limit, lambda current: _fold_modules_to(current, limit, opened), "modules are folded (open one with expand)"),
        (limit, fold_chains, "long chains are folded"),
        (limit, lambda current: nearest(current, limit), "only what is nearest to the result (narrow with focus)"),
    )
    total, notes = len(graph.nodes), []
    for most, step, note in means:
        if len(graph.nodes) <= most:
            continue
        simpler = step(graph)
        if len(simpler.nodes) < len(graph.nodes):
            graph = simpler
            notes.append(note)
    return Fitted(graph, (f"{len(graph.nodes):,} of {total:,} nodes", *notes) if notes else ())


def _fold_modules_to(graph: Graph, limit: int, expand: Sequence[str]) -> Graph:
    """Modules folded at the greatest depth that fits, or at depth 0 when none does."""
    deepest = max((node.module.count(".") + 1 for node in graph.nodes if node.module), default=0)
    folded = graph
    for depth in reversed(range(deepest)):
        folded = fold_modules(graph, depth, expand)
        if len(folded.nodes) <= limit:
            break
    return folded
