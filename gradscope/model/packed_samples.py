"""`PackedSamples`: samples of one step as bytes, beside what they are of, which steps that are alike share.

So they cost little while they wait to be written, and little to write. Unpacking trusts nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

from .records import Sample, Stats

_STATS = struct.Struct("<q5d3q")  # the fields of `Stats`, in their order
STATS_BYTES = _STATS.size

Form = tuple[tuple[int, ...], bool, "int | None"]  # shape, whether there are statistics, how many values if any


class Entries(NamedTuple):
    """What samples are of, field by field, an item for each sample: see `Sample`."""

    moments: tuple[int, ...] = ()
    subjects: tuple[int, ...] = ()
    of_parameters: tuple[bool, ...] = ()
    whats: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()


def pack_stats(*stats: float) -> bytes:
    """The fields of `Stats` as bytes. Raises struct.error for what is no such number."""
    return _STATS.pack(*stats)


def pack_values(values: Sequence[float]) -> bytes:
    """Floats as bytes, 8 each. Raises struct.error for what is no number."""
    return struct.pack(f"<{len(values)}d", *values)


class PackedSamples(Sequence[Sample]):
    """Samples of the step `step`, made into records when they are read.

    `entries` say what each is of; `stats` and `values` hold the numbers of those that have such, one after
    the other. Reading raises ValueError where the bytes are not what the entries say.
    """

    __slots__ = ("_read", "entries", "stats", "step", "values")

    def __init__(self, step: int, entries: Entries, stats: Any, values: Any) -> None:
        self.step, self.entries, self.stats, self.values = step, entries, stats, values
        self._read: tuple[Sample, ...] | None = None

    @classmethod
    def of(cls, step: int, samples: Sequence[Sample]) -> PackedSamples:
        """Pack samples of that step. Raises ValueError, TypeError or struct.error where one holds what is no number."""
        forms: list[Form] = []
        stats, values = [], []
        for sample in samples:
            numbers: tuple[Any, ...] = (sample.step, sample.moment, sample.subject, *sample.shape)
            if not all(isinstance(number, int) and -(1 << 63) <= number < 1 << 63 for number in numbers):
                raise ValueError("a number too large for 64 bits")
            count = None if sample.values is None else len(sample.values)
            forms.append((tuple(sample.shape), sample.stats is not None, count))
            if sample.stats is not None:
                found = sample.stats
                counted = (found.zeros, found.nans, found.infs)
                stats.append(pack_stats(found.numel, found.sum, found.mean, found.norm, found.min, found.max, *counted))
            if sample.values is not None:
                values.append(pack_values(sample.values))
        entries = Entries(
            tuple([sample.moment for sample in samples]),
            tuple([sample.subject for sample in samples]),
            tuple([bool(sample.of_parameter) for sample in samples]),
            tuple([str(sample.what) for sample in samples]),
            tuple(forms),
        )
        return cls(step, entries, b"".join(stats), b"".join(values))

    def __len__(self) -> int:
        return len(self.entries.forms)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        return self._records()[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._records())

    def _records(self) -> tuple[Sample, ...]:
        if self._read is None:
            self._read = tuple(self._unpacked())
        return self._read

    def _unpacked(self) -> Iterator[Sample]:
        forms = self.entries.forms
        with_stats = sum(has_stats for _, has_stats, _ in forms)
        count = sum(count or 0 for _, _, count in forms)
        if not isinstance(self.stats, bytes) or len(self.stats) != with_stats * STATS_BYTES:
            raise ValueError(f"expected {with_stats} packed statistics")
        if not isinstance(self.values, bytes) or len(self.values) != count * 8:
            raise ValueError(f"expected {count} packed values")
        stats = _STATS.iter_unpack(self.stats)
        values = struct.unpack(f"<{count}d", self.values)
        place = 0
        for moment, subject, of_parameter, what, (shape, has_stats, size) in zip(*self.entries, strict=True):
            found = Stats(*next(stats)) if has_stats else None
            own = None if size is None else values[place : place + size]
            place += size or 0
            yield Sample(self.step, moment, subject, of_parameter, what, found, own, shape)


def entries_to_json(entries: Entries) -> list[Any]:
    """Entries as a JSON value: [moment, what, of a parameter, subject, shape, has statistics, values] each."""
    return [
        [moment, what, int(of_parameter), subject, list(shape), int(has_stats), count]
        for moment, subject, of_parameter, what, (shape, has_stats, count) in zip(*entries, strict=True)
    ]


def entries_from_json(data: object) -> Entries:
    """The entries that `entries_to_json` wrote. Raises ValueError for anything else."""
    if not isinstance(data, list):
        raise ValueError("entries of samples are a list")
    return Entries(*zip(*[_entry(each) for each in data], strict=True))


def _entry(data: object) -> tuple[int, int, bool, str, Form]:
    if not isinstance(data, list) or len(data) != 7:
        raise ValueError("an entry of samples has seven parts")
    moment, what, of_parameter, subject, shape, has_stats, count = data
    if type(what) is not str or not isinstance(shape, list):
        raise ValueError("a sample of nothing known")
    numbers = (moment, of_parameter, subject, has_stats, *shape, 0 if count is None else count)
    if any(type(number) is not int for number in numbers) or numbers[-1] < 0:
        raise ValueError("expected whole numbers in an entry of samples")
    if of_parameter not in (0, 1) or has_stats not in (0, 1):
        raise ValueError("a flag in an entry of samples is neither 0 nor 1")
    return (moment, subject, bool(of_parameter), what, (tuple(shape), bool(has_stats), count))
