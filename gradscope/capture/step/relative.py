"""Versions told relative to the step's start, so that a step equals an earlier one though counters go on counting.

Parameters are told so from the beginning. Here it is done, when a step closes, for tensors of earlier steps and for
what shares memory with parameters and with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .draft import Draft
from .raw import RawGraph, RawMoment, RawSaved, Updated, Written


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
    done = moment.payload
    if isinstance(done, Written) and moment.inputs[0] in shifts:
        shift = shifts[moment.inputs[0]]
        before, after = (None if version is None else version - shift for version in (done.before, done.after))
        return moment._replace(payload=done._replace(before=before, after=after))
    if isinstance(done, Updated) and not shifts.keys().isdisjoint(moment.inputs):
        known = zip(moment.inputs, done.versions)
        pairs = [(old - shifts.get(number, 0), new - shifts.get(number, 0)) for number, (old, new) in known]
        return moment._replace(payload=done._replace(versions=tuple(pairs)))
    return moment


def _graph(graph: RawGraph, shifts: Mapping[int, int]) -> RawGraph:
    def lowered(saved: RawSaved) -> RawSaved:
        if saved.version is None or saved.tensor is None or saved.tensor not in shifts:
            return saved
        return saved._replace(version=saved.version - shifts[saved.tensor])

    if not any(saved.tensor in shifts for node in graph.nodes for saved in node.saved):
        return graph
    nodes = [
        node._replace(saved=tuple([lowered(saved) for saved in node.saved])) if node.saved else node
        for node in graph.nodes
    ]
    return graph._replace(nodes=tuple(nodes))
