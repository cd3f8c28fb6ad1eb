"""Steps on their way to the sink: closed ones, the numbers that a device still owes them, and the one in progress."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.growth import Growth
from ...model.packed_samples import Entries
from ...model.records import StepKind, StepRow
from ...model.source import TraceSink
from ..measure.stats import Statistics
from ..step.draft import Draft
from ..step.passes import kind_so_far
from ..step.patterns import Pattern, Patterns
from ..step.raw import RawSample
from ..step.relative import relate
from .progress import Progress
from .step_rows import Rows, unsettled
from .to_records import samples_of


class StepWriter:
    """Writes steps as rows of templates, and their samples. Of the closed ones only the `last` are kept, if given."""

    def __init__(
        self,
        sink: TraceSink,
        rows: Rows,
        progress: Progress,
        patterns: Patterns,
        statistics: Statistics,
        last: int | None,
    ) -> None:
        self.sink, self.rows, self.progress, self.statistics = sink, rows, progress, statistics
        self._patterns, self._last = patterns, last
        self._unfinished: int | None = None  # the number of a step that was written as far as it got
        self._kept: list[int] = []
        self._waiting: list[tuple[StepRow, Draft]] = []
        self._entries: Entries | None = None  # of the samples written last
        self._owed: list[tuple[int, list[RawSample]]] = []  # samples that a device still owes to written steps

    # -- a step in progress ----------------------------------------------------------------------

    def so_far(self, draft: Draft, number: int) -> None:
        """Write the step as far as it got."""
        self.progress.tell(draft)
        self.sink.put_step(self.rows.unfinished(draft, kind_so_far(draft), number, self.progress.template))
        self._unfinished = number

    def grown(self, draft: Draft, number: int) -> tuple[Growth, StepRow]:
        """What `so_far` would write."""
        growth = self.progress.more(draft).growth
        return growth, self.rows.unfinished(draft, kind_so_far(draft), number, growth.template)

    # -- closed steps ----------------------------------------------------------------------------

    def write(self, draft: Draft, kind: StepKind, number: int) -> Pattern:
        """Write a step that has closed."""
        self.statistics.settle()
        pattern = self._pattern(draft, kind)
        if not self.rows.repeated(draft, pattern, number):
            row = self.rows.row(draft, pattern, kind, number)
            self.sink.put_step(row)
            if unsettled(draft):
                self._waiting.append((row, draft))
        if draft.samples:
            self._put_samples(number, draft.samples)
        if number >= 0 and self._last is not None:
            self._kept.append(number)
            if len(self._kept) > self._last:
                self.sink.delete_steps([self._kept.pop(0)])
        return pattern

    def leave_out(self, number: int) -> None:
        """A step that has closed is not kept."""
        self.rows.count_repeats()
        self.progress.forget()
        if number == self._unfinished:
            self.sink.delete_steps([number])

    def _pattern(self, draft: Draft, kind: StepKind) -> Pattern:
        if draft.matched is None:
            draft.shifts = relate(draft)
        known = draft.matched or self._patterns.find(draft)
        if known is not None:
            self.progress.forget()
            return known
        return self._patterns.add(draft, self.progress.finish(draft), kind)

    def settle(self) -> None:
        """Write what has arrived of the numbers that steps wait for."""
        still = []
        for row, draft in self._waiting:
            if unsettled(draft):
                still.append((row, draft))
            elif self._last is None or row.number in self._kept or row.number < 0:
                self.sink.put_step(self.rows.settled(row, draft))
        self._waiting = still
        owed, self._owed = self._owed, []
        for number, samples in owed:
            if self._last is None or number in self._kept or number < 0:
                self._put_samples(number, samples)

    def _put_samples(self, number: int, samples: Sequence[RawSample]) -> None:
        """Write a step's samples as far as they have arrived; the others are owed."""
        if self.statistics.pending and any(reading.stats is None for *_, reading in samples):
            self._owed.append((number, [sample for sample in samples if sample[-1].stats is None]))
            samples = [sample for sample in samples if sample[-1].stats is not None]
        if samples:
            packed = samples_of(number, samples, self._entries)
            self._entries = packed.entries
            self.sink.put_samples(packed)
