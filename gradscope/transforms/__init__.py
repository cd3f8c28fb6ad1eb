"""Passes: small functions from a graph to a new, simpler graph, composed in a list.

A pass never changes its input, never makes a cycle, and gives the same graph when it is applied
twice. A node that stands for others carries their ids in `members`; it takes the id of the first of
them, so ids are stable from run to run. Folded nodes of a backward have `op == "backward"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, reduce

from ..model.graph import Graph
from ..options import ViewOptions
from .attach import attach_parameters, attach_results
from .chains import fold_chains
from .findings import SEVERITY_MARKS, by_node, mark_findings
from .fit import Fitted, fit
from .modules import fold_modules, known_modules
from .repeats import block_counts, enclosing_count, fold_repeats, own_count, run_label
from .runs import fold_runs
from .select import focus, nearest, prefixes, prune
from .sides import is_backward

__all__ = [
    "SEVERITY_MARKS",
    "Fitted",
    "Pass",
    "attach_parameters",
    "attach_results",
    "block_counts",
    "by_node",
    "enclosing_count",
    "fit",
    "focus",
    "fold_chains",
    "fold_modules",
    "fold_repeats",
    "fold_runs",
    "is_backward",
    "known_modules",
    "mark_findings",
    "nearest",
    "own_count",
    "passes",
    "prefixes",
    "prune",
    "run_label",
    "simplify",
]

Pass = Callable[[Graph], Graph]


def passes(options: ViewOptions) -> list[Pass]:
    """The passes that `options` ask for, in the order in which they make sense."""
    wanted: list[Pass] = []
    if options.expand:
        wanted.append(partial(known_modules, names=options.expand))
    if options.focus is not None:
        wanted.append(partial(focus, name=options.focus))
    if options.depth is not None:
        wanted.append(partial(fold_modules, depth=options.depth, expand=options.expand))
    return wanted


def simplify(graph: Graph, passes: Iterable[Pass]) -> Graph:
    """`graph` after each pass in turn. Raises what the passes raise (UnknownName, UsageError)."""
    return reduce(lambda current, step: step(current), passes, graph)
