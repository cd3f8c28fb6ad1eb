"""Steps that were written: to find the template of one that did the same, and what is compared of one that is matched.

A step that is matched (see `journal.matching`) passes the same stations as the steps of a pattern did; its single ops
are not watched. What its row tells beside numbers that were measured in it is the pattern's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from ...model.records import StepKind
from ..measure.askable import is_plain
from ..measure.tensor_facts import version_of
from .draft import Draft, StepMark, bumps_in
from .entry import Entry
from .raw import Passed, Station
from .timing import Timing

ENOUGH = 3  # steps that did the same, after which the next ones are matched
_ORDINARY = frozenset(
    ["op", "backward", "grad", "zero_grad", "mutation", "optimizer", "mode", "leaf", "scheduler", "scaler", "move"]
)
Span = tuple[int, float]  # a station (-1: the step's start), and which part of the time to the next one has passed


class Pattern:
    """A step that was written, as the draft of one that does the same would have it."""

    __slots__ = (
        "_rising", "after", "bumps", "calls", "carried", "clock", "ends", "factors", "full", "graphs", "kind",
        "lasting", "losses", "marks", "matchable", "moments", "norms", "owners", "parameters", "returns", "scaled",
        "seen", "shifts", "stations", "steady", "template", "tensors", "watch", "written",
    )  # fmt: skip

    def __init__(self, draft: Draft, template: int, kind: StepKind) -> None:
        self.template, self.kind, self.full = template, kind, draft.full
        self.moments, self.tensors, self.graphs = draft.moments, draft.tensors, draft.graphs
        self.returns, self.bumps, self.calls = draft.returns, draft.bumps, draft.calls
        self.parameters = [
            (number, raw.parameter) for number, raw in enumerate(self.tensors) if raw.parameter is not None
        ]
        self.seen, self.stations, self.factors = 0, draft.progress.stations, draft.factors
        self.carried: list[tuple[int, StepMark | None, int]] = []
        self.after: int | None = None  # the template of the step before those that `carried` numbers as of just before
        self.note(draft, None)

    def equals(self, draft: Draft) -> bool:
        """Whether the draft did the same."""
        return (
            self.moments == draft.moments
            and self.tensors == draft.tensors
            and self.graphs == draft.graphs
            and self.returns == draft.returns
            and self.bumps == draft.bumps
            and self.calls == draft.calls
        )

    def note(self, draft: Draft, before: StepMark | None) -> None:
        """The step that has closed last was of this pattern, and the one of the mark `before` came before it."""
        progress = draft.progress
        same = progress.stations == self.stations and draft.factors == self.factors
        self.seen = self.seen + 1 if same else 1
        self.stations, self.watch, self.factors = progress.stations, progress.watch, draft.factors
        self.ends = progress.station_watch or progress.watch  # what tells that a step of it is over
        self.marks, self.clock = draft.timing.marks, _clock(draft)
        self.losses = [index for index, _ in draft.losses]
        self.scaled = [index for index, _ in draft.scaled]
        self.norms = [(index, numbers) for index, numbers, _ in draft.norms]
        # (number here, the step that met it before or None for the one just before, number there)
        after = None if before is None else before.template
        just_before = {  # or in steps that match it
            (number, old) for number, mark, old in self.carried if mark is None and after == self.after
        }
        self.after = after
        self.carried = [
            (number, None if mark is before or (number, old) in just_before else mark, old)
            for number, mark, old in draft.carried
        ]
        met = {entry.number: entry for entry in draft.met if entry.mark is draft.mark}
        self.owners = [(parameter, met[number]) for number, parameter in self.parameters if number in met]
        self.lasting, self.shifts = _lasting(draft)
        self._rising = [(one.entry, one.rise) for one in self.lasting if one.rise]
        self.written = bumps_in(draft, 0, progress.places[0]) if progress.places else {}  # before the first station
        self.matchable = self._may_be_matched()
        # One after the other, they differ in nothing but numbers.
        self.steady = not (self.shifts or self.scaled or any(mark is not None for _, mark, _ in self.carried))

    def _may_be_matched(self) -> bool:
        """Whether a step that passes these stations can be told from one that does not."""
        if self.full or self.seen < ENOUGH or self.watch is None or not self.stations:
            return False
        kinds = [moment.kind for moment in self.moments]
        passed = [station.kind for station in self.stations]
        return (
            _ORDINARY.issuperset(kinds)
            and kinds.count("backward") == passed.count("backward")
            and kinds.count("optimizer") == passed.count("updated")
            and len(self.norms) == passed.count("update")  # else the script updates by hand what it trains
        )

    def carried_after(self, before: StepMark | None) -> Iterator[tuple[int, StepMark, int]]:
        """What a step of it carries that comes after the step of the mark `before`, as far as its numbers are known."""
        lasting = {one.entry.number for one in self.lasting}
        for number, mark, old in self.carried:
            if mark is not None:
                yield number, mark, old
            elif before is not None and before.template == self.after is not None:
                yield number, before, old
            elif before is not None and before.template == self.template and number in lasting:
                yield number, before, number

    def holds(self) -> bool:
        """Whether tensors of earlier steps are as a step of it leaves them that began where the last one ended."""
        try:
            for entry, rise, requires_grad, hooks in self.lasting:
                tensor = entry()
                if tensor is None or entry.version is None:
                    continue
                had = tensor._backward_hooks
                if tensor._version != entry.version + rise or tensor.requires_grad is not requires_grad:
                    return False
                if (len(had) if had else 0) != hooks:
                    return False
        except RuntimeError:
            return False  # one has no version any more
        return True

    def step_is_over(self) -> None:
        """A step of it has ended: how far version counters have got."""
        for entry, rise in self._rising:
            if entry.version is not None:
                entry.version += rise

    def versions_before(self) -> dict[int, int]:
        """The versions of its parameters when a step of it began that has just ended."""
        return {
            parameter: entry.version - self.bumps.get(parameter, 0) - self.written.get(parameter, 0)
            for parameter, entry in self.owners
            if entry.version is not None
        }

    def phase_times(self, start: float, passed: Sequence[float], end: float) -> list[float]:
        """When the phases of a step began that passed the stations at these times.

        Between two stations, where they lay between them in the step that was watched last.
        """
        times = [start, *passed, end]
        return [times[at + 1] + part * (times[at + 2] - times[at + 1]) for at, part in self.clock]


class MatchedStep(NamedTuple):
    """A step of a pattern: what was measured in it. `times`: when it passed its stations."""

    start: float
    end: float
    times: list[float]
    losses: list[tuple[int, list[float]]]
    norms: list[tuple[int, tuple[int, ...], list[list[float]]]]
    distances: list[tuple[int, tuple[int, ...], list[list[float]]]]
    rates: dict[tuple[int, int], float]

    def fill(self, draft: Draft, pattern: Pattern) -> None:
        """Make the draft one of such a step."""
        draft.matched, draft.factors = pattern, pattern.factors
        draft.timing = Timing(self.start)
        draft.timing.end, draft.timing.marks = self.end, pattern.marks
        draft.timing.times = pattern.phase_times(self.start, self.times, self.end)
        draft.losses = [(place, cell) for place, (_, cell) in zip(pattern.losses, self.losses)]
        draft.norms = [(place, numbers, cell) for (place, _), (_, numbers, cell) in zip(pattern.norms, self.norms)]
        draft.distances = self.distances
        draft.learning_rates = self.rates


class Lasting(NamedTuple):
    """A tensor that the step met and that was there before, and will be: what must hold of it when a step has ended."""

    entry: Entry
    rise: int  # of its version, in each step
    requires_grad: bool
    hooks: int


class Shift(NamedTuple):
    """How far the version of a tensor is from the template's, when the counter that it shares was at `since`."""

    number: int
    shift: int
    lasting: Lasting
    since: int

    def now(self) -> tuple[int, int] | None:
        """The same of a step that has just ended; None where the tensor is gone."""
        tensor = self.lasting.entry()
        version = None if tensor is None else version_of(tensor)
        return None if version is None else (self.number, self.shift + version - self.lasting.rise - self.since)


def _lasting(draft: Draft) -> tuple[list[Lasting], list[Shift]]:
    """The tensors that were there before, and those whose versions the counter of one of them shifts."""
    kept: list[Lasting] = []
    counting: dict[int, tuple[Lasting, int]] = {}  # by storage: what counts in it, and where that began
    shifts = dict(draft.shifts)
    for entry in draft.met:
        tensor = entry() if entry.mark is draft.mark else None
        raw = draft.tensors[entry.number] if tensor is not None else None
        if tensor is None or raw is None or raw.version is None or entry.version is None:
            continue
        if raw.parameter is not None:
            since = draft.versions.get(raw.parameter, 0)
        elif raw.carried:
            since = raw.version + shifts.get(entry.number, 0)
        else:
            continue
        plain = is_plain(tensor)
        hooks = len(tensor._backward_hooks or ()) if plain else 0
        one = Lasting(entry, entry.version - since, tensor.requires_grad, hooks)
        if plain:
            kept.append(one)
        counting.setdefault(raw.storage, (one, since))
    shifted = [
        Shift(number, shift, *counting[draft.tensors[number].storage])
        for number, shift in draft.shifts
        if draft.tensors[number].storage in counting
    ]
    return kept, shifted


def _clock(draft: Draft) -> list[Span]:
    """Where the phases of the step began, among its stations."""
    passed, timing = draft.progress.passed_at, draft.timing
    end = max([timing.start, *passed, *timing.times])
    times = [timing.start, *passed, end]
    spans: list[Span] = []
    at = -1
    for when in timing.times:
        while at + 1 < len(passed) and passed[at + 1] <= when:
            at += 1
        begin, until = times[at + 1], times[at + 2] if at + 2 < len(times) else end
        spans.append((at, min(1.0, max(0.0, (when - begin) / (until - begin))) if until > begin else 0.0))
    return spans


class Patterns:
    """The patterns of the last steps, by size. `matching`: steps may be matched, so it is kept what that takes."""

    OF_A_SIZE = 4
    SIZES = 64

    def __init__(self, *, matching: bool = True) -> None:
        self._matching = matching
        self._by_size: dict[tuple[int, int], list[Pattern]] = {}
        self.before: StepMark | None = None  # the mark of the step that closed last

    def find(self, draft: Draft) -> Pattern | None:
        """The pattern that the finished draft is of; None where it is new."""
        recent = self._by_size.get(_size(draft), [])
        for position in range(len(recent) - 1, -1, -1):
            pattern = recent[position]
            if pattern.equals(draft):
                if position != len(recent) - 1:
                    recent.append(recent.pop(position))
                if self._matching and draft.with_graph:
                    pattern.note(draft, self.before)
                return pattern
        return None

    def add(self, draft: Draft, template: int, kind: StepKind) -> Pattern:
        """Remember a draft that is stored as a template of its own."""
        pattern = Pattern(draft, template, kind)
        recent = self._by_size.setdefault(_size(draft), [])
        recent.append(pattern)
        del recent[: -self.OF_A_SIZE]
        if len(self._by_size) > self.SIZES:
            del self._by_size[next(iter(self._by_size))]
        return pattern

    def closed(self, mark: StepMark) -> None:
        """A step has closed."""
        self.before = mark

    def to_match(self) -> Iterator[Pattern]:
        """Those whose steps can be matched."""
        return (pattern for recent in self._by_size.values() for pattern in recent if pattern.matchable)

    def beginning(self, passed: Sequence[Passed], last: Pattern | None) -> Pattern | None:
        """The pattern to match that begins with these stations: the `last` one if it does."""
        for pattern in chain(() if last is None else (last,), self.to_match()):
            if pattern.stations[: len(passed)] == passed:
                return pattern
        return None

    def began(self, draft: Draft, first: Callable[[Station], bool]) -> bool:
        """Whether a step that is watched up to its `first` station began like one that can be matched."""
        return any(
            first(pattern.stations[0]) and pattern.moments[: draft.length] == draft.moments
            for pattern in self.to_match()
        )


def _size(draft: Draft) -> tuple[int, int]:
    return (len(draft.moments), len(draft.tensors))
