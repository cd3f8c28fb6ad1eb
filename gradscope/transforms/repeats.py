"""Folding repeats: a run of equal numbered modules (`h.0` … `h.11`) is drawn once, ×12."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import UsageError
from ..model.graph import Graph, GraphNode, NodeKind
from .blocks import carried_on, numbered, of_runs, one_of
from .contract import contract
from .select import opened_modules
from .sides import is_backward


def fold_repeats(graph: Graph, least: int = 2, expand: Iterable[str] = (), *, calls: bool = True) -> Graph:
    """Runs of at least `least` structurally equal numbered siblings become the first of them, ×N.

    Siblings are numbered modules and, with `calls`, the calls of one module that each read what the one before made.

    Each node of the first block then stands for its twins in all of them (`count`, `members`). Names
    play no part; marks do, so a block that holds a NaN stays apart from its healthy siblings. So does a block
    that is in `expand`, or has a module that is.
    Raises UsageError when `least` is below 2, and what `opened_modules` raises.
    """
    if least < 2:
        raise UsageError(f"a run of repeats has at least 2 blocks, not {least}")
    apart = opened_modules(graph, expand)
    deepest = max((len(graph.around(module)) for module in {node.module for node in graph.nodes}), default=0)
    for level in range(deepest):
        for (_, stem, _), blocks in _families(graph, level, apart).items():
            linked = stem.endswith(":")
            if calls or not linked:
                graph = _fold_family(graph, blocks, least, linked=linked)
    return graph


def _families(graph: Graph, level: int, apart: frozenset[str]) -> dict[tuple[str, str, bool], dict[int, list[int]]]:
    """Numbered siblings at `level`, without those `apart`: number -> nodes, by parent, stem and direction."""
    families: dict[tuple[str, str, bool], dict[int, list[int]]] = {}
    around = {module: graph.around(module) for module in {node.module for node in graph.nodes}}
    for node in graph.nodes:
        modules = around[node.module]
        if len(modules) <= level or modules[level] in apart:
            continue
        known = numbered(graph, modules[level])
        if known is not None:
            key = (graph.called(modules[level]).parent, known[0], is_backward(node))
            families.setdefault(key, {}).setdefault(known[1], []).append(node.id)
    return {key: family for key, family in families.items() if len(family) > 1}


def _fold_family(graph: Graph, blocks: Mapping[int, Sequence[int]], least: int, *, linked: bool) -> Graph:
    """Folds each run of equal, consecutively numbered blocks among siblings.

    Those that are to be `linked` each read what the one before made: calls of one module on other data are no run.
    """
    numbers = sorted(blocks)
    shapes = {number: _canonical(graph, blocks[number]) for number in numbers}
    start = 0
    while start < len(numbers):
        end = start + 1
        structure = shapes[numbers[start]][0]
        while end < len(numbers) and numbers[end] == numbers[end - 1] + 1 and shapes[numbers[end]][0] == structure:
            if linked and not _links(graph, blocks[numbers[end - 1]], blocks[numbers[end]]):
                break
            end += 1
        if end - start >= least:
            graph = _fold_run(graph, [shapes[number][1] for number in numbers[start:end]])
        start = end
    return graph


def _links(graph: Graph, block: Iterable[int], following: Collection[int]) -> bool:
    return any(target in following for node in block for target in graph.successors(node))


def _canonical(graph: Graph, block: Sequence[int]) -> tuple[Hashable, list[int]]:
    """A block's structure, equal only for equal blocks, and its nodes in an order that twins share.

    A node's colour is its own facts, then the colours of all before it and all after it in the block
    (Weisfeiler and Leman 1968, in one sweep each way since the block is a DAG).
    """
    inside = frozenset(block)
    part = replace(
        graph,
        nodes=tuple([graph.by_id[node] for node in block]),
        edges=tuple([edge for node in block for edge in graph.outgoing.get(node, ()) if edge.target in inside]),
    )
    order = part.topological()
    down: dict[int, int] = {}
    up: dict[int, int] = {}
    for node in order:
        came = sorted((edge.kind.value, edge.index, down[edge.source]) for edge in part.incoming.get(node, ()))
        down[node] = hash((facts(part.by_id[node]), *came))
    for node in reversed(order):
        went = sorted((edge.kind.value, edge.index, up[edge.target]) for edge in part.outgoing.get(node, ()))
        up[node] = hash((down[node], *went))
    place = {node.id: rank for rank, node in enumerate(part.nodes)}
    twins = sorted(place, key=lambda node: (down[node], up[node], place[node]))
    rank = {node: position for position, node in enumerate(twins)}
    edges = sorted((rank[edge.source], rank[edge.target], edge.kind.value, edge.index) for edge in part.edges)
    return (tuple(facts(part.by_id[node]) for node in twins), tuple(edges)), twins


def facts(node: GraphNode) -> tuple[Hashable, ...]:
    """What makes two nodes alike: what they are and how they look, never what they are called."""
    return (
        node.kind.value,
        node.op,
        node.label if node.kind in (NodeKind.OP, NodeKind.GRAD_FN) else "",
        *(node.role, node.shape, node.dtype, node.device, node.status, node.folds_grad),
        *(node.module_type, tuple(sorted(node.marks)), node.count),
        *sorted(hash(facts(part)) for part in node.parts),
    )


def _fold_run(graph: Graph, blocks: Sequence[Sequence[int]]) -> Graph:
    """Lays equal blocks on top of the first; leaves them when that would make a cycle."""
    block_of = {node: number for number, block in enumerate(blocks) for node in block}
    if (graph.ancestors(*block_of) & graph.descendants(*block_of)) != block_of.keys():
        return graph  # something outside lies between two of the blocks
    homes = {}
    runs = list(zip(*blocks, strict=True))
    for twins in runs:
        homes.update(dict.fromkeys(twins, one_of([graph.by_id[twin] for twin in twins])))
    edges = tuple(
        replace(edge, label="") if block_of.get(edge.source) == block_of.get(edge.target, -1) else edge
        for edge in graph.edges
        if edge.source not in block_of or block_of[edge.source] == block_of.get(edge.target, block_of[edge.source])
    )
    loops = (*graph.loops, *carried_on(graph, block_of))
    return contract(replace(graph, edges=edges, loops=loops, calls=of_runs(graph, runs)), homes, keep_index=True)
