"""The step in progress, which capture appends to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from functools import lru_cache
from time import perf_counter
from typing import Any

from ...model.records import Kept, Phase
from .raw import Payload, RawCall, RawGraph, RawMoment, RawSample, RawTensor, Updated, Written
from .step_progress import StepProgress
from .timing import Timing

FLUSH_SECONDS = 0.2
TENSOR, MOMENT, GRAPH = range(3)  # what `Draft.changed` speaks of
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call


def _no_flush(draft: Draft) -> None:
    """For drafts that are only made to be closed."""
    draft.flush_at = math.inf


@lru_cache(maxsize=256)
def with_gradients(parameters: tuple[int, ...]) -> tuple[int, ...]:
    """How `Draft.norms` numbers parameters and then their gradients: a gradient is -1 - its parameter."""
    return (*parameters, *[-1 - number for number in parameters])


class StepMark:
    """Where a closed step ended up; live tensors point here to say in which step they were made."""

    __slots__ = ("number", "template")

    def __init__(self, number: int | None = None, template: int | None = None) -> None:
        self.number = number
        self.template = template  # None: it names no tensors by numbers that a later step could count on


class Draft:
    """One step in progress: what it did. `progress` is how far it has come, `timing` when.

    It asks to be flushed as it grows, so that a killed program leaves it behind.
    """

    __slots__ = (
        "alive",
        "before",
        "bumps",
        "calling",
        "calls",
        "carried",
        "carriers",
        "changed",
        "distances",
        "factors",
        "flush",
        "flush_at",
        "full",
        "graphs",
        "hooked",
        "kept",
        "learning_rates",
        "losses",
        "mark",
        "matched",
        "memory",
        "met",
        "module_calls",
        "moments",
        "nodes_by_sequence",
        "norms",
        "outputs_by_sequence",
        "progress",
        "returns",
        "samples",
        "scaled",
        "sharing",
        "shifts",
        "storage_count",
        "storages",
        "tensors",
        "timing",
        "versions",
        "with_graph",
    )  # fmt: skip

    def __init__(self, full: bool, flush: Callable[[Draft], None] = _no_flush, *, with_graph: bool = True) -> None:
        self.mark = StepMark()
        self.before = 0  # how many moments the steps before it have
        self.timing = Timing(perf_counter())
        self.progress = StepProgress()
        self.flush = flush
        self.flush_at = self.timing.start + FLUSH_SECONDS
        self.full = full
        self.with_graph = with_graph
        self.matched: Any = None  # the Pattern of the step that this one passed the same stations as
        self.hooked = False  # hooks on saved tensors were at work
        self.moments: list[RawMoment] = []
        self.tensors: list[RawTensor] = []
        self.graphs: list[RawGraph] = []
        self.changed: list[tuple[int, int]] = []  # (TENSOR, MOMENT or GRAPH, place): became another after it was listed
        self.returns: list[tuple[int, tuple[int, ...]]] = []
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
        self.distances: list[tuple[int, tuple[int, ...], list[list[float]]]] = []  # that updates moved parameters
        self.memory: tuple[int, int] | None = None
        self.nodes_by_sequence: dict[int, int] = {}
        self.outputs_by_sequence: dict[int, tuple[int, ...]] = {}
        self.met: list[Any] = []  # the table's entries of its tensors
        self.storages: dict[int, int] = {}
        self.sharing: dict[int, list[Any]] = {}  # storage -> the table's entries of the tensors that share it
        self.storage_count = 0
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
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        payload: Payload,
    ) -> int:
        """A raw moment happened. Returns its index."""
        return self.append(_new_tuple(RawMoment, (kind, phase, stack, inputs, outputs, payload)), phase)

    def append(self, moment: RawMoment, phase: Phase, now: float | None = None) -> int:
        """The same, of a moment that is made already, and that happened `now`."""
        index = len(self.moments)
        self.moments.append(moment)
        now = perf_counter() if now is None else now
        timing = self.timing
        if phase is not timing.phase:
            timing.enters(phase, index, now)
        if moment.kind == "op":
            timing.until = now
        if now >= self.flush_at:
            self.flush(self)
        return index

    def tensor(self, number: int) -> RawTensor:
        """The tensor of that number."""
        return self.tensors[number]

    @property
    def length(self) -> int:
        """How many moments there were."""
        return len(self.moments)

    def size(self) -> tuple[int, int, int]:
        """How many tensors, moments and graphs it has."""
        return len(self.tensors), len(self.moments), len(self.graphs)

    def change(self, kind: int, place: int, raw: Any) -> None:
        """A tensor, moment or graph that is listed becomes another."""
        (self.tensors, self.moments, self.graphs)[kind][place] = raw
        self.changed.append((kind, place))

    def first(self) -> RawMoment:
        """The first moment, of a step that has one."""
        return self.moments[0]

    def last(self) -> RawMoment | None:
        """The last moment; None where nothing happened yet."""
        return self.moments[-1] if self.moments else None

    def extent(self) -> tuple[Any, ...]:
        """What changes with all that happens in the step."""
        listed: tuple[Sized, ...] = (
            self.moments,
            self.tensors,
            self.calls,
            self.returns,
            self.graphs,
            self.samples,
            self.timing.times,
        )
        return (self.mark, *map(len, listed))

    def call_left(self, begun: Draft, outer: int | None) -> None:
        """A module call is over that began in `begun`, where `outer` was the call around it."""
        if self is begun:
            self.calling = outer
        elif self.calling is not None:  # a step was cut while it ran
            self.calling = self.calls[self.calling].parent

    def gave(self, sequence: int, numbers: tuple[int, ...]) -> None:
        """These tensors are results of the grad node of that sequence number."""
        given = self.outputs_by_sequence
        given[sequence] = (*given[sequence], *numbers) if sequence in given else numbers

    def begins(self, phase: Phase, now: float | None = None) -> None:
        """From now on it is `phase`, whatever moment comes next."""
        if phase is not self.timing.phase:
            self.timing.enters(phase, len(self.moments), perf_counter() if now is None else now)

    def returned_to_script(self) -> None:
        """A root's call returned: the phase lasts at least until now."""
        self.timing.until = perf_counter()


def bumps_in(draft: Draft, first: int, end: int) -> dict[int, int]:
    """How far each parameter's version rises in moments `first` to `end`-1."""
    bumps: dict[int, int] = {}
    for moment in draft.moments[first:end]:
        done = moment.payload
        pairs: tuple[tuple[int, int], ...] = ()
        if isinstance(done, Updated):
            pairs = done.versions
        elif isinstance(done, Written) and done.known is not None:
            pairs = (done.known,) * (1 + len(moment.outputs))
        for tensor, (before, after) in zip((*moment.inputs, *moment.outputs), pairs):
            parameter = draft.tensors[tensor].parameter
            if parameter is not None:
                bumps[parameter] = bumps.get(parameter, 0) + after - before
    return bumps
