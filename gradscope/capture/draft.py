"""The step in progress, in the cheap form that capture appends to.

A raw moment is `(kind, phase, stack, inputs, outputs, payload)` where inputs and outputs are tuples of
step-local tensor numbers and everything is hashable: two steps did the same exactly when their
moments, tensors, graphs and returns are equal. `assemble` turns novelty into records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ..model.records import Kept, Phase

if TYPE_CHECKING:
    from .replay import Cue

FLUSH_SECONDS = 0.3
RawMoment = tuple[str, Phase, "int | None", tuple[int, ...], tuple[int, ...], tuple[Any, ...]]


# (moment, subject, of a parameter, what, `stats.Reading`)
RawSample = tuple[int, int, bool, str, Any]


class Facts(NamedTuple):
    """What a tensor says of itself."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    layout: str
    requires_grad: bool
    is_leaf: bool
    grad_fn: str | None
    retains_grad: bool
    is_inference: bool
    nbytes: int
    is_view: bool


MADE_BEFORE = -1  # a position: the tensor's stack is where it was made, in an earlier step, not where it is used


class RawTensor(NamedTuple):
    """A tensor when the step met it; `made_by` to `direct` are what its name is made from."""

    facts: Facts
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
    gradient_of: int | None = None


# (module, call, stack, training, first moment, position of the call that made it): as `records.ModuleCall`
RawCall = tuple[int, int, "int | None", bool, int, "int | None"]


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
        "alive",
        "bumps",
        "calls",
        "carried",
        "carriers",
        "cues",
        "cuts",
        "end",
        "flush",
        "flush_at",
        "full",
        "graphs",
        "kept",
        "learning_rates",
        "losses",
        "mark",
        "memory",
        "met",
        "module_calls",
        "moments",
        "nodes_by_sequence",
        "norms",
        "outputs_by_sequence",
        "phase",
        "phases",
        "returns",
        "roots",
        "samples",
        "seen_backward",
        "seen_update",
        "sharing",
        "start",
        "storage_count",
        "storages",
        "tensors",
        "versions",
        "zeroed",
    )  # fmt: skip

    def __init__(self, full: bool, flush: Callable[[Draft], None] = _no_flush) -> None:
        self.mark = StepMark()
        self.start = perf_counter()
        self.end: float | None = None  # set where the rest was split off
        self.flush = flush
        self.flush_at = self.start + FLUSH_SECONDS
        self.full = full
        self.cues: Mapping[int, Cue] = {}  # by moment: what this step is expected to do
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
        # Those whose making was noted when their step closed: (number, the table's entry, step, number there).
        self.carriers: list[tuple[int, Any, StepMark, int]] = []
        self.norms: list[tuple[int, tuple[int, ...], list[list[float]]]] = []
        self.memory: tuple[int, int] | None = None
        self.nodes_by_sequence: dict[int, int] = {}
        self.outputs_by_sequence: dict[int, list[int]] = {}
        self.met: list[Any] = []  # the table's entries of its tensors
        self.storages: dict[int, int] = {}
        self.sharing: dict[int, list[Any]] = {}  # storage -> the table's entries of the tensors that share it
        self.storage_count = 0
        self.cuts: list[int] = []
        self.roots: set[int] = set()
        self.seen_backward = 0
        self.seen_update = 0
        self.zeroed = False
        self.module_calls: dict[int, int] = {}
        self.calls: list[RawCall] = []
        self.kept: tuple[Kept, ...] = ()
        self.alive: tuple[int, int] | None = None

    def carry(self, number: int, entry: Any, mark: StepMark) -> None:
        """A tensor of the step `mark`, number `entry.number` there, is met in this step as `number`."""
        self.carried.append((number, mark, entry.number))
        if entry.made_at >= 0:
            self.carriers.append((number, entry, mark, entry.number))

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
        return self.take((kind, phase, stack, inputs, outputs, payload), phase)

    def take(self, moment: RawMoment, phase: Phase) -> int:
        """Append a raw moment of this phase, which an earlier step may have, too, and return its index."""
        index = len(self.moments)
        self.moments.append(moment)
        now = perf_counter()
        if phase is not self.phase:
            self.phase = phase
            self.phases.append((phase, index, now))
        if now >= self.flush_at:
            self.flush(self)
        return index

    def begins(self, phase: Phase) -> None:
        """From now on it is `phase`, whatever moment comes next."""
        if phase is not self.phase:
            self.phase = phase
            self.phases.append((phase, len(self.moments), perf_counter()))


def split(draft: Draft, at: int) -> tuple[Draft, Draft, dict[int, int]]:
    """The moments before `at`, those from it on, and the second part's new tensor numbers by old ones.

    Tensors that the second part took over from the first become carried ones there.
    """
    return _Split(draft, at).parts()


class _Split:
    """A draft being cut in two."""

    def __init__(self, draft: Draft, at: int) -> None:
        self.draft, self.at = draft, at
        self.head, self.tail = Draft(draft.full), Draft(draft.full, draft.flush)
        used = [number for moment in draft.moments[:at] for number in (*moment[3], *moment[4])]
        self.count = max(used, default=-1) + 1  # tensors are numbered as they are met
        self.numbers: dict[int, int] = {}
        self.graphs: dict[int, int] = {}
        self.called: dict[int, int] = {}  # module -> how often the first part calls it
        for call in draft.calls:
            if call[4] < at:
                self.called[call[0]] = call[1] + 1
        self.current = self._at_the_cut()

    def _at_the_cut(self) -> dict[int, RawTensor]:
        """What the first part changed of the tensors it met: leaf status and versions."""
        found: dict[int, RawTensor] = {}
        for kind, _, _, inputs, _, payload in self.draft.moments[: self.at]:
            if kind == "leaf":
                raw = found.get(inputs[0], self.draft.tensors[inputs[0]])
                names = ("requires_grad", "is_leaf", "grad_fn", "retains_grad")
                facts = raw.facts._replace(**dict(zip(names, payload[1:5])))
                found[inputs[0]] = raw._replace(facts=facts)
            elif kind == "mutation" and payload[1] is not None:
                raw = found.get(inputs[0], self.draft.tensors[inputs[0]])
                if raw.parameter is None:
                    found[inputs[0]] = raw._replace(version=payload[1])
        return found

    def parts(self) -> tuple[Draft, Draft, dict[int, int]]:
        draft, head, tail, at = self.draft, self.head, self.tail, self.at
        head.mark, head.start = draft.mark, draft.start
        self._share_time()
        head.learning_rates, tail.learning_rates = dict(draft.learning_rates), dict(draft.learning_rates)
        head.bumps, tail.bumps = _bumps(draft, 0, at), _bumps(draft, at, len(draft.moments))
        head.versions, tail.versions = dict(draft.versions), dict(draft.versions)
        for parameter, rise in head.bumps.items():
            tail.versions[parameter] = tail.versions.get(parameter, 0) + rise
        head.moments = draft.moments[:at]
        head.tensors = draft.tensors[: self.count]
        tail.moments += [self._moved(moment) for moment in draft.moments[at:]]
        head.graphs = draft.graphs[: min(self.graphs, default=len(draft.graphs))]
        head.carried = [entry for entry in draft.carried if entry[0] < self.count]
        later = [entry for entry in draft.carried if entry[0] >= self.count and entry[0] in self.numbers]
        tail.carried += [(self.numbers[number], mark, made_as) for number, mark, made_as in later]
        self._share_out()
        return head, tail, self.numbers

    def _share_out(self) -> None:
        """What is kept beside the moments, to the part it belongs to."""
        draft, head, tail, at = self.draft, self.head, self.tail, self.at
        for stack, outputs in draft.returns:
            if max(outputs, default=0) < self.count:
                head.returns.append((stack, outputs))
            else:
                tail.returns.append((stack, self._renumbered(outputs)))
        for name in ("losses", "norms"):
            for entry in getattr(draft, name):
                getattr(head if entry[0] < at else tail, name).append(entry)
        for sample in draft.samples:
            (head if sample[0] < at else tail).samples.append(self._moved_sample(sample))
        known = {sample[1]: sample for sample in head.samples if sample[3] == "value" and not sample[2]}
        written = self._last_writes()
        for number, (moment, subject, _, what, reading) in known.items():
            if number in self.numbers and written.get(draft.tensors[number].storage, -1) <= moment:
                tail.samples.append((-1, self.numbers[subject], False, what, reading))  # still the same
        tail.nodes_by_sequence = {s: index - at for s, index in draft.nodes_by_sequence.items() if index >= at}
        tail.outputs_by_sequence = {
            s: [self.numbers[n] for n in numbers if n in self.numbers]
            for s, numbers in draft.outputs_by_sequence.items()
        }
        self._share_out_calls()
        tail.roots, tail.memory, tail.zeroed = set(draft.roots), draft.memory, draft.zeroed
        tail.cuts = [cut - at for cut in draft.cuts if cut > at]
        tail.seen_backward, tail.seen_update = draft.seen_backward, draft.seen_update
        tail.storages, tail.storage_count = dict(draft.storages), draft.storage_count
        tail.sharing = dict(draft.sharing)

    def _share_out_calls(self) -> None:
        draft, head, tail, at = self.draft, self.head, self.tail, self.at
        positions: dict[int | None, int] = {}
        for position, (module, call, stack, training, moment, parent) in enumerate(draft.calls):
            if moment < at:
                head.calls.append(draft.calls[position])
            else:
                positions[position] = len(tail.calls)
                number = call - self.called.get(module, 0)
                tail.calls.append((module, number, stack, training, moment - at, positions.get(parent)))
        tail.module_calls = {module: count - self.called.get(module, 0) for module, count in draft.module_calls.items()}

    def _last_writes(self) -> dict[int, int]:
        """The last moment of the first part that wrote to each storage: the op, where a mutation is told after it."""
        written: dict[int, int] = {}
        op = -1
        for index, (kind, _, _, inputs, _, _) in enumerate(self.draft.moments[: self.at]):
            if kind == "op":
                op = index
            elif kind in ("mutation", "optimizer"):
                for number in inputs:
                    written[self.draft.tensors[number].storage] = op if kind == "mutation" else index
        return written

    def _moved(self, moment: RawMoment) -> RawMoment:
        kind, phase, stack, inputs, outputs, payload = moment
        moved = (self._renumbered(inputs), self._renumbered(outputs))
        if kind == "op" and payload[2] in self.called and payload[3] is not None:
            call = max(payload[3] - self.called[payload[2]], 0)
            payload = (*payload[:3], call, *payload[4:])
        if kind in ("backward", "node"):
            payload = (self._moved_graph(payload[0]), *payload[1:])
        elif kind == "mutation":
            before, after = (self._shifted(inputs[0], version) for version in payload[:2])
            payload = (before, after, *payload[2:])
        elif kind == "optimizer":
            pairs = zip(inputs, payload[1])
            payload = (payload[0], tuple((self._shifted(n, old), self._shifted(n, new)) for n, (old, new) in pairs))
        return (kind, phase, stack, *moved, payload)

    def _renumbered(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        for number in numbers:
            if number not in self.numbers:
                self.numbers[number] = self._taken_over(number)
        return tuple(self.numbers[number] for number in numbers)

    def _taken_over(self, number: int) -> int:
        raw = self.current.get(number, self.draft.tensors[number])
        new = len(self.tail.tensors)
        made_by = raw.made_by - self.at if raw.made_by is not None and raw.made_by >= self.at else None
        if made_by is None and raw.parameter is None and number < self.count:
            self.tail.carried.append((new, self.head.mark, number))
            raw = raw._replace(carried=True, position=MADE_BEFORE if raw.made_by is not None else raw.position)
        base = self.numbers.get(raw.base) if raw.base is not None else None
        owner = self.numbers.get(raw.gradient_of) if raw.gradient_of is not None else None
        self.tail.tensors.append(raw._replace(made_by=made_by, base=base, gradient_of=owner))
        return new

    def _shifted(self, number: int | None, version: int | None) -> int | None:
        """A version relative to the draft's start, made relative to the tail's."""
        parameter = self.draft.tensors[number].parameter if number is not None else None
        if version is None or parameter is None:
            return version
        return version - self.head.bumps.get(parameter, 0)

    def _moved_graph(self, graph: int | None) -> int | None:
        if graph is not None and graph not in self.graphs:
            raw = self.draft.graphs[graph]
            nodes = tuple(self._moved_node(node) for node in raw.nodes)
            self.graphs[graph] = len(self.tail.graphs)
            self.tail.graphs.append(raw._replace(nodes=nodes))
        return None if graph is None else self.graphs[graph]

    def _moved_node(self, node: tuple[Any, ...]) -> tuple[Any, ...]:
        name, op, leaf, outputs, saved, hooks, carried = node
        here = op is not None and op >= self.at
        moved = tuple(
            (what, None if number is None else self._renumbered((number,))[0], self._shifted(number, version), *rest)
            for what, number, version, *rest in saved
        )
        filled = None if leaf is None else self._renumbered((leaf,))[0]
        left_behind = carried or (op is not None and not here)
        return (name, op - self.at if here else None, filled, self._renumbered(outputs), moved, hooks, left_behind)

    def _moved_sample(self, sample: RawSample) -> RawSample:
        moment, subject, of_parameter, what, reading = sample
        if moment < self.at:
            return sample
        if not of_parameter and what not in ("grad_in", "grad_out"):
            subject = self.numbers.get(subject, subject)
        return (moment - self.at, subject, of_parameter, what, reading)

    def _share_time(self) -> None:
        """The tail begins with its first phase, or with the next one's where that phase began in the head."""
        spans, at, tail = self.draft.phases, self.at, self.tail
        first = max((place for place, span in enumerate(spans) if span[1] <= at), default=0)
        phase, index, time = spans[first]
        if index < at:
            time = spans[first + 1][2] if first + 1 < len(spans) else perf_counter()
        self.head.phases = spans[:first] if index == at else spans[: first + 1]
        self.head.end = tail.start = time
        tail.phases = [(phase, 0, time), *((phase, index - at, time) for phase, index, time in spans[first + 1 :])]
        tail.phase = self.draft.phase


def _bumps(draft: Draft, first: int, end: int) -> dict[int, int]:
    """How far each parameter's version rises in moments `first` to `end`-1."""
    bumps: dict[int, int] = {}
    for kind, _, _, inputs, aliases, payload in draft.moments[first:end]:
        if kind == "optimizer":
            pairs = payload[1]
        else:
            known = kind == "mutation" and None not in payload[:2]
            pairs = (payload[:2],) * (1 + len(aliases)) if known else ()
        for tensor, (before, after) in zip((*inputs, *aliases), pairs):
            parameter = draft.tensors[tensor].parameter
            if parameter is not None:
                bumps[parameter] = bumps.get(parameter, 0) + after - before
    return bumps
