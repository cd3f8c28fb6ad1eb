"""`SqliteSource`: answers a `Trace`'s questions from a file, when they are asked. `open_trace` opens one.

Everything in the file is data from a stranger: whatever it holds, the worst that comes of it is
DamagedTrace.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import CannotWrite, DamagedTrace, NoSuchStep
from ..model.codec import from_json, loads
from ..model.moments import Template
from ..model.packed_samples import Entries, entries_from_json
from ..model.records import Detail, GradGraph, Module, Optimizer, Parameter, Sample, Site, Stack, StepRow, TraceInfo
from ..model.spec import damaged, sound
from ..model.trace import Trace
from ..text import elide, printable
from . import alive, packed, rows
from .connect import Connection
from .create import make_file
from .packed import Layout
from .rows import Table, plain
from .step_reader import StepReader
from .versions import Versions, pairs

R = TypeVar("R")
_TEMPLATE = "SELECT tensors, moments, graphs, version_bumps, calls FROM templates WHERE id = ?"
_UNREADABLE = (ValueError, TypeError, OverflowError)  # what decoding raises for what is no record
_TEMPLATES, _ROWS, _SAMPLES = 16, 2048, 16  # how many answers of each kind are kept


def open_trace(path: str | os.PathLike[str]) -> Trace:
    """The trace in a file; also one that is still being written, or whose program was killed.

    Raises TraceFileError when there is no such file or it cannot be read, NotATrace for a file that is
    something else, NewerTrace or OlderTrace for one written by another version of gradscope, DamagedTrace for
    a broken one.
    """
    source = SqliteSource(path)
    try:
        source.info()
    except BaseException:
        source.close()
        raise
    return Trace(source, str(path))


def _reason(error: Exception) -> str:
    return elide(printable(str(error)), 160)


class Numbers(Sequence[int]):
    """Rising numbers that know quickly whether they hold one."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._set: frozenset[int] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return self._numbers[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __reversed__(self) -> Iterator[int]:
        return reversed(self._numbers)

    def __contains__(self, number: object) -> bool:
        if self._set is None:
            self._set = frozenset(self._numbers)
        return number in self._set

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self._numbers) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self._numbers))


class _Cache:
    """The last few answers by question."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, find: Callable[[], R]) -> R:
        if key in self._answers:
            self._answers.move_to_end(key)
        else:
            self._answers[key] = find()
            if len(self._answers) > self._size:
                self._answers.popitem(last=False)
        answer: R = self._answers[key]
        return answer

    def clear(self) -> None:
        self._answers.clear()


class SqliteSource:
    """A `TraceSource` over a trace file. May be used from several threads, one at a time.

    Raises as `open_trace` does. Each method raises DamagedTrace where the file does not hold what a
    trace holds; but a template that is damaged costs the steps that share it what they did, and no more.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._connection = Connection(self.path)
        self._wholes = _Cache(16)
        self._templates = _Cache(_TEMPLATES)
        self._rows = _Cache(_ROWS)
        self._samples = _Cache(_SAMPLES)
        self._versions = Versions()
        self._steps = StepReader(self._ask, self._layout)

    # -- TraceSource ---------------------------------------------------------------------------------

    def info(self) -> TraceInfo:
        """The trace as a whole. A trace that says it is running, and whose writer is gone, was killed."""
        return self._whole("info", self._read_info)

    def sites(self) -> Mapping[int, Site]:
        return self._table(rows.SITES)

    def stacks(self) -> Mapping[int, Stack]:
        return self._table(rows.STACKS)

    def modules(self) -> Mapping[int, Module]:
        return self._table(rows.MODULES)

    def parameters(self) -> Mapping[int, Parameter]:
        return self._table(rows.PARAMETERS)

    def optimizers(self) -> Mapping[int, Optimizer]:
        return self._table(rows.OPTIMIZERS)

    def step_numbers(self) -> Sequence[int]:
        with self._reading("steps"):
            return self._whole("numbers", lambda: Numbers(self._steps.numbers()))

    def step_row(self, number: int) -> StepRow:
        """Step `number`. Raises NoSuchStep."""
        with self._lock:
            return self._rows.get(number, lambda: self._read_step(number))

    def step_rows(self) -> Iterator[StepRow]:
        return self._one_by_one(self._steps.rows())

    def template(self, template: int) -> Template:
        with self._lock:
            return self._templates.get(template, lambda: self._read_template(template))

    def samples(self, step: int) -> Sequence[Sample]:
        with self._lock:
            return self._samples.get(step, lambda: self._read_samples(step))

    def series(self, parameter: int) -> Sequence[tuple[int, float | None, float | None]]:
        return list(self._one_by_one(self._steps.series(parameter)))

    def curve(self, after: int | None = None) -> Iterator[tuple[int, float | None, float | None]]:
        return self._one_by_one(self._steps.curve(-(2**63) if after is None else after))

    def versions(self, step: int) -> Mapping[int, int]:
        with self._lock, self._reading("steps"):
            return self._connection.using(lambda connection: self._versions.at(connection, step))

    def refresh(self) -> None:
        with self._lock:
            for cache in (self._wholes, self._templates, self._rows, self._samples):
                cache.clear()
            self._versions = Versions()
            self._steps.forget()
            self._connection.reopen()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # -- more than a source must ---------------------------------------------------------------------

    def save_copy(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the trace as it now is to another file. Raises CannotWrite."""
        target = Path(path)
        if target.exists() and self.path.exists() and target.samefile(self.path):
            raise CannotWrite(f"cannot write {target}: it is the trace itself")
        make_file(target, overwrite=overwrite)
        try:
            with self._lock, closing(sqlite3.connect(target)) as copy:
                self._connection.using(lambda connection: connection.backup(copy))
                copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.Error as error:
            target.unlink(missing_ok=True)
            raise CannotWrite(f"cannot write {target}: {error}") from None

    # -- reading -------------------------------------------------------------------------------------

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.using(lambda connection: connection.execute(query, values).fetchall())

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """All questions are answered from the file as it is at the first of them."""
        self._ask("BEGIN")
        try:
            yield
        finally:
            self._ask("ROLLBACK")

    def _one_by_one(self, chunks: Iterator[list[R]]) -> Iterator[R]:
        while True:
            with self._lock, self._reading("steps"):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield from chunk

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Errors of decoding become DamagedTrace."""
        try:
            yield
        except _UNREADABLE as error:
            raise DamagedTrace(f"{self.path} is damaged: {what}: {_reason(error)}") from None

    def _whole(self, what: str, read: Callable[[], R]) -> R:
        with self._lock:
            return self._wholes.get(what, read)

    def _table(self, table: Table[R]) -> Mapping[int, R]:
        def read() -> dict[int, R]:
            with self._reading(table.name):
                return {row[0]: table.from_row(row) for row in self._ask(table.select("ORDER BY id"))}

        return self._whole(table.name, read)

    def _read_info(self) -> TraceInfo:
        known = {item.name for item in fields(TraceInfo)}
        with self._reading("info"):
            found = {plain(key): loads(plain(value)) for key, value in self._ask("SELECT key, value FROM info")}
            if not found:
                return TraceInfo("", (), "", "", "", "", Detail.AUTO, self._status("running"))
            info = from_json(TraceInfo, {key: value for key, value in found.items() if key in known})
        return replace(info, status=self._status(info.status))

    def _status(self, status: str) -> str:
        if status != "running":
            return status
        writer = self._ask("SELECT pid, token, host, heartbeat FROM writer")
        return "running" if any(alive.lives(*row) for row in writer) else "killed"

    def _read_step(self, number: int) -> StepRow:
        with self._reading(f"step {number}"):
            row = self._steps.row(number)
        if row is None:
            raise NoSuchStep(number, self.step_numbers())
        return row

    def _layout(self, number: int) -> Layout:
        def read() -> Layout:
            found = self._ask("SELECT phases, rates, norms FROM layouts WHERE id = ?", number)
            if not found:
                raise ValueError(f"layout {number} is not there")
            return Layout.from_row(found[0])

        return self._rows.get(("layout", number), read)

    def _read_samples(self, step: int) -> Sequence[Sample]:
        with self._reading(f"samples of step {step}"):
            return packed.samples_of(step, self._ask(packed.SELECT_SAMPLES, step), self._sample_layout)

    def _sample_layout(self, number: int) -> Entries:
        def read() -> Entries:
            found = self._ask("SELECT entries FROM sample_layouts WHERE id = ?", number)
            if not found:
                raise ValueError(f"layout {number} is not there")
            return entries_from_json(loads(plain(found[0][0])))

        return self._rows.get(("sample layout", number), read)

    def _read_template(self, number: int) -> Template:
        """A template as it is in one moment of a running trace; one that cannot be read is told as damaged."""
        bumps: tuple[tuple[int, int], ...] = ()
        try:
            with self._at_once():
                head = self._ask(
                    "SELECT tensors, moments, graphs, version_bumps, calls FROM templates WHERE id = ?", number
                )
                if not head:
                    return damaged(number, "what it did is not in the file")
                *counts, stated, calls = head[0]
                bumps = tuple(pairs(stated))
                return self._rows_of_template(number, counts, bumps, calls)
        except _UNREADABLE as error:
            return damaged(number, _reason(error), bumps)
        except DamagedTrace as error:
            return damaged(number, str(error).partition(" is damaged: ")[2] or str(error), bumps)

    def _rows_of_template(
        self, number: int, counts: list[Any], bumps: tuple[tuple[int, int], ...], calls: object
    ) -> Template:
        where = "WHERE template = ? ORDER BY idx"
        template = Template(
            number,
            tuple([rows.tensor_of(row) for row in self._ask(rows.TENSORS.select(where), number)]),
            tuple([rows.moment_of(row) for row in self._ask(f"{rows.SELECT_MOMENTS} {where}", number)]),
            self._read_graphs(number),
            bumps,
            rows.calls_in(calls),
        )
        if [len(template.tensors), len(template.moments), len(template.graphs)] != counts:
            raise ValueError("some of its rows are missing")
        return sound(template)

    def _read_graphs(self, number: int) -> tuple[GradGraph, ...]:
        heads = self._ask(
            "SELECT graph, nodes, edges, roots FROM grad_graphs WHERE template = ? ORDER BY graph", number
        )
        where = "WHERE template = ? AND graph = ? ORDER BY idx"
        graphs = []
        for graph, node_count, edge_count, roots in heads:
            found = GradGraph(
                tuple([rows.grad_node_of(row) for row in self._ask(rows.GRAD_NODES.select(where), number, graph)]),
                tuple([rows.edge_of(row) for row in self._ask(f"{rows.SELECT_EDGES} {where}", number, graph)]),
                rows.numbers(roots),
            )
            if (len(found.nodes), len(found.edges)) != (node_count, edge_count):
                raise ValueError("some rows of a grad graph are missing")
            graphs.append(found)
        return tuple(graphs)
