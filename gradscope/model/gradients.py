"""The grad graphs of one step, laid over each other: a node that two backwards ran through is one node.

Records number the nodes of each backward anew. The same node is recognised by the op that made it and
its name among that op's nodes; AccumulateGrad by the leaf it fills.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .records import GradGraph, GradNode, NodeRun, Template

ACCUMULATE = "AccumulateGrad"
_OUTSIDE = -1  # the op of a node whose op is not known


@dataclass(slots=True)
class Gradients:
    """The union of some of a template's grad graphs; a node is known by (graph, index) of its first sight.

    `edges` are (source, target, index, input_nr). `runs` are the moments at which a node ran, in order,
    and `order` the position of its first run among all of its graph's runs.
    """

    nodes: dict[tuple[int, int], GradNode]
    edges: list[tuple[tuple[int, int], tuple[int, int], int, int]]
    roots: list[tuple[int, int]]
    runs: dict[tuple[int, int], list[int]]
    order: dict[tuple[int, int], int]


def union(template: Template, graphs: Sequence[int]) -> Gradients:
    """The grad graphs `graphs` (positions in `template.graphs`) as one. Linear in their size."""
    known = [graph for graph in dict.fromkeys(graphs) if 0 <= graph < len(template.graphs)]
    same = _recognised(template, known)
    if len(known) > 1 and _has_cycle(template, known, same):
        same = {}  # an op with look-alike nodes in another order: show the backwards side by side
    united = Gradients({}, [], [], defaultdict(list), {})
    seen: set[tuple[tuple[int, int], tuple[int, int], int]] = set()
    for graph in known:
        records = template.graphs[graph]
        keys = [same.get((graph, node.index), (graph, node.index)) for node in records.nodes]
        for key, node in zip(keys, records.nodes, strict=True):
            united.nodes.setdefault(key, node)
        for edge in records.edges:
            one = (keys[edge.source], keys[edge.target], edge.index)
            if len(known) > 1 and one in seen:
                continue
            seen.add(one)
            united.edges.append((one[0], one[1], edge.index, edge.input_nr))
        united.roots.extend(keys[root] for root in records.roots)
    _add_runs(template, known, same, united)
    return united


def _add_runs(
    template: Template, known: Sequence[int], same: dict[tuple[int, int], tuple[int, int]], united: Gradients
) -> None:
    wanted = set(known)
    count: dict[int, int] = defaultdict(int)
    for index, moment in enumerate(template.moments):
        if isinstance(moment, NodeRun) and moment.graph in wanted:
            key = same.get((moment.graph, moment.node), (moment.graph, moment.node))
            united.runs[key].append(index)
            united.order.setdefault(key, count[moment.graph])
            count[moment.graph] += 1


def _recognised(template: Template, graphs: Sequence[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """(graph, index) -> the same node's key in an earlier graph."""
    if len(graphs) < 2:
        return {}
    first: dict[tuple[int, str], tuple[int, list[int]]] = {}
    same: dict[tuple[int, int], tuple[int, int]] = {}
    shapes = {graph: _shapes(template.graphs[graph]) for graph in graphs}
    for graph in graphs:
        records = template.graphs[graph]
        groups: dict[tuple[int, str], list[int]] = defaultdict(list)
        for node in records.nodes:
            key = _identity(node)
            if key is not None:
                groups[key].append(node.index)
        for key, members in groups.items():
            if key not in first:
                first[key] = (graph, members)
                continue
            home, originals = first[key]
            if len(members) != len(originals):
                continue
            pairs = list(zip(members, originals, strict=True))
            if len(pairs) == 1 or all(shapes[graph][member] == shapes[home][original] for member, original in pairs):
                same.update({(graph, member): (home, original) for member, original in pairs})
    return same


def _identity(node: GradNode) -> tuple[int, str] | None:
    if node.tensor is not None:
        return (node.tensor, ACCUMULATE)
    return None if node.op is None else (node.op, f"op {node.name}")


def _shapes(graph: GradGraph) -> list[list[tuple[object, ...]]]:
    """For each node, what its edges lead to: look-alikes of one op must agree in it."""
    targets: list[list[tuple[object, ...]]] = [[] for _ in graph.nodes]
    for edge in graph.edges:
        targets[edge.source].append((edge.index, edge.input_nr, _identity(graph.nodes[edge.target])))
    return [sorted(leads, key=repr) for leads in targets]


def _has_cycle(template: Template, graphs: Sequence[int], same: dict[tuple[int, int], tuple[int, int]]) -> bool:
    targets: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    waiting: dict[tuple[int, int], int] = {}
    for graph in graphs:
        records = template.graphs[graph]
        keys = [same.get((graph, node.index), (graph, node.index)) for node in records.nodes]
        for key in keys:
            waiting.setdefault(key, 0)
        for edge in records.edges:
            targets[keys[edge.source]].append(keys[edge.target])
            waiting[keys[edge.target]] += 1
    ready = [key for key, count in waiting.items() if not count]
    done = 0
    while ready:
        done += 1
        for target in targets[ready.pop()]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return done != len(waiting)
