"""Records as rows of the trace file's tables, and back. Reading trusts nothing: it raises ValueError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from ..model.arguments import words
from ..model.codec import dumps, fields_of, from_json, loads, moment_from_json, to_json
from ..model.moments import ModuleCall, Moment, OpCall
from ..model.records import GradEdge, GradNode, Module, Optimizer, Parameter, Site, Stack, Tensor

R = TypeVar("R")
Row = tuple[Any, ...]
_PLAIN = frozenset({int, str, bool})  # JSON values as they are
_SHARED = 4096  # records that were read last


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
        row: list[Any] = []
        for name, listed in self._fields:
            value = getattr(record, name)
            row.append(dumps(value) if listed else text(value) if type(value) is str else value)
        if self.rest:
            data = self._rest_of(record)
            row.append(text(dumps(data)) if data else None)
        return tuple(row)

    @cached_property
    def _fields(self) -> list[tuple[str, bool]]:
        """The field of each column, and whether it is JSON."""
        return [(name, name in self.lists) for name in self.columns.values()]

    @cached_property
    def _others(self) -> list[tuple[str, object]]:
        """The fields that have no column, with their defaults."""
        known = set(self.columns.values())
        return [(name, default) for name, default in fields_of(self.kind) if name not in known]

    def _rest_of(self, record: R) -> dict[str, Any]:
        """The fields without a column that are not at their default, as JSON values."""
        data: dict[str, Any] = {}
        for name, default in self._others:
            value = getattr(record, name)
            if value is default or value == default:
                continue
            kind = type(value)
            if not (kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, value)))):
                return {name: found for name, found in to_json(record).items() if name in dict(self._others)}
            data[name] = value
        return data

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


def shared(read: Callable[[Row], R]) -> Callable[[Row], R]:
    """Reads equal rows as one record: most of what a step did, others did, too."""
    known = lru_cache(_SHARED, typed=True)(lambda *row: read(row))
    return lambda row: known(*row)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


SITES = Table(
    "sites",
    Site,
    {
        **_same("id", "file", "line", "end_line"),
        "start": "column",
        **_same("function", "code", "expression", "targets"),
    },
    lists=frozenset({"targets"}),
)
STACKS = Table("stacks", Stack, _same("id", "sites"), lists=frozenset({"sites"}))
MODULES = Table("modules", Module, _same("id", "root", "path", "type", "parent", "stack"))
PARAMETERS = Table(
    "parameters",
    Parameter,
    _same("id", "name", "root", "role", "shape", "dtype", "device", "requires_grad", "nbytes", "optimizers"),
    lists=frozenset({"shape", "optimizers"}),
    flags=frozenset({"requires_grad"}),
    rest=True,
)
OPTIMIZERS = Table(
    "optimizers", Optimizer, _same("id", "name", "type", "groups"), lists=frozenset({"groups"}), rest=True
)
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
tensor_of, grad_node_of = shared(TENSORS.from_row), shared(GRAD_NODES.from_row)

# The field of each kind of moment that the `name` column holds.
MOMENT_NAMES = {
    "op": "name",
    "mutation": "cause",
    "mode": "mode",
    "leaf": "cause",
    "backward": "call",
    "grad": "change",
    "zero_grad": "owner",
    "registration": "name",
    "scheduler": "name",
    "scaler": "call",
    "failure": "type",
}
INSERT_MOMENT = "INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?, ?, ?, ?)"
SELECT_MOMENTS = "SELECT kind, phase, name, stack, data FROM moments"


def moment_row(moment: Moment) -> Row:
    data = to_json(moment)
    if "given" in data:
        data.pop("arguments", None)  # they are its words
    kind = data.pop("kind")
    phase, stack = data.pop("phase"), data.pop("stack", None)
    field = MOMENT_NAMES.get(moment.kind)
    name = data.pop(field, None) if field else None
    return (kind, phase, text(name) if isinstance(name, str) else None, stack, text(dumps(data)) if data else None)


@shared
def moment_of(row: Row) -> Moment:
    kind, phase, name, stack, data = (plain(value) for value in row)
    found = loads(data) if data is not None else {}
    if not isinstance(found, dict):
        raise ValueError("moments.data is no object")
    fields: dict[str, Any] = {**found, "kind": kind, "phase": phase, "stack": stack}
    field = MOMENT_NAMES.get(kind) if isinstance(kind, str) else None
    if field is not None:
        fields[field] = name
    moment = moment_from_json(fields)
    if isinstance(moment, OpCall) and moment.given is not None:
        return replace(moment, arguments=words(moment.given))
    return moment


def calls_text(calls: tuple[ModuleCall, ...]) -> str | None:
    """A template's module calls as one JSON text; None for none."""
    if not calls:
        return None
    return dumps([[c.module, c.call, c.stack, int(c.training), c.moment, c.parent] for c in calls])


def calls_in(value: object) -> tuple[ModuleCall, ...]:
    """The calls that `calls_text` wrote. Raises ValueError for anything else."""
    found = [] if value is None else loads(plain(value))
    if not isinstance(found, list):
        raise ValueError("templates.calls is no list")
    calls = []
    for each in found:
        if not isinstance(each, list) or len(each) != 6:
            raise ValueError("templates.calls are no module calls")
        module, call, stack, training, moment, parent = each
        here, above = None if stack is None else whole(stack), None if parent is None else whole(parent)
        calls.append(ModuleCall(whole(module), whole(call), here, whole(training) == 1, whole(moment), above))
    return tuple(calls)


INSERT_EDGE = "INSERT OR REPLACE INTO grad_edges VALUES (?, ?, ?, ?, ?, ?, ?)"
SELECT_EDGES = "SELECT source, target, slot, input_nr FROM grad_edges"


@shared
def edge_of(row: Row) -> GradEdge:
    return GradEdge(*(whole(value) for value in row))


def numbers(value: object) -> tuple[int, ...]:
    """A JSON list of whole numbers. Raises ValueError for anything else."""
    found = loads(plain(value))
    if not isinstance(found, list):
        raise ValueError("expected a list of numbers")
    return tuple(whole(each) for each in found)


def whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError("expected a whole number")
    return value
