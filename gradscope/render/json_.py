"""JSON in the schema `gradscope.graph/1`, which `graph.schema.json` beside this file describes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..model.findings import Finding
from ..model.graph import Graph, GraphNode, NodeKind
from ..model.records import Stats
from .base import RenderOptions
from .view import GraphView

SCHEMA = "gradscope.graph/1"
# Present on every node, null where a node has no such fact.
_ALWAYS = (
    *("op", "shape", "dtype", "device", "requires_grad", "is_leaf", "retains_grad", "grad_fn", "version", "has_grad"),
    "module",
)
_SOMETIMES = ("module_type", "moment", "order")


class Json:
    name = "json"
    suffixes = (".json",)
    description = f"JSON, schema {SCHEMA}"
    complete = True

    def render(self, view: GraphView, options: RenderOptions) -> bytes:
        del options  # data has no looks
        document = graph_json(view.graph, view.findings)
        return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode("utf-8", "replace")

    def readable(self, view: GraphView, options: RenderOptions) -> bool:
        del view, options
        return True


def graph_json(graph: Graph, findings: Mapping[int, Sequence[Finding]] | None = None) -> dict[str, Any]:
    """The graph as JSON values, each node with the `findings` that name it.

    NaN and infinities are the strings "NaN", "Infinity", "-Infinity".
    """
    found = findings or {}
    return {
        "schema": SCHEMA,
        "kind": graph.kind.value,
        "step": graph.step,
        "title": graph.title,
        **({"detail": graph.detail} if graph.detail else {}),
        "modules": dict(graph.modules),
        **({"notes": list(graph.notes)} if graph.notes else {}),
        "nodes": [_node(node, found.get(node.id, ())) for node in graph.nodes],
        "edges": [
            {"from": edge.source, "to": edge.target, "kind": edge.kind.value, "index": edge.index}
            | ({"label": edge.label} if edge.label else {})
            for edge in graph.edges
        ],
    }


def _node(node: GraphNode, findings: Sequence[Finding]) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": node.id, "kind": node.kind.value, "name": node.name, "label": node.label}
    facts |= {key: _plain(getattr(node, key)) for key in _ALWAYS}
    facts["source"] = asdict(node.source) if node.source else None
    facts |= {key: getattr(node, key) for key in _SOMETIMES if getattr(node, key) is not None}
    if node.role:
        facts["role"] = node.role
    if node.arguments and node.kind is NodeKind.OP:
        facts["arguments"] = node.arguments
    for key, values in (("value", node.value), ("grad", node.grad)):
        if values is not None:
            facts[key] = [_number(value) for value in values]
    for key, stats in (("stats", node.stats), ("grad_stats", node.grad_stats)):
        if stats is not None:
            facts[key] = _stats(stats)
    if node.marks:
        facts["marks"] = sorted(node.marks)
    if node.notes:
        facts["notes"] = list(node.notes)
    if node.count != 1:
        facts["count"] = node.count
    if node.members:
        facts["members"] = list(node.members)
    if findings:
        facts["finding"] = [
            {"code": one.code, "name": one.name, "severity": one.severity.value, "message": one.message}
            for one in findings
        ]
    return facts


def _plain(fact: Any) -> Any:
    return list(fact) if isinstance(fact, tuple) else fact


def _stats(stats: Stats) -> dict[str, Any]:
    return {key: _number(value) for key, value in asdict(stats).items()}


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
