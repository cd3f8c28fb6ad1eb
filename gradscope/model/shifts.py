"""Absolute versions of tensors whose counters were counting before the step began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .moments import Moment, Mutation, OptimizerStep, Template
from .records import GradGraph, SavedTensor


def shifted(template: Template, shifts: Sequence[tuple[int, int]]) -> Template:
    """The template of a step in which the counters of these tensors had got that far: see `StepRow.shifts`."""
    if not shifts:
        return template
    by = dict(shifts)
    return replace(
        template,
        tensors=tuple(
            [
                replace(tensor, version=tensor.version + by[number])
                if number in by and tensor.version is not None
                else tensor
                for number, tensor in enumerate(template.tensors)
            ]
        ),
        moments=tuple([_moment(moment, by) for moment in template.moments]),
        graphs=tuple([_graph(graph, by) for graph in template.graphs]),
    )


def _moment(moment: Moment, by: Mapping[int, int]) -> Moment:
    if isinstance(moment, Mutation) and moment.tensor in by:
        shift = by[moment.tensor]
        before = None if moment.before is None else moment.before + shift
        return replace(moment, before=before, after=None if moment.after is None else moment.after + shift)
    if isinstance(moment, OptimizerStep) and not by.keys().isdisjoint(moment.updated):
        pairs = [
            (before + by.get(tensor, 0), after + by.get(tensor, 0))
            for tensor, (before, after) in zip(moment.updated, moment.versions)
        ]
        return replace(moment, versions=tuple(pairs))
    return moment


def _graph(graph: GradGraph, by: Mapping[int, int]) -> GradGraph:
    def raised(saved: SavedTensor) -> SavedTensor:
        if saved.tensor is None or saved.version is None or saved.tensor not in by:
            return saved
        return replace(saved, version=saved.version + by[saved.tensor])

    nodes = [replace(node, saved=tuple(map(raised, node.saved))) if node.saved else node for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))
