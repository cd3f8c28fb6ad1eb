"""Versions told relative to the step's start, so that a step equals an earlier one though counters go on counting.

Parameters are told so from the beginning. Here it is done, when a step closes, for tensors of earlier steps and for
what shares memory with parameters and with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .draft import Draft, RawGraph, RawMoment


def relate(draft: Draft) -> tuple[tuple[int, int], ...]:
    """Lower the versions of such tensors in the draft. Returns how far, by tensor, as `StepRow.shifts` has it."""
    shifts = _shifts(draft)
    if shifts:
        before: tuple[Sequence[object], ...] = (draft.tensors, draft.moments, draft.graphs)
        draft.tensors = [
            raw._replace(version=raw.version - shifts[number]) if raw.version is not None and number in shifts else raw
            for number, raw in enumerate(draft.tensors)
        ]
        draft.moments = [_moment(moment, shifts) for moment in draft.moments]
        draft.graphs = [_graph(graph, shifts) for graph in draft.graphs]
        after: tuple[Sequence[object], ...] = (draft.tensors, draft.moments, draft.graphs)
        for kind, (old, new) in enumerate(zip(before, after)):
            draft.changed += [(kind, place) for place, raw in enumerate(new) if raw is not old[place]]
    return tuple(shifts.items())


def _shifts(draft: Draft) -> dict[int, int]:
    """How far the counter of each tensor had got: that of the first tensor of its memory, where it counts with it."""
    found: dict[int, int] = {}
    counted: dict[int, int] = {}  # by storage
    for number, raw in enumerate(draft.tensors):
        if raw.parameter is not None:
            counted.setdefault(raw.storage, draft.versions.get(raw.parameter, 0))
        elif raw.version is not None:
            first = counted.setdefault(raw.storage, raw.version if raw.carried else 0)
            shift = raw.version if raw.carried else first if raw.version >= first else 0
            if shift:
                found[number] = shift
    return found


def _moment(moment: RawMoment, shifts: Mapping[int, int]) -> RawMoment:
    kind, phase, stack, inputs, outputs, payload = moment
    if kind == "mutation" and inputs[0] in shifts:
        before, after = (None if version is None else version - shifts[inputs[0]] for version in payload[:2])
        return (kind, phase, stack, inputs, outputs, (before, after, *payload[2:]))
    if kind == "optimizer" and not shifts.keys().isdisjoint(inputs):
        pairs = [(old - shifts.get(n, 0), new - shifts.get(n, 0)) for n, (old, new) in zip(inputs, payload[1])]
        return (kind, phase, stack, inputs, outputs, (payload[0], tuple(pairs)))
    return moment


def _graph(graph: RawGraph, shifts: Mapping[int, int]) -> RawGraph:
    def lowered(saved: tuple[Any, ...]) -> tuple[Any, ...]:
        what, number, version, *rest = saved
        return saved if version is None or number not in shifts else (what, number, version - shifts[number], *rest)

    if not any(saved[1] in shifts for node in graph.nodes for saved in node[4]):
        return graph
    nodes = [
        (*node[:4], tuple([lowered(saved) for saved in node[4]]), *node[5:]) if node[4] else node
        for node in graph.nodes
    ]
    return graph._replace(nodes=tuple(nodes))
