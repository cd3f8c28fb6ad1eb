"""`TraceWriter`: puts a recording into a file while the program runs.

`put_*` append to a queue and return; one daemon thread owns the database and commits about five times a
second. What cannot be written is remembered in `failed`, never raised into the program. While the program
forks the thread rests: SQLite must not be open across a fork, and Python warns of one with several threads.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..model.growth import Growth
from ..model.moments import Template
from ..model.records import Module, Optimizer, Parameter, Sample, Site, Stack, StepRow, TraceInfo
from ..model.repeats import Repeats
from ..model.source import Unfinished
from ..text import raised
from .alive import HEARTBEAT
from .batch import Batch
from .create import make_file
from .hidden import HiddenThread
from .numbers import NumbersTaken, abandon, check, held_for, high_numbers

INTERVAL = 0.2  # seconds between commits
BACKLOG = 200_000  # rows that may wait in memory before `put_*` waits for the disk
PATIENCE = 30.0  # seconds that a full backlog may stand still before writing is given up
PAUSE = 2.0  # seconds that a fork waits for the disk
_SETTINGS = ("PRAGMA journal_mode = WAL", "PRAGMA busy_timeout = 5000")

Put = tuple[Callable[[Batch, Any], None], Any, int]


class TraceWriter:
    """A `TraceSink` that writes a trace file.

    Raises CannotWrite at once when the file cannot be made (it exists and not `overwrite`, it is a folder,
    its folder is missing or closed to us). After that no method raises: when the disk is full or the
    file is taken away, writing stops and `failed` says why in one line.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.failed: str | None = None
        self._absolute = self.path.absolute()  # the program may change its folder
        make_file(self.path, overwrite=overwrite)
        stat = self._absolute.stat()
        self._file = (stat.st_dev, stat.st_ino)
        self._numbers: list[tuple[int, int, int]] = []  # that SQLite holds
        self._process = os.getpid()
        self._queue: deque[Put] = deque()
        self._put_rows = 0
        self._done_rows = 0
        self._wake = threading.Event()
        self._closing = False
        self._closed = False
        self._resting = False
        self._starts = threading.Lock()
        self._opened = threading.Event()
        self._batch = Batch()
        self._growing: Repeats | None = None
        self._ask: Unfinished = _nothing
        self._start()
        _rest_at_forks(self)

    # -- TraceSink -----------------------------------------------------------------------------------

    def put_info(self, info: TraceInfo) -> None:
        self._put(Batch.info, info, 1)

    def put_site(self, site: Site) -> None:
        self._put(Batch.site, site, 1)

    def put_stack(self, stack: Stack) -> None:
        self._put(Batch.stack, stack, 1)

    def put_module(self, module: Module) -> None:
        self._put(Batch.module, module, 1)

    def put_parameter(self, parameter: Parameter) -> None:
        self._put(Batch.parameter, parameter, 1)

    def put_optimizer(self, optimizer: Optimizer) -> None:
        self._put(Batch.optimizer, optimizer, 1)

    def put_template(self, template: Template) -> None:
        self._put(Batch.template, template, 1 + len(template.tensors) + len(template.moments))

    def put_growth(self, growth: Growth) -> None:
        """Write what a template has more, whose step goes on."""
        self._put(Batch.growth, growth, 1 + len(growth.tensors) + len(growth.moments))
        self._wake.set()  # the program may be killed

    def put_step(self, row: StepRow) -> None:
        """Write a step, or replace the one of the same number."""
        self._put(Batch.step, row, 1)

    def put_repeats(self, repeats: Repeats) -> None:
        """Write the steps that are added to `repeats`, as they come. Those put before it are over."""
        self._growing = repeats
        self._put(Batch.repeats, repeats, Repeats.LIMIT)

    def ask(self, unfinished: Unfinished) -> None:
        """Write what `unfinished`, asked by the thread whenever it has written all, tells of the step that goes on.

        A program that stands still tells nothing by itself, and it may be killed for that.
        """
        self._ask = unfinished

    def put_samples(self, samples: Sequence[Sample]) -> None:
        if samples:
            self._put(Batch.samples, samples, len(samples))

    def delete_steps(self, numbers: Sequence[int]) -> None:
        """Take steps and their samples out again; the versions of later steps stay right."""
        if numbers:
            self._put(Batch.delete, tuple(numbers), 1)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything put so far is in the file; False when it did not get there in time."""
        if self._elsewhere():
            return False
        written = threading.Event()
        self._put(lambda batch, _: batch.after_commit(written.set), None, 0)
        self._wake.set()
        end = time.monotonic() + timeout
        while not written.wait(0.05):
            self._go_on()
            if not self._thread.is_alive() or time.monotonic() > end:
                return written.is_set()
        return True

    def close(self) -> None:
        """Write what is left and leave one file, without side files. Closing twice does nothing."""
        if self._closed or self._elsewhere():
            return
        self._closed = True
        self._closing = True
        self._wake.set()
        self._thread.join(2 * PATIENCE)
        if self._resting:
            self._go_on()
            self._thread.join(2 * PATIENCE)
        self._ask = _nothing  # the one who answers need not live on with us
        if self._thread.is_alive():
            self._fail("the disk does not answer")

    def rest(self) -> None:
        """Write what there is and close the file until there is more to write; the thread ends."""
        if self._closed or self._elsewhere():
            return
        self._resting = True
        if self._growing is not None:
            self._growing.over = True  # what comes then is put, which starts a thread
        self._wake.set()
        self._thread.join(PAUSE)

    # -- the program's side --------------------------------------------------------------------------

    def _start(self) -> None:
        # The connection lives in the thread's frame only, so that a forked child never closes it.
        self._opened.clear()
        self._thread = HiddenThread(self._run)
        self._thread.start()
        self._opened.wait(PAUSE)  # the program's next file is to have its own number

    def _go_on(self) -> None:
        """Have a thread again after a rest."""
        if not self._starts.acquire(blocking=False):
            return  # another thread, or what a signal interrupted, is at it
        try:
            if self._resting and not self._thread.is_alive() and self.failed is None:
                self._resting = False
                self._start()
        finally:
            self._starts.release()

    def _elsewhere(self) -> bool:
        """Whether this is a forked child, in which the file is its parent's."""
        return os.getpid() != self._process

    def _put(self, write: Callable[[Batch, Any], None], record: Any, rows: int) -> None:
        if self.failed is not None or self._closed or self._elsewhere():
            return
        self._queue.append((write, record, rows))
        self._put_rows += rows
        if self._resting:
            self._go_on()
        if self._put_rows - self._done_rows > BACKLOG:
            self._wait_for_disk()

    def _wait_for_disk(self) -> None:
        """Let the thread catch up, so that memory stays bounded; give up when it does not move at all."""
        done, since = self._done_rows, time.monotonic()
        while self._put_rows - self._done_rows > BACKLOG and self._thread.is_alive():
            self._wake.set()
            time.sleep(0.002)
            if self._done_rows != done:
                done, since = self._done_rows, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                self._fail("the disk does not keep up")
                return

    def _fail(self, reason: str) -> None:
        if self.failed is None:
            self.failed = f"{self.path} is incomplete: {reason}; what was written before can be read"

    # -- the thread's side ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._same_file()
            with high_numbers():
                connection = _connected(self._absolute)
            self._numbers = held_for(self._absolute)
            self._opened.set()
            try:
                self._batch.use(connection)
                self._serve(self._batch)
            finally:
                self._let_go(connection)
        except NumbersTaken:
            self._fail("the program closed it")
        except (sqlite3.Error, OSError) as error:
            self._fail(_words(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the program it watches
            self._fail(f"a record could not be written ({raised(type(error).__name__, error)})")
        finally:
            self._opened.set()
            if self.failed is not None:
                self._queue.clear()

    def _let_go(self, connection: sqlite3.Connection) -> None:
        try:
            check(self._numbers)
        except NumbersTaken:
            abandon(connection)
            raise
        self._numbers = []
        connection.close()

    def _serve(self, batch: Batch) -> None:
        beat = 0.0
        while True:
            closing, resting = self._closing, self._resting
            now = time.monotonic()
            due = now - beat >= HEARTBEAT
            if self._queue or due or batch.waiting():
                self._same_file()
                batch.begin()
                if due:
                    batch.heartbeat()
                    beat = now
                self._drain(batch)
                batch.commit()
            unfinished = self._ask() if not closing and not self._queue else None
            if unfinished is not None:
                self._same_file()
                batch.begin()
                batch.put(Batch.unfinished, unfinished)
                batch.commit()
            if closing and not self._queue:
                self._same_file()
                with high_numbers():
                    batch.finish()
                self._numbers = held_for(self._absolute)  # the side files are gone
                return
            if resting:
                return
            if not self._queue or not closing:
                self._wake.wait(INTERVAL)
                self._wake.clear()

    def _drain(self, batch: Batch) -> None:
        """Write what is queued now; what comes while we do, up to a commit's worth."""
        for _ in range(len(self._queue)):
            write, record, rows = self._queue.popleft()
            batch.put(write, record)
            self._done_rows += rows
            if self.failed is not None:
                return

    def _same_file(self) -> None:
        """Raise FileNotFoundError when the file was taken away: SQLite would go on writing into nothing.

        Raises NumbersTaken where it would write into a file of the program's.
        """
        check(self._numbers)
        stat = self._absolute.stat()
        if (stat.st_dev, stat.st_ino) != self._file:
            raise FileNotFoundError


def _connected(path: Path) -> sqlite3.Connection:
    """A connection that has opened all its files, and its folder."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        connection.execute("PRAGMA synchronous = FULL")  # the first write that is synced opens the folder, too
        connection.execute("UPDATE writer SET heartbeat = ?", (time.time(),))
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _nothing() -> None:
    """Nobody has a step that goes on."""


_writers: weakref.WeakSet[TraceWriter] = weakref.WeakSet()
_hooked = False


def _rest_at_forks(writer: TraceWriter) -> None:
    global _hooked
    _writers.add(writer)
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(before=_rest)


def _rest() -> None:
    for writer in list(_writers):
        writer.rest()


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file was moved or removed while it was written"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error)
    return "the disk is full" if "full" in text else text
