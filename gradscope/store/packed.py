"""Rows of `steps` and `samples`, the two tables that grow with every step: numbers packed, layouts shared.

Reading trusts nothing: it raises ValueError.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..model.codec import dumps, from_json, loads, to_json
from ..model.json_values import encode_float
from ..model.packed_samples import Entries, PackedSamples, entries_to_json
from ..model.records import Json, Sample, StepRow
from .rows import Row, plain, text, whole

_SWAP = sys.byteorder == "big"


def pack(code: str, values: Iterable[float]) -> bytes:
    """Floats as little-endian bytes: code "f" is 4 bytes each (what is too large becomes infinite), "d" 8."""
    packed = array(code, values)
    if _SWAP:
        packed.byteswap()
    return packed.tobytes()


def unpack(code: str, data: object, count: int) -> Sequence[float]:
    """The floats that `pack` packed. Raises ValueError when there are not `count`."""
    packed = array(code)
    if not isinstance(data, bytes) or len(data) != count * packed.itemsize:
        raise ValueError(f"expected {count} packed numbers")
    packed.frombytes(data)
    if _SWAP:
        packed.byteswap()
    return packed


# -- samples ---------------------------------------------------------------------------------------

# To be followed by rows of (step, layout, stats, values), each of another step.
INSERT_SAMPLES = (
    "WITH new (step, layout, stats, numbers) AS (VALUES {}) INSERT INTO samples SELECT step, "
    "(SELECT coalesce(max(part) + 1, 0) FROM samples WHERE step = new.step), layout, stats, numbers FROM new"
)
SELECT_SAMPLES = 'SELECT layout, stats, "values" FROM samples WHERE step = ? ORDER BY part'


def entries_text(entries: Entries) -> str:
    return dumps(entries_to_json(entries))


def samples_of(step: int, rows: Iterable[Row], layout: Callable[[int], Entries]) -> tuple[Sample, ...]:
    """The samples in a step's rows of `samples`, in order; `layout` finds a layout by its id."""
    found: dict[tuple[int, str, bool, int], Sample] = {}
    for number, stats, values in rows:
        for sample in PackedSamples(step, layout(whole(number)), stats, values):
            found[sample.moment, sample.what, sample.of_parameter, sample.subject] = sample
    return tuple([found[key] for key in sorted(found)])


# -- steps -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """What the packed columns of a step's row hold; see `schema`."""

    phases: tuple[tuple[str, int], ...]
    rates: tuple[tuple[int, int], ...]
    norms: tuple[tuple[int, bool, bool], ...]
    distances: tuple[int, ...] = ()

    @classmethod
    def of(cls, row: StepRow) -> Layout:
        return cls(
            tuple([(phase.value, moment) for phase, moment, _, _ in row.phases]),
            tuple([rate[:2] for rate in row.learning_rates]),
            tuple([(parameter, norm is not None, grad is not None) for parameter, norm, grad in row.norms]),
            tuple([parameter for parameter, _ in row.distances]),
        )

    def to_row(self) -> Row:
        return (
            dumps([list(phase) for phase in self.phases]),
            dumps(_lists(self.rates)),
            dumps([*_lists(self.norms), *_lists((parameter,) for parameter in self.distances)]),
        )

    @classmethod
    def from_row(cls, row: Row) -> Layout:
        phases, rates, norms = (_pairs(plain(value)) for value in row)
        if not all(len(each) == 2 and isinstance(each[0], str) for each in phases):
            raise ValueError("layouts.phases names no phases")
        if not {len(each) for each in norms} <= {1, 3}:
            raise ValueError("layouts.norms names neither norms nor distances")
        return cls(
            tuple((each[0], whole(each[1])) for each in phases),
            tuple((whole(optimizer), whole(group)) for optimizer, group in rates),
            tuple((whole(each[0]), bool(whole(each[1])), bool(whole(each[2]))) for each in norms if len(each) != 1),
            tuple(whole(each[0]) for each in norms if len(each) == 1),
        )

    def places_of(self, parameter: int) -> tuple[int | None, int | None, int]:
        """Where a parameter's norm and its gradient's lie among the packed norms, and how many there are."""
        place = 0
        at: tuple[int | None, int | None] = (None, None)
        for owner, norm, grad in self.norms:
            if owner == parameter:
                at = (place if norm else None, place + norm if grad else None)
            place += norm + grad
        return (*at, place + len(self.distances))

    @cached_property
    def _gradients(self) -> tuple[int, tuple[int, ...]]:
        """How many numbers are packed with the norms, and which of them are gradients'."""
        has = [is_gradient for _, norm, grad in self.norms for is_gradient, there in ((0, norm), (1, grad)) if there]
        return len(has) + len(self.distances), tuple(place for place, is_gradient in enumerate(has) if is_gradient)

    def gradient_norm(self, norms: object) -> float | None:
        """The norm of all gradients together; None where a step has none. Raises ValueError."""
        count, places = self._gradients
        values = unpack("f", norms or b"", count)
        return math.hypot(*[values[place] for place in places]) if places else None


def _lists(values: Iterable[Iterable[int]]) -> list[Json]:
    return [list(map(int, each)) for each in values]


def _pairs(value: object) -> list[list[Any]]:
    found = loads(value)
    if not isinstance(found, list) or not all(isinstance(each, list) for each in found):
        raise ValueError("a layout is lists of lists")
    return found  # type: ignore[return-value]


INSERT_STEP = "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_STEPS = (
    "SELECT number, kind, detail, template, layout, start, duration, loss, phase_times, rates, norms, versions, "
    "carried, memory, open, kept, alive, shifts FROM steps"
)


def layout_key(row: StepRow) -> object:
    """What two rows of the same layout have in common, in a form that is cheap to make and to compare."""
    return (
        [span[:2] for span in row.phases],
        [rate[:2] for rate in row.learning_rates],
        [(parameter, norm is not None, grad is not None) for parameter, norm, grad in row.norms],
        [parameter for parameter, _ in row.distances],
    )


def step_row(row: StepRow, layout: int) -> Row:
    """A step as a row of `steps`, packed by the layout of that id (which is `Layout.of(row)`)."""
    loss = row.loss
    return (
        row.number,
        row.kind.value,
        row.detail.value,
        row.template,
        layout,
        encode_float(row.start),
        encode_float(row.duration),
        None if loss is None else encode_float(loss),
        pack("f", [time for span in row.phases for time in span[2:]]) if row.phases else None,
        pack("d", [rate for _, _, rate in row.learning_rates]) if row.learning_rates else None,
        pack("f", _norms_and_distances(row)) if row.norms or row.distances else None,
        _listed(row.versions),
        _listed(row.carried),
        dumps(list(row.memory)) if row.memory is not None else None,
        1 if row.open else None,
        text(dumps([to_json(kept) for kept in row.kept])) if row.kept else None,
        dumps(list(row.alive)) if row.alive is not None else None,
        _listed(row.shifts),
    )


def _norms_and_distances(row: StepRow) -> list[float]:
    norms = [one for _, norm, grad in row.norms for one in (norm, grad) if one is not None]
    return [*norms, *[distance for _, distance in row.distances]]


def repeated_rows(row: StepRow, width: int, numbers: array[float], layout: int) -> Iterator[Row]:
    """The rows of `steps` for steps like that row, with numbers as `Repeats` has them."""
    usual = step_row(row, layout)
    begin, end = usual[1:5], usual[13:]
    times, rates, norms = 2 * len(row.phases), len(row.learning_rates), 2 * len(row.norms) + len(row.distances)
    singles, doubles = pack("f", numbers), pack("d", numbers)
    steps_before = [row.number - step for _, step, _ in row.carried]
    carried = f"[{','.join([f'[{tensor},%d,{old}]' for tensor, _, old in row.carried])}]"
    first, second, third = 4, 4 + times, 4 + times + rates
    for found, start, duration, loss in zip(*[numbers[column::width] for column in range(4)]):
        number = int(found)
        yield (
            number,
            *begin,
            encode_float(start),
            encode_float(duration),
            None if row.loss is None else encode_float(loss),
            singles[4 * first : 4 * second] or None,
            doubles[8 * second : 8 * third] or None,
            singles[4 * third : 4 * (third + norms)] or None,
            None,
            carried % tuple([number - before for before in steps_before]) if steps_before else None,
            *end,
        )
        first, second, third = first + width, second + width, third + width


def _listed(values: tuple[tuple[int, ...], ...]) -> str | None:
    return dumps([list(each) for each in values]) if values else None


def step_of(row: Row, layout: Callable[[int], Layout]) -> StepRow:
    """The step in a row of `steps`; `layout` finds a layout by its id."""
    found = layout(whole(row[4]))
    times = unpack("f", row[8] or b"", 2 * len(found.phases))
    rates = unpack("d", row[9] or b"", len(found.rates))
    count = sum(norm + grad for _, norm, grad in found.norms)
    norms = iter(unpack("f", row[10] or b"", count + len(found.distances)))
    data: dict[str, Any] = {
        "number": row[0],
        "kind": row[1],
        "detail": row[2],
        "template": row[3],
        "start": row[5],
        "duration": row[6],
        "loss": row[7],
        "versions": _list_in(row[11]),
        "carried": _list_in(row[12]),
        "memory": None if row[13] is None else loads(row[13]),
        "open": row[14] == 1,
        "kept": _list_in(plain(row[15])),
        "alive": None if row[16] is None else loads(row[16]),
        "shifts": _list_in(row[17]),
        "phases": [
            {
                "phase": phase,
                "moment": moment,
                "start": encode_float(times[2 * i]),
                "duration": encode_float(times[2 * i + 1]),
            }
            for i, (phase, moment) in enumerate(found.phases)
        ],
        "learning_rates": [[*where, encode_float(rate)] for where, rate in zip(found.rates, rates, strict=True)],
        "norms": [
            [parameter, encode_float(next(norms)) if norm else None, encode_float(next(norms)) if grad else None]
            for parameter, norm, grad in found.norms
        ],
        "distances": [[parameter, encode_float(next(norms))] for parameter in found.distances],
    }
    return from_json(StepRow, data)


def _list_in(value: object) -> Json:
    return [] if value is None else loads(value)
