"""Records as rows of the trace file's tables, and back. Reading trusts nothing: it raises ValueError."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..model.codec import dumps, encode_float, from_json, loads, moment_from_json, to_json
from ..model.records import (
    GradEdge,
    GradNode,
    Json,
    Module,
    Moment,
    Optimizer,
    Parameter,
    Sample,
    Site,
    Stack,
    Stats,
    StepRow,
    Tensor,
)

R = TypeVar("R")
Row = tuple[Any, ...]
_SWAP = sys.byteorder == "big"
_STATS = ("numel", "sum", "mean", "norm", "min", "max", "zeros", "nans", "infs")


def text(value: str) -> str | bytes:
    """Text as SQLite takes it: what UTF-8 cannot hold (odd file names) becomes bytes."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def plain(value: object) -> object:
    """A column's value as the JSON value it stands for. Raises ValueError for bytes that are no text."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


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


@dataclass(frozen=True)
class Table(Generic[R]):
    """How one record type lies in a table: a column for each of `columns`, JSON for the rest.

    `columns` maps the column's name to the field's; those in `lists` are JSON, those in `flags` 0 or 1.
    """

    name: str
    kind: type[R]
    columns: Mapping[str, str]
    lists: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    rest: bool = False
    key: tuple[str, ...] = ()

    def insert(self) -> str:
        """The statement that writes a row (after the columns of `key`), replacing an equal key's."""
        names = [*self.key, *self.columns, *(["data"] if self.rest else [])]
        return f"INSERT OR REPLACE INTO {self.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608

    def select(self, where: str = "") -> str:
        """The statement that reads rows."""
        names = [*self.columns, *(["data"] if self.rest else [])]
        return f"SELECT {', '.join(names)} FROM {self.name} {where}"  # noqa: S608

    def to_row(self, record: R) -> Row:
        data = to_json(record)
        row: list[Any] = []
        for name in self.columns.values():
            value = data.pop(name, None) if name in data else _default(record, name)
            if name in self.lists:
                value = dumps(value)
            row.append(text(value) if isinstance(value, str) else value)
        if self.rest:
            row.append(text(dumps(data)) if data else None)
        return tuple(row)

    def from_row(self, row: Row) -> R:
        data: dict[str, Any] = {}
        if self.rest and row[-1] is not None:
            found = loads(plain(row[-1]))
            if not isinstance(found, dict):
                raise ValueError(f"{self.name}.data is no object")
            data = dict(found)
        for name, value in zip(self.columns.values(), row, strict=False):
            value = plain(value)
            if name in self.lists:
                value = loads(value)
            elif name in self.flags:
                if value not in (0, 1):
                    raise ValueError(f"{self.name}.{name} is neither 0 nor 1")
                value = bool(value)
            data[name] = value
        return self.read(data)

    def read(self, data: dict[str, Any]) -> R:
        return from_json(self.kind, data)


def _default(record: object, name: str) -> Any:
    value = getattr(record, name)
    return list(value) if isinstance(value, tuple) else value


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


SITES = Table(
    "sites",
    Site,
    {**_same("id", "file", "line", "end_line"), "start": "column", **_same("function", "code", "expression")},
)
STACKS = Table("stacks", Stack, _same("id", "sites"), lists=frozenset({"sites"}))
MODULES = Table("modules", Module, _same("id", "root", "path", "type", "parent"))
PARAMETERS = Table(
    "parameters",
    Parameter,
    _same("id", "name", "root", "role", "shape", "dtype", "device", "requires_grad", "nbytes", "optimizers"),
    lists=frozenset({"shape", "optimizers"}),
    flags=frozenset({"requires_grad"}),
)
OPTIMIZERS = Table("optimizers", Optimizer, _same("id", "name", "type", "groups"), lists=frozenset({"groups"}))
TENSORS = Table(
    "tensors",
    Tensor,
    {
        "idx": "number",
        **_same(
            "name", "role", "shape", "dtype", "device", "requires_grad", "is_leaf", "grad_fn", "version", "made_by"
        ),
        "parameter": "parameter",
    },
    lists=frozenset({"shape"}),
    flags=frozenset({"requires_grad", "is_leaf"}),
    rest=True,
    key=("template",),
)
GRAD_NODES = Table(
    "grad_nodes",
    GradNode,
    {"idx": "index", **_same("name", "op", "tensor")},
    rest=True,
    key=("template", "graph"),
)

# The field of each kind of moment that the `name` column holds.
MOMENT_NAMES = {
    "op": "name",
    "mutation": "cause",
    "mode": "mode",
    "leaf": "cause",
    "backward": "call",
    "grad": "change",
    "zero_grad": "owner",
    "scheduler": "name",
    "scaler": "call",
    "failure": "type",
}
INSERT_MOMENT = "INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?, ?, ?, ?)"
SELECT_MOMENTS = "SELECT kind, phase, name, stack, data FROM moments"


def moment_row(moment: Moment) -> Row:
    data = to_json(moment)
    kind = data.pop("kind")
    phase, stack = data.pop("phase"), data.pop("stack", None)
    field = MOMENT_NAMES.get(moment.kind)
    name = data.pop(field, None) if field else None
    return (kind, phase, text(name) if isinstance(name, str) else None, stack, text(dumps(data)) if data else None)


def moment_of(row: Row) -> Moment:
    kind, phase, name, stack, data = (plain(value) for value in row)
    found = loads(data) if data is not None else {}
    if not isinstance(found, dict):
        raise ValueError("moments.data is no object")
    fields: dict[str, Any] = {**found, "kind": kind, "phase": phase, "stack": stack}
    field = MOMENT_NAMES.get(kind) if isinstance(kind, str) else None
    if field is not None:
        fields[field] = name
    return moment_from_json(fields)


INSERT_EDGE = "INSERT OR REPLACE INTO grad_edges VALUES (?, ?, ?, ?, ?, ?, ?)"
SELECT_EDGES = "SELECT source, target, slot, input_nr FROM grad_edges"


def edge_of(row: Row) -> GradEdge:
    return GradEdge(*(_whole(value) for value in row))


def numbers(value: object) -> tuple[int, ...]:
    """A JSON list of whole numbers. Raises ValueError for anything else."""
    found = loads(plain(value))
    if not isinstance(found, list):
        raise ValueError("expected a list of numbers")
    return tuple(_whole(each) for each in found)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError("expected a whole number")
    return value


# -- samples ---------------------------------------------------------------------------------------

INSERT_SAMPLE = "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_SAMPLES = (
    "SELECT step, moment, what, of_parameter, subject, shape, numel, sum, mean, norm, min, max, zeros, nans, infs, "
    '"values" FROM samples'
)


def sample_row(sample: Sample) -> Row:
    stats = sample.stats
    facts: Row = (None,) * 9
    if stats is not None:
        facts = (
            stats.numel,
            encode_float(stats.sum),
            encode_float(stats.mean),
            encode_float(stats.norm),
            encode_float(stats.min),
            encode_float(stats.max),
            stats.zeros,
            stats.nans,
            stats.infs,
        )
    values = None if sample.values is None else pack("d", sample.values)
    shape = "[" + ",".join(map(str, sample.shape)) + "]"
    return (sample.step, sample.moment, sample.what, sample.of_parameter, sample.subject, shape, *facts, values)


def sample_of(row: Row) -> Sample:
    step, moment, what, of_parameter, subject, shape = (plain(value) for value in row[:6])
    stats = None
    if row[6] is not None:
        stats = from_json(Stats, dict(zip(_STATS, row[6:15], strict=True)))
    values = None
    if row[15] is not None:
        if not isinstance(row[15], bytes) or len(row[15]) % 8:
            raise ValueError("samples.values is not packed")
        values = tuple(unpack("d", row[15], len(row[15]) // 8))
    if not isinstance(what, str) or of_parameter not in (0, 1):
        raise ValueError("a sample of nothing known")
    return Sample(
        _whole(step),
        _whole(moment),
        _whole(subject),
        bool(of_parameter),
        what,
        stats,
        values,
        numbers(shape),
    )


# -- steps -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """What the packed columns of a step's row hold; see `schema`."""

    phases: tuple[tuple[str, int], ...]
    rates: tuple[tuple[int, int], ...]
    norms: tuple[tuple[int, bool, bool], ...]

    @classmethod
    def of(cls, row: StepRow) -> Layout:
        return cls(
            tuple([(span.phase.value, span.moment) for span in row.phases]),
            tuple([rate[:2] for rate in row.learning_rates]),
            tuple([(parameter, norm is not None, grad is not None) for parameter, norm, grad in row.norms]),
        )

    def to_row(self) -> Row:
        return (
            dumps([list(phase) for phase in self.phases]),
            dumps([list(rate) for rate in self.rates]),
            dumps([[parameter, int(norm), int(grad)] for parameter, norm, grad in self.norms]),
        )

    @classmethod
    def from_row(cls, row: Row) -> Layout:
        phases, rates, norms = (_pairs(plain(value)) for value in row)
        if not all(len(each) == 2 and isinstance(each[0], str) for each in phases):
            raise ValueError("layouts.phases names no phases")
        return cls(
            tuple((each[0], _whole(each[1])) for each in phases),
            tuple((_whole(optimizer), _whole(group)) for optimizer, group in rates),
            tuple((_whole(parameter), bool(_whole(norm)), bool(_whole(grad))) for parameter, norm, grad in norms),
        )

    def places_of(self, parameter: int) -> tuple[int | None, int | None, int]:
        """Where a parameter's norm and its gradient's lie among the packed norms, and how many there are."""
        place = 0
        at: tuple[int | None, int | None] = (None, None)
        for owner, norm, grad in self.norms:
            if owner == parameter:
                at = (place if norm else None, place + norm if grad else None)
            place += norm + grad
        return (*at, place)


def _pairs(value: object) -> list[list[Any]]:
    found = loads(value)
    if not isinstance(found, list) or not all(isinstance(each, list) for each in found):
        raise ValueError("a layout is lists of lists")
    return found  # type: ignore[return-value]


INSERT_STEP = "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_STEPS = (
    "SELECT number, kind, detail, template, layout, start, duration, loss, phase_times, rates, norms, versions, "
    "carried, memory, open FROM steps"
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
        pack("f", [time for span in row.phases for time in (span.start, span.duration)]) if row.phases else None,
        pack("d", [rate for _, _, rate in row.learning_rates]) if row.learning_rates else None,
        pack("f", [norm for _, *norms in row.norms for norm in norms if norm is not None]) if row.norms else None,
        _listed(row.versions),
        _listed(row.carried),
        dumps(list(row.memory)) if row.memory is not None else None,
        1 if row.open else None,
    )


def _listed(values: tuple[tuple[int, ...], ...]) -> str | None:
    return dumps([list(each) for each in values]) if values else None


def step_of(row: Row, layout: Callable[[int], Layout]) -> StepRow:
    """The step in a row of `steps`; `layout` finds a layout by its id."""
    found = layout(_whole(row[4]))
    times = unpack("f", row[8] or b"", 2 * len(found.phases))
    rates = unpack("d", row[9] or b"", len(found.rates))
    count = sum(norm + grad for _, norm, grad in found.norms)
    norms = iter(unpack("f", row[10] or b"", count))
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
    }
    return from_json(StepRow, data)


def _list_in(value: object) -> Json:
    return [] if value is None else loads(value)
