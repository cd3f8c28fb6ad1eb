"""The chain rule at one grad node as on paper, where its numbers are single: `2 × B (20) → A 40`. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator

from ...model.records import GradNode
from ...text import number, printable
from ..scene import Scene


def chain_rule(scene: Scene, graph: int, index: int) -> tuple[str, ...]:
    """What came in to a node that ran by now, times its derivative, and where it went: one text for each way out.

    The factor is what went out over what came in; it is named where it is the value of a saved tensor.
    """
    runs = scene.touches.runs(graph, index)
    place = bisect_right(runs, scene.moment) - 1
    came = _single(scene, runs[place], "grad_in", 0) if place >= 0 else None
    records = scene.step.graphs[graph].nodes
    node = records[index]
    if came is None or node.tensor is not None:  # no single number, or it adds to a leaf's .grad
        return ()
    ways = []
    for edge in scene.touches.edges(graph, index):
        went = _single(scene, runs[place], "grad_out", edge.index)
        if went is None:
            return ()
        target = _word(scene, records[edge.target])
        ways.append(f"{number(came, 4)}{_times(scene, node, came, went)} → {target} {number(went, 4)}")
    return tuple(ways)


def _times(scene: Scene, node: GradNode, came: float, went: float) -> str:
    """` × B (20)`, ` × 20`, or nothing for a factor of 1."""
    if came == went or not came or not math.isfinite(went / came):
        return ""
    factor = went / came
    for name, value in _saved(scene, node):
        if math.isclose(value, factor, rel_tol=1e-6):
            return f" × {name} ({number(value, 4)})"
    return f" × {number(factor, 4)}"


def _saved(scene: Scene, node: GradNode) -> Iterator[tuple[str, float]]:
    for saved in node.saved:
        tensor = scene.step.tensors[saved.tensor] if saved.tensor is not None else None
        if tensor is not None and tensor.name:
            for sample in scene.samples.of(tensor, "value"):
                if sample.values is not None and len(sample.values) == 1:
                    yield printable(tensor.name), sample.values[0]


def _word(scene: Scene, node: GradNode) -> str:
    """The tensor that the gradient is for, else the grad node's name."""
    tensor = node.tensor if node.tensor is not None else next(iter(node.output_tensors), None)
    name = scene.step.tensors[tensor].name if tensor is not None else ""
    return printable(name or node.name)


def _single(scene: Scene, moment: int, what: str, position: int) -> float | None:
    sample = scene.samples.of_node(moment, what, position)
    return sample.values[0] if sample is not None and sample.values is not None and len(sample.values) == 1 else None
