"""The step in progress, in the cheap form that capture appends to.

A raw moment is `(kind, phase, stack, inputs, outputs, payload)` where inputs and outputs are tuples of
step-local tensor numbers and everything is hashable: two steps did the same exactly when their
moments, tensors, graphs and returns are equal. `to_records` turns novelty into records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sized
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ...model.records import Kept, Phase
from ..measure.tensor_facts import Facts

if TYPE_CHECKING:
    from ..journal.replay import Cue, Pattern

FLUSH_SECONDS = 0.2
# Phases that no call's return ends: they end with the last that was told of them, unless one of these comes next.
_GO_ON_AS = {
    Phase.FORWARD: (Phase.LOSS, Phase.BACKWARD),
    Phase.LOSS: (Phase.BACKWARD,),
    Phase.EVAL: (),
}
RawMoment = tuple[str, Phase, "int | None", tuple[int, ...], tuple[int, ...], tuple[Any, ...]]


# (moment, subject, of a parameter, what, `stats.Reading`)
RawSample = tuple[int, int, bool, str, Any]


TENSOR, MOMENT, GRAPH = range(3)  # what `Draft.changed` speaks of
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


def tensors_in_graph(graph: RawGraph) -> list[int]:
    """The tensors that a graph names."""
    found = [number for node in graph.nodes for number in (node[2], *node[3], *(saved[1] for saved in node[4]))]
    return [number for number in found if number is not None]


def _no_flush(draft: Draft) -> None:
    """For drafts that are only made to be closed."""
    draft.flush_at = math.inf


@lru_cache(maxsize=256)
def with_gradients(parameters: tuple[int, ...]) -> tuple[int, ...]:
    """How `Draft.norms` numbers parameters and then their gradients: a gradient is -1 - its parameter."""
    return (*parameters, *[-1 - number for number in parameters])


class StepMark:
    """Where a closed step ended up; live tensors point here to say in which step they were made."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: int | None = None


class Draft:
    """One step in progress. It asks to be flushed as it grows, so that a killed program leaves it behind."""

    __slots__ = (
        "alive",
        "at",
        "before",
        "behind",
        "bumps",
        "called",
        "calling",
        "calls",
        "carried",
        "carriers",
        "changed",
        "checked",
        "count",
        "cues",
        "cuts",
        "end",
        "expected",
        "expected_count",
        "factors",
        "flush",
        "flush_at",
        "followed",
        "full",
        "graphs",
        "grown",
        "hooked",
        "judged",
        "kept",
        "learning_rates",
        "losses",
        "made",
        "mark",
        "marks",
        "memory",
        "met",
        "module_calls",
        "moments",
        "nodes_by_sequence",
        "norms",
        "outputs_by_sequence",
        "phase",
        "repeats",
        "returned",
        "returns",
        "roots",
        "samples",
        "scaled",
        "seen_backward",
        "seen_update",
        "sharing",
        "shifts",
        "start",
        "storage_count",
        "storages",
        "sure",
        "tensors",
        "times",
        "until",
        "versions",
        "walked",
        "zeroed",
    )  # fmt: skip

    def __init__(self, full: bool, flush: Callable[[Draft], None] = _no_flush) -> None:
        self.mark = StepMark()
        self.before = 0  # how many moments the steps before it have
        self.start = perf_counter()
        self.end: float | None = None  # set where the rest was split off
        self.flush = flush
        self.flush_at = self.start + FLUSH_SECONDS
        self.full = full
        self.expected: Any = None  # the Pattern of what it will probably do
        self.expected_count = 0
        self.repeats: Any = None  # the Pattern that the closed step was, all of it and nothing else
        self.behind = False  # its lists lack what was taken over; what follows holds only then
        self.at = self.count = self.called = self.returned = self.walked = 0
        self.followed = False  # the last moment that was told was the expected one
        self.sure = True  # every op taken over had the settings that the pattern's had
        self.hooked = False  # hooks on saved tensors were at work
        self.judged: list[tuple[Cue, list[Any]]] = []  # ops of one module's call each, with the module's settings
        self.checked = 0  # calls that are known to be the pattern's
        self.grown = 0  # grad nodes that the ops taken over made
        self.cues: Mapping[int, Cue] = {}
        # What the ops taken over made: (op, number of the tensor, first of the op's grad nodes, the tensor's node).
        self.made: list[tuple[Cue, int, int, int | None]] = []
        self.moments: list[RawMoment] = []
        self.tensors: list[RawTensor] = []
        self.graphs: list[RawGraph] = []
        self.changed: list[tuple[int, int]] = []  # (TENSOR, MOMENT or GRAPH, place): became another after it was listed
        self.returns: list[tuple[int, tuple[int, ...]]] = []
        self.phase: Phase | None = None
        self.marks: list[tuple[Phase, int]] = []  # where phases begin
        self.times: list[float] = []  # and when
        self.until = self.start  # when the last op was told, or the last root's call returned
        self.samples: list[RawSample] = []
        self.losses: list[tuple[int, list[float]]] = []  # (backward's moment, what it began at)
        self.factors: list[tuple[int, float]] = []  # (moment of an op, the number that it multiplied a number by)
        self.scaled: list[tuple[int, list[float]]] = []  # (moment of a GradScaler's scale, the loss that it was given)
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
        self.roots: dict[int, int] = {}  # the root modules that ran, and the moment before which each did last
        self.seen_backward = 0
        self.seen_update = 0
        self.zeroed = False
        self.module_calls: dict[int, int] = {}
        self.calls: list[RawCall] = []
        self.calling: int | None = None  # the place among them of the one that runs
        self.kept: tuple[Kept, ...] = ()
        self.alive: tuple[int, int] | None = None
        self.shifts: tuple[tuple[int, int], ...] = ()  # as `StepRow` has it, once the step has closed

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
        """A raw moment happened: list it, or take it over where it is the expected one. Returns its index."""
        return self.happens((kind, phase, stack, inputs, outputs, payload), phase)

    def happens(self, moment: RawMoment, phase: Phase) -> int:
        """The same, of a moment that is made already."""
        self.followed = False
        if self.behind:
            at, moments = self.at, self.expected.moments
            if at < len(moments) and moments[at] == moment:
                self.followed = True
                self.took(phase)
                return at
            self.catch_up()
        return self.take(moment, phase)

    def take(self, moment: RawMoment, phase: Phase) -> int:
        """Append a raw moment of this phase, which an earlier step may have, too, and return its index."""
        index = len(self.moments)
        self.moments.append(moment)
        now = perf_counter()
        if phase is not self.phase:
            self._enters(phase, index, now)
        if moment[0] == "op":
            self.until = now
        if now >= self.flush_at:
            self.flush(self)
        return index

    def _enters(self, phase: Phase, index: int, now: float) -> None:
        """With the moment `index`, at the time `now`, it is `phase`."""
        after = _GO_ON_AS.get(self.phase) if self.phase is not None else None
        self.phase = phase
        if after is not None and phase not in after:
            self.marks.append((Phase.OTHER, index))
            self.times.append(self.until)
            if phase is Phase.OTHER:
                return
        self.marks.append((phase, index))
        self.times.append(now)

    def tensor(self, number: int) -> RawTensor:
        """The tensor of that number."""
        raw: RawTensor = self.expected.tensors[number] if self.behind else self.tensors[number]
        return raw

    @property
    def length(self) -> int:
        """How many moments there were."""
        return self.at if self.behind else len(self.moments)

    def size(self) -> tuple[int, int, int]:
        """How many tensors, moments and graphs it has."""
        if self.behind:
            return self.count, self.at, self.walked
        return len(self.tensors), len(self.moments), len(self.graphs)

    def change(self, kind: int, place: int, raw: Any) -> None:
        """A tensor, moment or graph that is listed becomes another."""
        (self.tensors, self.moments, self.graphs)[kind][place] = raw
        self.changed.append((kind, place))

    def first(self) -> RawMoment:
        """The first moment, of a step that has one."""
        moment: RawMoment = self.moments[0] if self.moments or not self.behind else self.expected.moments[0]
        return moment

    def last(self) -> RawMoment | None:
        """The last moment; None where nothing happened yet."""
        if self.behind:
            return self.expected.moments[self.at - 1] if self.at else None
        return self.moments[-1] if self.moments else None

    def progress(self) -> tuple[Any, ...]:
        """What changes with all that happens in the step."""
        listed: tuple[Sized, ...] = (
            self.moments,
            self.tensors,
            self.calls,
            self.returns,
            self.graphs,
            self.samples,
            self.times,
        )
        return (self.mark, self.at, self.count, self.called, self.returned, self.walked, *map(len, listed))

    # -- ahead of its lists ----------------------------------------------------------------------

    def expect(self, pattern: Pattern) -> None:
        """The step will probably do what the pattern has; so far nothing happened."""
        self.expected, self.cues = pattern, pattern.cues
        self.expected_count = len(pattern.tensors)
        self.behind = True

    def cue(self) -> Cue | None:
        """The op that is expected next."""
        if not self.behind:
            if self.expected is None:
                return None
            self._join()
        return self.cues.get(self.at)

    def _join(self) -> None:
        """Compare with the pattern again. The module calls must have been its: their numbers are taken from it."""
        checked, self.called = self.checked, len(self.calls)
        if self.calls[checked:] != self.expected.calls[checked : self.called]:
            self.expected, self.cues = None, {}
        self.checked = self.called
        self.at, self.count = len(self.moments), len(self.tensors)
        self.returned, self.walked = len(self.returns), len(self.graphs)

    def took(self, phase: Phase) -> None:
        """The expected moment, which is of this phase, happened."""
        now, at = perf_counter(), self.at
        self.at = at + 1
        if phase is not self.phase:
            self._enters(phase, at, now)
        if self.expected.moments[at][0] == "op":
            self.until = now
        if now >= self.flush_at:
            self.flush(self)

    def called_again(self, module: int, stack: int, training: bool) -> int | None:
        """How often the module was called before, if this call is the expected one; then it is taken over."""
        place = self.called
        if not self.behind or place >= len(self.expected.calls):
            return None
        number, call, expected_stack, expected_training, moment, parent = self.expected.calls[place]
        if (
            number != module
            or expected_stack != stack
            or expected_training is not training
            or moment != self.at
            or parent != self.calling
        ):
            return None
        self.calling, self.called = place, place + 1
        times: int = call
        return times

    def call_left(self, begun: Draft, outer: int | None) -> None:
        """A module call is over that began in `begun`, where `outer` was the call around it."""
        if self is begun:
            self.calling = outer
        elif self.calling is not None:  # a step was cut while it ran
            self.calling = self.calls[self.calling][5]

    def returns_on(self, returned: tuple[int, tuple[int, ...]]) -> bool:
        """Whether this is what the expected module call returns; then it is taken over."""
        if not self.behind or self.expected.returns[self.returned : self.returned + 1] != [returned]:
            return False
        self.returned += 1
        return True

    def faithful(self) -> bool:
        """Whether the step has done nothing but what its pattern has, up to now."""
        return self.behind and not (self.moments or self.tensors or self.calls or self.returns or self.graphs)

    def complete(self) -> bool:
        """Whether the step has done what its pattern has, all of it and nothing else."""
        expected = self.expected
        return (
            self.faithful()
            and self.at == len(expected.moments)
            and self.count == len(expected.tensors)
            and self.called == len(expected.calls)
            and self.returned == len(expected.returns)
            and self.walked == len(expected.graphs)
        )

    def catch_up(self) -> None:
        """List what was taken over from the pattern."""
        expected = self.expected
        self.behind = False
        first, listed = len(self.moments), len(self.tensors)
        self.moments += expected.moments[first : self.at]
        self.tensors += expected.tensors[listed : self.count]
        for call in expected.calls[len(self.calls) : self.called]:
            self.calls.append(call)
            self.module_calls[call[0]] = call[1]
        self.returns += expected.returns[len(self.returns) : self.returned]
        self.graphs += expected.graphs[len(self.graphs) : self.walked]
        for entry in self.met[listed:]:
            if entry.parameter is not None:
                self.versions[entry.parameter] = entry.base_version
            tensor = entry() if entry.key is not None else None
            if tensor is not None:
                self.storages[entry.key] = id(tensor)
        for parameter, rise in bumps_in(self, first, self.at).items():
            self.bumps[parameter] = self.bumps.get(parameter, 0) + rise
        for cue, number, made_from, node in self.made:
            for sequence in range(made_from, made_from + cue.nodes):
                self.nodes_by_sequence[sequence] = cue.index
            if node is not None:
                self.outputs_by_sequence.setdefault(node, []).append(number)
        self.made.clear()

    def begins(self, phase: Phase) -> None:
        """From now on it is `phase`, whatever moment comes next."""
        if phase is not self.phase:
            self._enters(phase, self.length, perf_counter())

    def returned_to_script(self) -> None:
        """A root's call returned: the phase lasts at least until now."""
        self.until = perf_counter()


def bumps_in(draft: Draft, first: int, end: int) -> dict[int, int]:
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
