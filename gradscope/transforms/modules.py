"""Folding modules: what lies deeper than a depth becomes one node per module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import UsageError
from ..model.graph import Graph, GraphNode
from ..model.sizes import elements
from .contract import contiguous_runs, contract, only, standing_for
from .repeats import block_counts, enclosing_count, run_label
from .select import opened_modules, prefixes
from .sides import BACKWARD, is_backward


def fold_modules(graph: Graph, depth: int, expand: Iterable[str] = ()) -> Graph:
    """Each module that lies deeper than `depth` levels becomes one node; those in `expand` stay open.

    Depth 0 shows the outermost modules as nodes, depth 1 what is directly inside them. The forward and
    the backward of a module fold apart. A module that data leaves and enters again (a shared layer,
    a cell in a loop) folds into one node per visit, so that no cycle appears.
    Raises UsageError for a negative depth, UnknownName and UsageError as `opened_modules` does.
    """
    if depth < 0:
        raise UsageError(f"the depth to fold at is {depth}; it must be 0 or more")
    opened = opened_modules(graph, expand)
    groups: dict[int, tuple[str, bool]] = {}
    for node in graph.nodes:
        path = _fold_path(node.module or "", depth, opened)
        if path is not None:
            groups[node.id] = (path, is_backward(node))
    if not groups:
        return graph
    counts = block_counts(graph)
    homes: dict[int, GraphNode] = {}
    for run in contiguous_runs(graph, groups):
        path, backward = groups[run[0]]
        folded = _module_node(graph, [graph.by_id[node] for node in run], path, counts)
        homes.update(dict.fromkeys(run, replace(folded, op=BACKWARD if backward else None)))
    return contract(graph, homes)


def known_modules(graph: Graph, names: Iterable[str]) -> Graph:
    """`graph` as it is. Raises what `opened_modules` raises."""
    opened_modules(graph, names)
    return graph


def _fold_path(module: str, depth: int, opened: frozenset[str]) -> str | None:
    """The module that a node of `module` folds into, or None when it stays."""
    return next((path for path in prefixes(module)[depth:] if path not in opened), None)


def _module_node(graph: Graph, run: Sequence[GraphNode], path: str, counts: Mapping[str, int]) -> GraphNode:
    parameters = sum(node.count * elements(node.shape or ()) for node in run if node.role == "parameter")
    around = enclosing_count(path, counts)
    own_type = only(node.module_type for node in run if node.module == path)
    return replace(
        standing_for(run, label=run_label(path, counts)),
        name=path,
        module=path.rpartition(".")[0] or None,
        module_type=graph.modules.get(path) or own_type,
        notes=(f"{parameters:,} parameter elements",) if parameters else (),
        count=math.gcd(*(node.count * around // enclosing_count(node.module or "", counts) for node in run)),
    )
