"""A read-only connection to a trace file, with SQLite's errors in the words of ours."""

from __future__ import annotations

import difflib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ..errors import DamagedTrace, NewerTrace, NoSuchFile, NotATrace, OlderTrace, TraceFileError
from ..text import elide, printable
from . import schema
from .alive import lives
from .numbers import high_numbers

R = TypeVar("R")
_SETTINGS = (
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",  # nothing in the file's own schema may call functions
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",  # a file that shrinks under us must be an error, not a crash
    "PRAGMA busy_timeout = 5000",
)


def is_trace(path: str | os.PathLike[str]) -> bool:
    """Whether there is a trace file at `path`, of whatever version, running or damaged."""
    try:
        Connection(Path(path)).close()
    except (NewerTrace, OlderTrace, DamagedTrace):
        return True
    except TraceFileError:
        return False
    return True


def being_written(path: str | os.PathLike[str]) -> bool:
    """Whether a trace file is at `path` whose writer lives and has not closed it."""
    try:
        connection = Connection(Path(path))
    except TraceFileError:
        return False
    try:
        rows = connection.using(lambda open: open.execute("SELECT pid, token, host, heartbeat FROM writer").fetchall())
    except TraceFileError:
        return False
    finally:
        connection.close()
    return any(lives(*row) for row in rows)


class Connection:
    """Opens a trace file for reading and checks that it is one.

    Raises TraceFileError, NotATrace, NewerTrace, OlderTrace or DamagedTrace. The file is opened through SQLite only:
    opening and closing it by other means would drop the locks of a writer in the same process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self.using(lambda _: None)

    def using(self, ask: Callable[[sqlite3.Connection], R]) -> R:
        """`ask` with the open connection."""
        if self._closed:
            raise TraceFileError(f"{self.path} was closed: open it again")
        try:
            if self._connection is None:
                with high_numbers():  # in a traced process the low ones are the program's
                    self._connection = self._open()
            return ask(self._connection)
        except (sqlite3.Error, MemoryError, UnicodeError) as error:  # Unicode: SQLite quotes broken names
            raise self._explained(error) from None

    def reopen(self) -> None:
        """Let go of the file until the next question, so that its writer can tidy up."""
        self._drop()

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    # -- opening -------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        self._look()
        connection = self._connect(self.path, "mode=ro")
        try:
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            except sqlite3.OperationalError as error:
                if not _needs_side_files(error):
                    raise
                connection.close()
                connection = self._connect_without_writing()
            self._verify(connection)
            return connection
        except BaseException:
            connection.close()
            raise

    def _look(self) -> None:
        try:
            if self.path.is_dir():
                raise TraceFileError(f"{self.path} is a folder, not a trace file{_suggest_in(self.path)}")
            if not self.path.exists():
                raise NoSuchFile(f"there is no file {self.path}{_suggest_near(self.path)}")
            if not self.path.is_file():
                raise NotATrace(f"{self.path} is not a regular file, so it is no trace")
            if not os.access(self.path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
                raise TraceFileError(f"no permission to read {self.path}")
            if self.path.stat().st_size == 0:
                raise NotATrace(f"{self.path} is empty, so it is no trace")
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise TraceFileError(f"cannot read {str(self.path)!r}: {error}") from None

    def _connect(self, path: Path, how: str) -> sqlite3.Connection:
        uri = f"file:{quote(str(path.absolute()))}?{how}"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
        for setting in _SETTINGS:
            connection.execute(setting)
        return connection

    def _connect_without_writing(self) -> sqlite3.Connection:
        """For a file in a folder closed to us whose program was killed: SQLite wants to write next to it."""
        log = self.path.with_name(self.path.name + "-wal")
        if not log.exists():
            return self._connect(self.path, "mode=ro&immutable=1")
        self._copy = tempfile.TemporaryDirectory(prefix="gradscope-")
        target = Path(self._copy.name) / "copy.gradscope"
        shutil.copy(self.path, target)
        shutil.copy(log, target.with_name(target.name + "-wal"))
        return self._connect(target, "mode=ro")

    def _verify(self, connection: sqlite3.Connection) -> None:
        identity = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if identity != schema.APPLICATION_ID:
            raise NotATrace(f"{self.path} is a database of another program, not a gradscope trace")
        if version > schema.VERSION:
            raise NewerTrace(
                f"{self.path} was written by a newer gradscope (schema {version}, this one reads up to "
                f"{schema.VERSION}): pip install -U torch-gradscope"
            )
        if version < schema.OLDEST:
            raise OlderTrace(
                f"{self.path} was made by another version of gradscope (schema {version}, this one reads "
                f"{schema.OLDEST} to {schema.VERSION}): record it again"
            )
        wrong = schema.defects(connection, version)
        if wrong:
            raise DamagedTrace(f"{self.path} is damaged: its table {wrong[0]} is missing or foreign")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA query_only = OFF")
        schema.complete(connection, version)
        connection.execute("PRAGMA query_only = ON")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        log = self.path.with_name(self.path.name + "-wal")
        there = self.path.stat().st_size
        if there < size * pages and not log.exists():
            raise DamagedTrace(f"{self.path} is truncated: {there:,} of {size * pages:,} bytes are there")

    def _explained(self, error: Exception) -> TraceFileError:
        text = elide(printable(str(error)), 160)  # SQLite quotes the file, which may hold anything
        if "not a database" in text:
            return NotATrace(f"{self.path} is not a gradscope trace")
        if "locked" in text or "busy" in text:
            return TraceFileError(f"{self.path} is locked by another program: try again")
        if "unable to open" in text or "readonly" in text:
            return TraceFileError(f"cannot read {self.path}: {text}")
        return DamagedTrace(f"{self.path} is damaged: {text or 'it asks for too much memory'}")


def _needs_side_files(error: sqlite3.Error) -> bool:
    return "unable to open" in str(error) or "readonly" in str(error)


def _suggest_near(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    names = [found.name for found in path.parent.glob("*.gradscope")]
    near = difflib.get_close_matches(path.name, names, n=1) or names[:1]
    return f"; did you mean {path.with_name(near[0])}?" if near else ": `gradscope trace SCRIPT` makes one"


def _suggest_in(folder: Path) -> str:
    found = sorted(folder.glob("*.gradscope"))
    return f"; it holds {found[0]}" if found else ""
