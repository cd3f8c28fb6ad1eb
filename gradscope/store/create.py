"""Making the file that a trace is written to. Nothing that exists is touched before the new file is whole."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from ..errors import BeingWritten, CannotWrite
from . import schema
from .alive import this_writer
from .connect import being_written
from .numbers import SIDE_FILES, high_numbers


def make_file(path: Path, *, overwrite: bool) -> None:
    """An empty trace at `path`. Raises CannotWrite when there is something in the way.

    With `overwrite` the file that is there is replaced, whatever it is; it stays as it is until the new
    one is complete. Raises BeingWritten for a trace that a living process writes: that one is never replaced.
    """
    _look(path, overwrite)
    draft = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise CannotWrite(f"cannot write {str(path)!r}: {_reason(error)}") from None
    try:
        with high_numbers(), closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            schema.create(connection)
            connection.execute("INSERT INTO writer VALUES (?, ?, ?, ?)", this_writer())
            connection.execute("COMMIT")
        with _alone_in(path.parent):
            _look(path, overwrite)
            draft.replace(path)
            for suffix in SIDE_FILES:  # of the file that was replaced: they are no part of the new one
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    except CannotWrite:
        draft.unlink(missing_ok=True)
        raise
    except (OSError, sqlite3.Error) as error:
        draft.unlink(missing_ok=True)
        raise CannotWrite(f"cannot write {path}: {_reason(error)}") from None


def _look(path: Path, overwrite: bool) -> None:
    try:
        if path.is_dir():
            raise CannotWrite(f"cannot write {path}: it is a folder; name a file, such as {path / 'trace.gradscope'}")
        if not path.parent.is_dir():
            raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}")
        if path.exists() and not path.is_file():
            raise CannotWrite(f"cannot write {path}: it is not a regular file")
        if path.is_file() and being_written(path):
            raise BeingWritten(f"{path} is being written by another run: choose another name, or wait for its end")
        if path.exists() and not overwrite:
            raise CannotWrite(f"{path} exists already: choose another name, or allow it to be replaced (--force)")
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {_reason(error)}") from None


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One at a time of the processes that put a trace into `folder`; where there are no locks, all at once."""
    with ExitStack() as opened:
        try:
            import fcntl

            place = os.open(folder, os.O_RDONLY)
            opened.callback(os.close, place)
            fcntl.flock(place, fcntl.LOCK_EX)
        except (ImportError, OSError):  # Windows, which replaces no open file anyway; some network drives
            pass
        yield


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to write in this folder"
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
