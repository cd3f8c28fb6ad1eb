"""The step in progress, in the cheap form that capture appends to.

A raw moment is `(kind, phase, stack, inputs, outputs, payload)` where inputs and outputs are tuples of
step-local tensor numbers and everything is hashable: two steps did the same exactly when their
moments, tensors, graphs and returns are equal. `assemble` turns novelty into records.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from ..model.records import Phase

FLUSH_SECONDS = 0.3
RawMoment = tuple[str, Phase, "int | None", tuple[int, ...], tuple[int, ...], tuple[Any, ...]]


# (moment, subject, of a parameter, what, (statistics, values, shape))
RawSample = tuple[int, int, bool, str, tuple[Any, Any, Any]]


class RawTensor(NamedTuple):
    """Facts of a tensor when the step met it. `numbering` is what names are made from."""

    facts: tuple[Any, ...]
    version: int | None
    storage: int
    base: int | None
    parameter: int | None
    made_by: int | None
    output: int
    outputs: int
    stack: int | None
    position: int
    method: bool
    direct: bool
    carried: bool


class RawGraph(NamedTuple):
    """A walked backward graph. Node: (name, op moment, leaf tensor, output tensors, saved, hooks, carried)."""

    nodes: tuple[tuple[Any, ...], ...]
    edges: tuple[tuple[int, int, int, int], ...]
    roots: tuple[int, ...]


def _no_flush(draft: Draft) -> None:
    """For drafts that are only made to be closed."""
    draft.flush_at = math.inf


class StepMark:
    """Where a closed step ended up; live tensors point here to say in which step they were made."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: int | None = None


class Draft:
    """One step in progress. It asks to be flushed as it grows, so that a killed program leaves it behind."""

    __slots__ = (
        "bumps", "carried", "cuts", "flush", "flush_at", "full", "graphs", "learning_rates", "losses",
        "mark", "memory", "module_calls", "moments", "norms", "nodes_by_sequence", "outputs_by_sequence", "phase",
        "phases", "returns", "roots", "samples", "seen_backward", "seen_update", "start", "storages", "tensors",
        "versions", "zeroed", "storage_count",
    )  # fmt: skip

    def __init__(self, full: bool, flush: Callable[[Draft], None] = _no_flush) -> None:
        self.mark = StepMark()
        self.start = perf_counter()
        self.flush = flush
        self.flush_at = self.start + FLUSH_SECONDS
        self.full = full
        self.moments: list[RawMoment] = []
        self.tensors: list[RawTensor] = []
        self.graphs: list[RawGraph] = []
        self.returns: list[tuple[int, tuple[int, ...]]] = []
        self.phase: Phase | None = None
        self.phases: list[tuple[Phase, int, float]] = []
        self.samples: list[RawSample] = []
        self.losses: list[tuple[int, list[float]]] = []
        self.learning_rates: dict[tuple[int, int], float] = {}
        self.versions: dict[int, int] = {}
        self.bumps: dict[int, int] = {}
        self.carried: list[tuple[int, StepMark, int]] = []
        self.norms: list[tuple[int, tuple[int, ...], list[list[float]]]] = []
        self.memory: tuple[int, int] | None = None
        self.nodes_by_sequence: dict[int, int] = {}
        self.outputs_by_sequence: dict[int, list[int]] = {}
        self.storages: dict[int, int] = {}
        self.storage_count = 0
        self.cuts: list[int] = []
        self.roots: set[int] = set()
        self.seen_backward = 0
        self.seen_update = 0
        self.zeroed = False
        self.module_calls: dict[int, int] = {}

    def add(
        self,
        kind: str,
        phase: Phase,
        stack: int | None,
        inputs: tuple[int, ...] = (),
        outputs: tuple[int, ...] = (),
        payload: tuple[Any, ...] = (),
    ) -> int:
        """Append a raw moment and return its index."""
        index = len(self.moments)
        self.moments.append((kind, phase, stack, inputs, outputs, payload))
        now = perf_counter()
        if phase is not self.phase:
            self.phase = phase
            self.phases.append((phase, index, now))
        if now >= self.flush_at:
            self.flush(self)
        return index

    def key(self) -> tuple[Any, ...]:
        """What two steps must share to be stored once."""
        return (self.moments, self.tensors, self.graphs, self.returns, self.bumps)


def split(draft: Draft, at: int) -> tuple[Draft, Draft, dict[int, int]]:
    """The moments before `at`, those from it on, and the second part's new tensor numbers by old ones.

    Tensors that the second part took over from the first become carried ones there.
    """
    head, tail = Draft(draft.full), Draft(draft.full, draft.flush)
    head.mark, head.start = draft.mark, draft.start
    for name in ("learning_rates", "versions"):
        getattr(head, name).update(getattr(draft, name))
        getattr(tail, name).update(getattr(draft, name))
    head.moments = draft.moments[:at]
    head.phases = [span for span in draft.phases if span[1] < at]
    first_time = next((time for _, index, time in draft.phases if index >= at), None)
    tail.start = first_time if first_time is not None else perf_counter()
    used = _tensors_of(head.moments)
    count = max(used, default=-1) + 1
    head.tensors = draft.tensors[:count]
    head.returns = [entry for entry in draft.returns if max(entry[1], default=0) < count]
    mapping: dict[int, int] = {}
    head.bumps = _bumps(draft, 0, at)
    tail.bumps = _bumps(draft, at, len(draft.moments))
    for parameter, rise in head.bumps.items():
        tail.versions[parameter] = tail.versions.get(parameter, 0) + rise

    def shift(number: int | None, version: int | None) -> int | None:
        """A version relative to the draft's start, made relative to the tail's."""
        parameter = draft.tensors[number].parameter if number is not None else None
        if version is None or parameter is None:
            return version
        return version - head.bumps.get(parameter, 0)

    def renumber(numbers: tuple[int, ...]) -> tuple[int, ...]:
        for number in numbers:
            if number not in mapping:
                mapping[number] = _take_over(draft, head, tail, number, count, at, mapping)
        return tuple(mapping[number] for number in numbers)

    graph_map: dict[int, int] = {}
    for kind, phase, stack, inputs, outputs, payload in draft.moments[at:]:
        new_inputs, new_outputs = renumber(inputs), renumber(outputs)
        if kind in ("backward", "node"):
            graph = payload[0]
            if graph is not None and graph not in graph_map:
                graph_map[graph] = len(tail.graphs)
                tail.graphs.append(_moved_graph(draft.graphs[graph], at, renumber, shift))
            payload = (graph_map.get(graph), *payload[1:])
        elif kind == "mutation":
            payload = (shift(inputs[0], payload[0]), shift(inputs[0], payload[1]), *payload[2:])
        elif kind == "optimizer":
            pairs = zip(inputs, payload[1])
            payload = (payload[0], tuple((shift(n, before), shift(n, after)) for n, (before, after) in pairs))
        index = len(tail.moments)
        if phase is not tail.phase:
            tail.phase = phase
            tail.phases.append((phase, index, _time_of(draft, at + index)))
        tail.moments.append((kind, phase, stack, new_inputs, new_outputs, payload))
    head.graphs = draft.graphs[: min(graph_map, default=len(draft.graphs))]
    tail.returns = [(stack, renumber(outputs)) for stack, outputs in draft.returns if max(outputs, default=0) >= count]
    tail.nodes_by_sequence = {s: i - at for s, i in draft.nodes_by_sequence.items() if i >= at}
    tail.outputs_by_sequence = {
        s: [mapping[n] for n in numbers if n in mapping] for s, numbers in draft.outputs_by_sequence.items()
    }
    for sample in draft.samples:
        (head if sample[0] < at else tail).samples.append(_moved_sample(sample, at, mapping))
    for name in ("losses", "norms"):
        for entry in getattr(draft, name):
            getattr(head if entry[0] < at else tail, name).append(entry)
    tail.memory = draft.memory
    tail.roots = set(draft.roots)
    tail.cuts = [cut - at for cut in draft.cuts if cut > at]
    tail.seen_backward, tail.seen_update, tail.zeroed = draft.seen_backward, draft.seen_update, draft.zeroed
    tail.storages, tail.storage_count = dict(draft.storages), draft.storage_count
    return head, tail, mapping




def _take_over(draft: Draft, head: Draft, tail: Draft, number: int, count: int, at: int, mapping: dict[int, int]) -> int:
    raw = draft.tensors[number]
    new = len(tail.tensors)
    made_here = raw.made_by is not None and raw.made_by >= at
    if not made_here and raw.parameter is None and number < count:
        tail.carried.append((new, head.mark, number))
        raw = raw._replace(carried=True)
    base = mapping.get(raw.base) if raw.base is not None else None
    tail.tensors.append(
        raw._replace(made_by=raw.made_by - at if made_here and raw.made_by is not None else None, base=base)
    )
    return new


def _moved_graph(graph: RawGraph, at: int, renumber: Any, shift: Any) -> RawGraph:
    nodes = []
    for name, op, leaf, outputs, saved, hooks, carried in graph.nodes:
        here = op is not None and op >= at
        nodes.append(
            (
                name,
                op - at if here else None,
                renumber((leaf,))[0] if leaf is not None else None,
                renumber(outputs),
                tuple((n, renumber((t,))[0] if t is not None else None, shift(t, v), b, s) for n, t, v, b, s in saved),
                hooks,
                carried or (op is not None and not here),
            )
        )
    return graph._replace(nodes=tuple(nodes))


def _moved_sample(sample: RawSample, at: int, mapping: dict[int, int]) -> RawSample:
    moment, subject, of_parameter, what, measured = sample
    if moment < at:
        return sample
    if not of_parameter and what not in ("grad_in", "grad_out"):
        subject = mapping.get(subject, subject)
    return (moment - at, subject, of_parameter, what, measured)


def _bumps(draft: Draft, first: int, end: int) -> dict[int, int]:
    """How far each parameter's version rises in moments `first` to `end`-1."""
    bumps: dict[int, int] = {}
    for kind, _, _, inputs, _, payload in draft.moments[first:end]:
        if kind == "optimizer":
            pairs = payload[1]
        else:
            pairs = (payload[:2],) if kind == "mutation" and None not in payload[:2] else ()
        for tensor, (before, after) in zip(inputs, pairs):
            parameter = draft.tensors[tensor].parameter
            if parameter is not None:
                bumps[parameter] = bumps.get(parameter, 0) + after - before
    return bumps


def _tensors_of(moments: list[RawMoment]) -> set[int]:
    return {number for moment in moments for number in (*moment[3], *moment[4])}


def _time_of(draft: Draft, index: int) -> float:
    time = draft.start
    for _, first, when in draft.phases:
        if first > index:
            break
        time = when
    return time
