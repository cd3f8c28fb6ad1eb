"""Folding repeats: a run of equal numbered modules (`h.0` … `h.11`) is drawn once, ×12."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import UsageError
from ..model.graph import Graph, GraphNode, NodeKind
from .contract import all_members, contract
from .select import opened_modules
from .sides import is_backward


def fold_repeats(graph: Graph, least: int = 2, expand: Iterable[str] = ()) -> Graph:
    """Runs of at least `least` structurally equal numbered siblings become the first of them, ×N.

    Each node of the first block then stands for its twins in all of them (`count`, `members`). Names
    play no part; marks do, so a block that holds a NaN stays apart from its healthy siblings. So does a block
    that is in `expand`, or has a module that is.
    Raises UsageError when `least` is below 2, and what `opened_modules` raises.
    """
    if least < 2:
        raise UsageError(f"a run of repeats has at least 2 blocks, not {least}")
    apart = opened_modules(graph, expand)
    deepest = max((node.module.count(".") + 1 for node in graph.nodes if node.module), default=0)
    for level in range(deepest):
        for blocks in _families(graph, level, apart):
            graph = _fold_family(graph, blocks, least)
    return graph


def block_counts(graph: Graph) -> dict[str, int]:
    """For each module path of the graph, how many equal blocks it stands for (1: only itself)."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        path = node.module or ""
        while path:
            counts[path] = math.gcd(counts.get(path, 0), node.count)
            path = path.rpartition(".")[0]
    return counts


def enclosing_count(path: str, counts: Mapping[str, int]) -> int:
    """How many equal blocks everything in module `path` stands for: what its innermost numbered module does."""
    while path and not path.rpartition(".")[2].isdecimal():
        path = path.rpartition(".")[0]
    return counts.get(path, 1)


def own_count(path: str, counts: Mapping[str, int]) -> int:
    """How many equal siblings a numbered module stands for, not counting those of modules around it."""
    parent, _, last = path.rpartition(".")
    return counts.get(path, 1) // enclosing_count(parent, counts) if last.isdecimal() else 1


def run_label(path: str, counts: Mapping[str, int]) -> str:
    """`h.0`, standing for 12 blocks, as `h.0–11`; other paths stay as they are."""
    run = own_count(path, counts)
    return path if run < 2 else f"{path}–{int(path.rpartition('.')[2]) + run - 1}"


def _families(graph: Graph, level: int, apart: frozenset[str]) -> list[dict[int, list[int]]]:
    """Numbered siblings at `level`, forward and backward apart, without those `apart`: number -> nodes by parent."""
    families: dict[tuple[str, bool], dict[int, list[int]]] = {}
    for node in graph.nodes:
        parts = node.module.split(".") if node.module else []
        if len(parts) > level and parts[level].isdecimal() and ".".join(parts[: level + 1]) not in apart:
            parent = ".".join(parts[:level])
            families.setdefault((parent, is_backward(node)), {}).setdefault(int(parts[level]), []).append(node.id)
    return [family for family in families.values() if len(family) > 1]


def _fold_family(graph: Graph, blocks: Mapping[int, Sequence[int]], least: int) -> Graph:
    """Folds each run of equal, consecutively numbered blocks among siblings."""
    numbers = sorted(blocks)
    shapes = {number: _canonical(graph, blocks[number]) for number in numbers}
    start = 0
    while start < len(numbers):
        end = start + 1
        structure = shapes[numbers[start]][0]
        while end < len(numbers) and numbers[end] == numbers[end - 1] + 1 and shapes[numbers[end]][0] == structure:
            end += 1
        if end - start >= least:
            graph = _fold_run(graph, [shapes[number][1] for number in numbers[start:end]])
        start = end
    return graph


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
    )


def _fold_run(graph: Graph, blocks: Sequence[Sequence[int]]) -> Graph:
    """Lays equal blocks on top of the first; leaves them when that would make a cycle."""
    block_of = {node: number for number, block in enumerate(blocks) for node in block}
    if (graph.ancestors(*block_of) & graph.descendants(*block_of)) != block_of.keys():
        return graph  # something outside lies between two of the blocks
    homes: dict[int, GraphNode] = {}
    for twins in zip(*blocks, strict=True):
        nodes = [graph.by_id[twin] for twin in twins]
        notes = nodes[0].notes if len({node.notes for node in nodes}) == 1 else ()
        count = nodes[0].count * len(blocks)
        one = replace(
            nodes[0],
            count=count,
            members=all_members(nodes),
            notes=notes,
            value=None,
            grad=None,
            stats=None,
            grad_stats=None,
        )
        homes.update(dict.fromkeys(twins, one))
    edges = tuple(
        edge
        for edge in graph.edges
        if edge.source not in block_of or block_of[edge.source] == block_of.get(edge.target, block_of[edge.source])
    )
    return contract(replace(graph, edges=edges), homes, keep_index=True)
