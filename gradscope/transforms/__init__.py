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
from .attach import attach_constants, attach_parameters
from .blocks import Blocks
from .calls import in_calls
from .chains import fold_chains
from .combine import UP, combine
from .findings import SEVERITY_MARKS, by_node, mark_findings
from .fit import Fitted, fit, tidy
from .modules import fold_modules, known_modules
from .repeats import fold_repeats
from .runs import fold_runs
from .select import focus, nearest, prefixes, prune
from .sides import is_backward

__all__ = [
    "SEVERITY_MARKS",
    "UP",
    "Blocks",
    "Fitted",
    "Pass",
    "attach_constants",
    "attach_parameters",
    "by_node",
    "combine",
    "fit",
    "focus",
    "fold_chains",
    "fold_modules",
    "fold_repeats",
    "fold_runs",
    "in_calls",
    "is_backward",
    "known_modules",
    "mark_findings",
    "nearest",
    "passes",
    "prefixes",
    "prune",
    "simplify",
    "tidy",
]

Pass = Callable[[Graph], Graph]


def passes(options: ViewOptions, *, picture: bool = False) -> list[Pass]:
    """The passes that `options` ask for, in the order in which they make sense.

    In a `picture` modules nest as they were called, and of many nodes a call is one.
    """
    wanted: list[Pass] = []
    if options.expand:
        wanted.append(partial(known_modules, names=options.expand))
    if options.focus is not None:
        wanted.append(partial(focus, name=options.focus))
    if picture:
        wanted += [in_calls, tidy]
    if options.depth is not None:
        wanted.append(partial(fold_modules, depth=options.depth, expand=options.expand))
    return wanted


def simplify(graph: Graph, passes: Iterable[Pass]) -> Graph:
    """`graph` after each pass in turn. Raises what the passes raise (UnknownName, UsageError)."""
    return reduce(lambda current, step: step(current), passes, graph)
