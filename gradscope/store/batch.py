"""What the writer's thread does with records: one transaction after another on its own connection."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from ..model.codec import dumps, to_json
from ..model.growth import Growth
from ..model.moments import Template
from ..model.packed_samples import Entries, PackedSamples
from ..model.records import Module, Optimizer, Parameter, Sample, Site, Stack, StepRow, TraceInfo
from ..model.repeats import Repeats
from . import packed, rows
from .blocks import pack_block, runs
from .faults import Faults
from .packed import Layout
from .rows import text
from .schema import TEMPLATE_TABLES
from .step_reader import StepReader
from .template_writer import AT_ONCE, write_growth
from .versions import Versions

_SITE, _STACK, _MODULE = rows.SITES.insert(), rows.STACKS.insert(), rows.MODULES.insert()
_PARAMETER, _OPTIMIZER = rows.PARAMETERS.insert(), rows.OPTIMIZERS.insert()
_BLOCK = "INSERT OR REPLACE INTO repeats VALUES (?, ?, ?, ?, ?)"
_HAS_STEP = "SELECT 1 FROM steps WHERE number = ?"

MAX_LAYOUTS = 64  # of samples, that are remembered: where every step has its own they would pile up
_ABOUT_THE_FILE = (sqlite3.OperationalError, sqlite3.InternalError, OSError)


class Batch:
    """Writes records between `begin` and `commit`. Raises sqlite3.Error when the disk does not take them.

    A record that cannot be written is left out, or stands there without its facts; the trace's `faults` say so.
    """

    def __init__(self) -> None:
        self._layouts: dict[Layout, int] = {}
        self._steps: list[tuple[StepRow, rows.Row]] = []  # not written yet
        self._repeats: list[Repeats] = []  # that steps are taken from
        self._step_key: object = None
        self._step_layout = -1  # of the step written last, whose key that is
        self._sample_layouts: dict[Entries, int] = {}
        self._sample_layout_count = 0
        self._last_entries: Entries | None = None
        self._last_layout = 0
        self._sampled: dict[int, tuple[PackedSamples, rows.Row]] = {}  # not written yet, by step
        self._stated: dict[int, dict[int, int]] = {}  # versions that deleting earlier steps made us state
        self._owed: dict[int, int] | None = None  # the same, for a step that is not there yet
        self._deleted = False
        self._after: list[Callable[[], object]] = []
        self._faults = Faults()

    # -- transactions --------------------------------------------------------------------------------

    def use(self, connection: sqlite3.Connection) -> None:
        """Write on this connection from now on. What earlier ones wrote is known."""
        self._connection = connection
        self._execute = connection.execute

    def begin(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._take_repeats()
        self._write_steps()
        self._write_samples()
        self._faults.write(self._execute)
        self._execute("COMMIT")
        after, self._after = self._after, []
        for call in after:
            call()

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this when the present transaction is in the file."""
        self._after.append(call)

    def heartbeat(self) -> None:
        self._execute("UPDATE writer SET heartbeat = ?", (time.time(),))

    def finish(self) -> None:
        """Drop what nothing refers to and leave one file without side files."""
        self.begin()
        for name in TEMPLATE_TABLES:
            self._execute(f"DELETE FROM {name} WHERE template NOT IN (SELECT template FROM steps)")  # noqa: S608
        self._execute("DELETE FROM templates WHERE id NOT IN (SELECT template FROM steps)")
        if self._deleted:
            self._execute("DELETE FROM samples WHERE step NOT IN (SELECT number FROM steps)")
            self._execute("DELETE FROM sample_layouts WHERE id NOT IN (SELECT layout FROM samples)")
        self._execute("UPDATE writer SET pid = NULL, heartbeat = ?", (time.time(),))
        self.commit()
        self._execute("PRAGMA busy_timeout = 1000")
        try:
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            # A reader has the file open: it stays as it is, whole, with an empty side file.

    # -- what cannot be written ------------------------------------------------------------------------

    def put(self, write: Callable[[Batch, Any], None], record: Any) -> None:
        """Write a record; it is left out when it is the record that is at fault and not the file."""
        try:
            write(self, record)
        except _ABOUT_THE_FILE:
            raise
        except Exception as error:  # a value of the script's that no column holds
            if type(error) is sqlite3.DatabaseError:
                raise
            self._faults.add(record, error)

    # -- records -------------------------------------------------------------------------------------

    def info(self, info: TraceInfo) -> None:
        data = to_json(info)
        self._faults.recorded(info.faults)
        for item in fields(info):
            if item.name in data:
                self._execute("INSERT OR REPLACE INTO info VALUES (?, ?)", (item.name, text(dumps(data[item.name]))))
            else:
                self._execute("DELETE FROM info WHERE key = ?", (item.name,))

    def site(self, site: Site) -> None:
        self._execute(_SITE, rows.SITES.to_row(site))

    def stack(self, stack: Stack) -> None:
        self._execute(_STACK, rows.STACKS.to_row(stack))

    def module(self, module: Module) -> None:
        self._execute(_MODULE, rows.MODULES.to_row(module))

    def parameter(self, parameter: Parameter) -> None:
        self._execute(_PARAMETER, rows.PARAMETERS.to_row(parameter))

    def optimizer(self, optimizer: Optimizer) -> None:
        self._execute(_OPTIMIZER, rows.OPTIMIZERS.to_row(optimizer))

    def samples(self, samples: Sequence[Sample]) -> None:
        if isinstance(samples, PackedSamples):
            self._samples(samples)
            return
        by_step: dict[int, list[Sample]] = {}
        for sample in samples:
            if self._fits(sample):
                by_step.setdefault(sample.step, []).append(sample)
        for step, group in by_step.items():
            self._samples(PackedSamples.of(step, group))

    def _fits(self, sample: Sample) -> bool:
        """Whether a sample can be packed; the others are written without one that cannot."""
        try:
            PackedSamples.of(sample.step, [sample])
        except Exception as error:  # noqa: BLE001  # told in the trace's faults
            self._faults.add(sample, error)
            return False
        return True

    def _samples(self, samples: PackedSamples) -> None:
        entries = samples.entries
        if entries != self._last_entries:
            self._last_layout = self._sample_layout(entries)
            self._last_entries = entries
        if len(self._sampled) == AT_ONCE or samples.step in self._sampled:
            self._write_samples()
        row = (samples.step, self._last_layout, samples.stats, samples.values)
        self._sampled[samples.step] = (samples, row)

    def _write_samples(self) -> None:
        """Insert the samples that wait, of another step each."""
        waiting, self._sampled = list(self._sampled.values()), {}
        self._insert(waiting, _insert_samples)

    def _insert(self, waiting: Sequence[tuple[object, rows.Row]], statement: Callable[[int], str]) -> None:
        """Insert records' rows, all in one statement: each statement hands the interpreter to the program."""
        if len(waiting) > 1:
            try:
                self._execute(statement(len(waiting)), [value for _, values in waiting for value in values])
                return
            except _ABOUT_THE_FILE:
                raise
            except Exception as error:  # noqa: BLE001  # one of them, which tells so when it is written by itself
                del error
        for record, values in waiting:
            self._insert_one(record, values, statement(1))

    def _insert_one(self, record: object, values: rows.Row, statement: str) -> None:
        try:
            self._execute(statement, values)
        except _ABOUT_THE_FILE:
            raise
        except Exception as error:  # noqa: BLE001
            self._faults.add(record, error)

    def _sample_layout(self, entries: Entries) -> int:
        """The id of the layout of these entries; the last few are remembered."""
        number = self._sample_layouts.get(entries)
        if number is None:
            number = self._sample_layout_count
            self._execute("INSERT INTO sample_layouts VALUES (?, ?)", (number, text(packed.entries_text(entries))))
            self._sample_layout_count += 1
            if len(self._sample_layouts) >= MAX_LAYOUTS:
                del self._sample_layouts[next(iter(self._sample_layouts))]
            self._sample_layouts[entries] = number
        return number

    def unfinished(self, found: tuple[Growth, StepRow]) -> None:
        """A step that goes on. When it has ended meanwhile, it is taken or put after this."""
        growth, row = found
        self.growth(growth)
        self._step(row)

    def repeats(self, repeats: Repeats) -> None:
        self._take_repeats()  # of the steps before them
        self._repeats.append(repeats)

    def waiting(self) -> bool:
        """Whether there are steps to take."""
        return any(repeats.waiting() for repeats in self._repeats)

    def _take_repeats(self) -> None:
        for repeats in tuple(self._repeats):
            over = repeats.over  # before taking: then nothing comes after
            if repeats.waiting():
                self._write_repeats(repeats)
            if over:
                self._repeats.remove(repeats)

    def _write_repeats(self, repeats: Repeats) -> None:
        """Write what was added: as blocks, but as rows where steps are deleted."""
        row, layout = repeats.row, self._layout_of(repeats.row)
        if self._deleted:
            for values in packed.repeated_rows(row, repeats.width, repeats.take(), layout):
                self._wait(row, values, ())
            return
        self._write_steps()  # the blocks' steps are like the last of them
        for first, numbers in runs(repeats.take(), repeats.width):
            count, together = pack_block(row, numbers)
            self._execute("DELETE FROM steps WHERE number BETWEEN ? AND ?", (first, first + count - 1))  # unfinished
            self._execute(_BLOCK, (first, count, row.template, layout, together))

    def _write_blocks_as_rows(self) -> None:
        """From now on each step has a row of its own: steps are deleted."""
        reader = StepReader(lambda query, *values: self._execute(query, values).fetchall(), self._layout_read)
        for step in [step for chunk in reader.block_rows() for step in chunk]:
            self._step(step)
        self._write_steps()
        self._execute("DELETE FROM repeats")

    def _layout_read(self, number: int) -> Layout:
        return next(layout for layout, known in self._layouts.items() if known == number)

    def step(self, row: StepRow) -> None:
        self._take_repeats()
        try:
            self._step(row)
        except _ABOUT_THE_FILE:
            raise
        except Exception as error:  # noqa: BLE001  # the step is there, without the numbers that go with it
            self._faults.add(row, error)
            self._step(
                row._replace(
                    loss=None, learning_rates=(), norms=(), distances=(), phases=(), memory=None, kept=(), alive=None
                )
            )

    def _step(self, row: StepRow) -> None:
        self._wait(row, packed.step_row(row, self._layout_of(row)), row.versions)

    def _layout_of(self, row: StepRow) -> int:
        key = packed.layout_key(row)
        if key != self._step_key:
            self._step_layout, self._step_key = self._layout(Layout.of(row)), key
        return self._step_layout

    def _wait(self, row: StepRow, values: rows.Row, versions: Sequence[tuple[int, int]]) -> None:
        """Insert a step that states these versions together with the next ones."""
        number = values[0]
        if self._owed is not None:
            self._stated[number], self._owed = self._owed, None
        stated = self._stated.get(number) if self._stated else None
        if stated is not None:
            values = (*values[:11], _pairs({**stated, **dict(versions)}), *values[12:])
        self._steps.append((row, values))
        if len(self._steps) == AT_ONCE:
            self._write_steps()

    def _write_steps(self) -> None:
        """Insert the steps that wait."""
        waiting, self._steps = self._steps, []
        self._insert(waiting, _insert_steps)

    def _layout(self, layout: Layout) -> int:
        number = self._layouts.get(layout)
        if number is None:
            number = self._layouts[layout] = len(self._layouts)
            self._execute("INSERT INTO layouts VALUES (?, ?, ?, ?)", (number, *layout.to_row()))
        return number

    # -- templates -----------------------------------------------------------------------------------

    def template(self, template: Template) -> None:
        """Write a template, or replace the one of the same id."""
        size = (len(template.tensors), len(template.moments), len(template.graphs))
        self.growth(
            Growth(
                template.id,
                True,
                size,
                template.tensors,
                tuple(enumerate(template.moments)),
                tuple(enumerate(template.graphs)),
                template.version_bumps,
                template.calls,
            )
        )

    def growth(self, growth: Growth) -> None:
        """Write what a template has more than before, or in place of what was there."""
        write_growth(self._execute, self._faults, growth)

    # -- deleting ------------------------------------------------------------------------------------

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete steps; the step after a gap states the versions that can no longer be counted."""
        self._take_repeats()
        self._write_steps()
        self._write_samples()
        if not self._deleted:
            self._write_blocks_as_rows()
        self._deleted = True
        gone = {number for number in numbers if self._execute(_HAS_STEP, (number,)).fetchone()}
        versions = Versions()
        following: set[int] = set()
        for number in sorted(gone):
            after = self._execute("SELECT min(number) FROM steps WHERE number > ?", (number,)).fetchone()[0]
            if after is None:
                self._owed = versions.at(self._connection, number + 1)
            elif after not in gone:
                following.add(after)
        stated = {number: versions.at(self._connection, number) for number in sorted(following)}
        for number, known in stated.items():
            self._stated[number] = known
            self._execute("UPDATE steps SET versions = ? WHERE number = ?", (_pairs(known), number))
        for number in gone:
            self._stated.pop(number, None)
            self._execute("DELETE FROM steps WHERE number = ?", (number,))
        for number in numbers:
            self._execute("DELETE FROM samples WHERE step = ?", (number,))


@lru_cache(maxsize=AT_ONCE)
def _insert_samples(count: int) -> str:
    """The statement that inserts samples of so many steps."""
    return packed.INSERT_SAMPLES.format(", ".join(["(?, ?, ?, ?)"] * count))


@lru_cache(maxsize=AT_ONCE)
def _insert_steps(count: int) -> str:
    """The statement that inserts so many steps."""
    return ", (".join([packed.INSERT_STEP, *[packed.INSERT_STEP.partition("(")[2]] * (count - 1)])


def _pairs(values: dict[int, int]) -> str | None:
    return dumps([[key, value] for key, value in sorted(values.items())]) if values else None
