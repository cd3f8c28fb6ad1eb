"""Findings on a graph: which node each of them names, and marks that keep those nodes in the picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..model.findings import Finding, Severity, in_order
from ..model.graph import Graph

SEVERITY_MARKS = frozenset(severity.value for severity in Severity)


def by_node(graph: Graph, findings: Iterable[Finding]) -> Mapping[int, tuple[Finding, ...]]:
    """The findings that name each node of `graph`, or one that it stands for or tells of, the gravest first.

    A finding of another step names none, since ids are those of its own step's graph.
    """
    here = [finding for finding in in_order(findings) if finding.nodes and finding.step in (None, graph.step)]
    if not here:
        return {}
    homes: defaultdict[int, list[int]] = defaultdict(list)
    for node in graph.nodes:
        for member in {node.id, *node.members}:
            homes[member].append(node.id)
    named: dict[int, dict[Finding, None]] = {}
    for finding in here:
        for member in finding.nodes:
            for home in homes[member] or homes[graph.elsewhere.get(member, member)]:
                named.setdefault(home, {})[finding] = None
    return {home: tuple(found) for home, found in named.items()}


def mark_findings(graph: Graph, findings: Iterable[Finding]) -> Graph:
    """`graph` with a mark on each node that a finding names: the severity (`error`, `warning`, `note`)."""
    named = by_node(graph, findings)
    if not named:
        return graph
    nodes = tuple(
        replace(node, marks=node.marks | {finding.severity.value for finding in named[node.id]})
        if node.id in named
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
