"""The grad graphs of one step, laid over each other: a node that two backwards ran through is one node.

Records number the nodes of each backward anew. The same node is recognised by the op that made it and
its name among that op's nodes; AccumulateGrad by the leaf it fills.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .moments import NodeRun, Template
from .order import topological
from .records import GradGraph, GradNode

ACCUMULATE = "AccumulateGrad"
_Ids = Mapping[int, Sequence[int]]  # graph -> the id of each of its nodes


@dataclass(slots=True)
class Gradients:
    """The union of some of a template's grad graphs; a node is known by the id of its first sight.

    `runs` are the moments at which a node ran, in order, and `order` the position of its first run among
    all of its graph's runs.
    """

    nodes: dict[int, GradNode]
    roots: frozenset[int]
    runs: Mapping[int, Sequence[int]]
    order: Mapping[int, int]
    graphs: Mapping[int, tuple[GradGraph, Sequence[int]]]  # each with the ids of its nodes

    def edges(self) -> Iterator[tuple[int, int, int]]:
        """(source, target, index) of every edge, each once."""
        if len(self.graphs) == 1:
            ((records, ids),) = self.graphs.values()
            yield from ((ids[edge.source], ids[edge.target], edge.index) for edge in records.edges)
            return
        seen: set[tuple[int, int, int]] = set()
        for records, ids in self.graphs.values():
            for edge in records.edges:
                one = (ids[edge.source], ids[edge.target], edge.index)
                if one not in seen:
                    seen.add(one)
                    yield one


def first_grad_id(template: Template, graph: int) -> int:
    """The node id of the first grad node of `template.graphs[graph]`: tensors come first, then moments."""
    before = sum(len(one.nodes) for one in template.graphs[:graph])
    return len(template.tensors) + len(template.moments) + before


def union(template: Template, graphs: Sequence[int], ran: Iterable[int] | None = None) -> Gradients:
    """The grad graphs `graphs` (positions in `template.graphs`) as one. Linear in their size.

    `ran` are the positions of the template's `NodeRun` moments, where they are known already.
    """
    if ran is None:
        ran = [index for index, moment in enumerate(template.moments) if isinstance(moment, NodeRun)]
    known = [graph for graph in dict.fromkeys(graphs) if 0 <= graph < len(template.graphs)]
    own = {graph: _own_ids(template, graph) for graph in known}
    ids = _recognised(template, own)
    if len(known) > 1 and _has_cycle(template, ids):
        ids = own  # an op with look-alike nodes in another order: show the backwards side by side
    nodes: dict[int, GradNode] = {}
    for graph in reversed(known):
        nodes.update(zip(ids[graph], template.graphs[graph].nodes, strict=True))
    if len(known) > 1:  # each where it was first seen
        nodes = {number: nodes[number] for graph in known for number in ids[graph]}
    roots = frozenset(ids[graph][root] for graph in known for root in template.graphs[graph].roots)
    return Gradients(
        nodes, roots, *_runs(template, ids, ran), {graph: (template.graphs[graph], ids[graph]) for graph in known}
    )


def _own_ids(template: Template, graph: int) -> Sequence[int]:
    first = first_grad_id(template, graph)
    return range(first, first + len(template.graphs[graph].nodes))


def _runs(template: Template, ids: _Ids, ran: Iterable[int]) -> tuple[dict[int, list[int]], dict[int, int]]:
    runs: dict[int, list[int]] = defaultdict(list)
    order: dict[int, int] = {}
    count: dict[int, int] = defaultdict(int)
    for index in ran:
        moment = template.moments[index]
        if isinstance(moment, NodeRun) and moment.graph in ids:
            node = ids[moment.graph][moment.node]
            runs[node].append(index)
            order.setdefault(node, count[moment.graph])
            count[moment.graph] += 1
    return runs, order


def _recognised(template: Template, own: _Ids) -> _Ids:
    """For each graph the ids of its nodes, those of an earlier graph where it is the same node."""
    if len(own) < 2:
        return own
    first: dict[tuple[int, str], tuple[int, list[int]]] = {}
    ids = {graph: list(numbers) for graph, numbers in own.items()}
    shapes = {graph: _shapes(template.graphs[graph]) for graph in own}
    for graph in own:
        groups: dict[tuple[int, str], list[int]] = defaultdict(list)
        for node in template.graphs[graph].nodes:
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
                for member, original in pairs:
                    ids[graph][member] = ids[home][original]
    return ids


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


def _has_cycle(template: Template, ids: _Ids) -> bool:
    targets: dict[int, list[int]] = {number: [] for numbers in ids.values() for number in numbers}
    for graph, numbers in ids.items():
        for edge in template.graphs[graph].edges:
            targets[numbers[edge.source]].append(numbers[edge.target])
    return len(topological(targets, targets)) != len(targets)
