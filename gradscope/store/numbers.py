"""The file numbers that SQLite holds in a process that is not ours.

The program may close all numbers that it does not know (daemons do) and open files of its own, which then have
them: SQLite would write its pages there. So the numbers are looked at before each transaction. They are high ones:
the program's own files get those that they would have without us.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIDE_FILES = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
_HIGH = 200
_OURS = 8  # files of ours that must find a number where fewer than that are allowed
_LISTS = ("/proc/self/fd", "/dev/fd")  # where a system shows a process its numbers

_Number = tuple[int, int, int]  # itself, and the device and inode of its file


class NumbersTaken(Exception):
    """A number of SQLite's is another file's now, or none's."""


@contextmanager
def high_numbers() -> Iterator[None]:
    """What is opened in this block gets a high number: the low ones are taken meanwhile."""
    taken: list[int] = []
    try:
        try:
            while not taken or taken[-1] < _HIGH:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:  # so many are not allowed: the highest of those that are
            for number in taken[-_OURS:]:
                os.close(number)
            del taken[-_OURS:]
        yield
    finally:
        for number in taken:
            os.close(number)


def held_for(path: Path) -> list[_Number]:
    """The numbers of the database at `path` and of its side files; none where the system does not tell them."""
    files = set()
    for side in (path, *(path.with_name(path.name + suffix) for suffix in SIDE_FILES)):
        if side.exists():
            stat = side.stat()
            files.add((stat.st_dev, stat.st_ino))
    found = []
    for number in _open_numbers():
        try:
            stat = os.fstat(number)
        except OSError:  # that of the list itself
            continue
        if (stat.st_dev, stat.st_ino) in files:
            found.append((number, stat.st_dev, stat.st_ino))
    return found


def _open_numbers() -> list[int]:
    folder = next((Path(name) for name in _LISTS if Path(name).is_dir()), None)
    return [] if folder is None else [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]


def check(numbers: list[_Number]) -> None:
    """Raise NumbersTaken unless each file is still there under one of its numbers.

    Another connection of the same process, which reads the file, may have closed those that were its own.
    """
    left = {number[1:] for number in numbers}
    for number, *file in numbers:
        try:
            stat = os.fstat(number)
        except OSError:
            continue
        if (stat.st_dev, stat.st_ino) == tuple(file):
            left.discard((stat.st_dev, stat.st_ino))
    if left:
        raise NumbersTaken


def abandon(connection: sqlite3.Connection) -> None:
    """Never close it, not even when the interpreter ends: closing it would close the program's files."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
