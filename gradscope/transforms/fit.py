"""Fitting: making a graph small enough to be read, by the mildest means that suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..model.graph import Graph
from .attach import attach_constants, attach_parameters
from .chains import fold_chains
from .combine import combine
from .modules import fold_modules
from .repeats import fold_repeats
from .runs import fold_runs
from .select import nearest, prune


@dataclass(frozen=True, slots=True)
class Fitted:
    """A graph small enough to draw, and what was done to it, in words."""

    graph: Graph
    notes: tuple[str, ...] = ()


BY_HAND = 12  # nodes that one would draw by hand, two-sided; of more, a node stands for all that a call made
COMFORTABLE = 16  # nodes that fit a screen; beyond it what is equal is drawn once, though nothing is taken away
_EQUAL = "equal blocks are drawn once, ×N"
_LOOPS = "what a loop repeats is drawn once, ×N"
_MODULES = "modules are folded: open one with expand (--expand NAME), all with a greater depth (--depth N)"
_NEAREST = "only what is nearest to the result: narrow it with focus (--focus NAME)"


def fit(
    graph: Graph,
    limit: int,
    expand: Iterable[str] = (),
    *,
    readable: Callable[[Graph], bool] = lambda _: True,
) -> Fitted:
    """`graph` in at most `limit` nodes, and such that it is `readable`: its text is large enough on a page.

    Beyond what one would draw by hand, a call and its backward are one node. Beyond a screenful what no gradient
    depends on goes, and equal blocks are drawn once, what a loop repeats too. Beyond `limit`, until it fits, modules
    are folded from the deepest level up, then chains, and as a last resort only what is nearest to the result is
    shown. Modules in `expand` are neither folded nor drawn as one of several equals.
    Raises UsageError when `limit` is below 1, UnknownName for an unknown module in `expand`.
    """
    if limit < 1:
        raise UsageError(f"the most nodes to draw is {limit}; it must be 1 or more")
    opened, total = tuple(expand), sum(len(node.members or (0,)) for node in graph.nodes)
    by_hand, enough = min(limit, BY_HAND), min(limit, COMFORTABLE)

    def fits(current: Graph, most: int) -> bool:
        return len(current.nodes) <= most and readable(current)

    if fits(graph, by_hand):
        return Fitted(graph)
    graph = tidy(graph, most=0)
    means: tuple[tuple[int, Callable[[Graph], Iterator[Graph]], str], ...] = (
        (enough, lambda current: iter([prune(current)]), "what no gradient depends on is left out"),
        (enough, lambda current: iter([fold_repeats(current, expand=opened, calls=False)]), _EQUAL),
        (enough, lambda current: iter([fold_runs(current, straight=current.combined)]), _LOOPS),
        (enough, lambda current: iter([fold_repeats(current, expand=opened)]), _LOOPS),
        (limit, lambda current: _shallower(current, opened), _MODULES),
        (limit, lambda current: iter([fold_chains(current)]), "long chains are folded"),
        (limit, lambda current: _fewer(current, limit), _NEAREST),
    )
    notes = []
    shown = attach_constants(graph)
    for most, step, note in means:
        if fits(shown, most):
            continue
        before = len(graph.nodes)
        for simpler in step(graph):
            graph = attach_parameters(simpler)
            shown = attach_constants(graph)
            if fits(shown, most):
                break
        if len(graph.nodes) < before:
            notes.append(note)
    return Fitted(shown, (_sizes(shown, total), *dict.fromkeys(notes)) if notes else ())


def tidy(graph: Graph, most: int = BY_HAND) -> Graph:
    """Of more than `most` nodes, a call and its backward are one, and parameters lie in what reads them."""
    return graph if len(graph.nodes) <= most else attach_parameters(combine(graph))


def _sizes(graph: Graph, total: int) -> str:
    """How much of the original graph is told by how many nodes: `12 of 179 nodes`, `8 nodes tell of 45 of 179`."""
    told = len({member for node in graph.nodes for member in (node.members or (node.id,))})
    if told == total:
        return f"{len(graph.nodes):,} of {total:,} nodes, which stand for the others"
    return f"{len(graph.nodes):,} of {total:,} nodes, which stand for {told - len(graph.nodes):,} others"


def _shallower(graph: Graph, expand: Sequence[str]) -> Iterator[Graph]:
    """Modules folded at each depth, the greatest first."""
    deepest = max((len(graph.around(module)) for module in {node.module for node in graph.nodes}), default=0)
    folded = graph
    for depth in reversed(range(deepest)):
        yield (folded := fold_modules(graph, depth, expand))
    if not deepest:
        yield folded


def _fewer(graph: Graph, limit: int) -> Iterator[Graph]:
    """The nodes nearest to the result, ever fewer."""
    while True:
        yield nearest(graph, limit)
        if limit == 1:
            return
        limit = max(min(limit, len(graph.nodes)) * 2 // 3, 1)
