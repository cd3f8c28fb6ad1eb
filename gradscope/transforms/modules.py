"""Folding modules: what lies deeper than a depth becomes one node per module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import UsageError
from ..model.graph import Graph, GraphNode
from ..model.sizes import elements
from .blocks import Blocks
from .contract import contiguous_runs, contract, only, standing_for
from .select import opened_modules
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
    folds = {module: _fold_path(graph, module, depth, opened) for module in {node.module for node in graph.nodes}}
    for node in graph.nodes:
        path = folds[node.module]
        if path is not None:
            groups[node.id] = (path, is_backward(node))
    if not groups:
        return graph
    blocks = Blocks(graph)
    homes: dict[int, GraphNode] = {}
    for run in contiguous_runs(graph, groups):
        if graph.combined and len(run) == 1:
            continue  # one box already
        path, backward = groups[run[0]]
        folded = _module_node(graph, [graph.by_id[node] for node in run], path, blocks)
        homes.update(dict.fromkeys(run, replace(folded, op=BACKWARD if backward else None)))
    return contract(graph, homes)


def known_modules(graph: Graph, names: Iterable[str]) -> Graph:
    """`graph` as it is. Raises what `opened_modules` raises."""
    opened_modules(graph, names)
    return graph


def _fold_path(graph: Graph, module: str | None, depth: int, opened: frozenset[str]) -> str | None:
    """The module that a node of `module` folds into, or None when it stays."""
    return next((path for path in graph.around(module)[depth:] if path not in opened), None)


def _module_node(graph: Graph, run: Sequence[GraphNode], path: str, blocks: Blocks) -> GraphNode:
    every = [part for node in run for part in (node, *node.parts)]
    parameters = sum(part.count * elements(part.shape or ()) for part in every if part.role == "parameter")
    around = blocks.enclosing(path)
    called = graph.called(path)
    own_type = only(node.module_type for node in run if node.module == path)
    return replace(
        standing_for(run, label=blocks.label(path)),
        name=path,
        module=called.parent or None,
        module_type=graph.modules.get(called.module) or own_type,
        notes=(f"{parameters:,} parameter elements",) if parameters else (),
        count=math.gcd(*(node.count * around // blocks.enclosing(node.module) for node in run)),
    )
