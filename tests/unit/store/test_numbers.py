"""A writer's files and its thread are not among the program's own."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gradscope.store.numbers import NumbersTaken, check, held_for, high_numbers
from gradscope.store.writer import TraceWriter


def next_number() -> int:
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def test_a_writers_files_leave_the_next_number_free(tmp_path: Path) -> None:
    free = next_number()
    writer = TraceWriter(tmp_path / "x.gradscope")
    try:
        assert next_number() == free
    finally:
        writer.close()
    assert writer.failed is None


WITHOUT_STREAMS = """
import os, sys
from gradscope.store import TraceWriter
from tests import builders
from tests.unit.store.helpers import pour

def there(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False

writer = TraceWriter(sys.argv[1])
pour(builders.ab2_trace(), writer)
assert writer.flush()
told = [there(0)]
writer.close()
print(told, there(0), writer.failed)
"""


def test_a_number_that_the_program_lacks_stays_free(tmp_path: Path) -> None:
    """SQLite fills 0 to 2 up for good when it meets them free."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", WITHOUT_STREAMS, str(tmp_path / "x.gradscope")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=True,
    )
    assert done.stdout == "[False] False None\n"


def test_a_writers_thread_is_not_listed(tmp_path: Path) -> None:
    before = threading.enumerate()
    writer = TraceWriter(tmp_path / "x.gradscope")
    try:
        assert writer.flush()
        assert threading.enumerate() == before
    finally:
        writer.close()
    assert writer.failed is None


def test_where_few_files_are_allowed_ours_get_the_last() -> None:
    free, limits = next_number(), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 20, limits[1]))
    try:
        with high_numbers():
            assert free + 10 <= next_number() < free + 20
        assert next_number() == free
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_numbers_are_taken_when_none_of_them_is_the_files_any_more(tmp_path: Path) -> None:
    """One that a reader in the same process closes is not: it was the reader's own."""
    path = tmp_path / "x.db"
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA user_version = 1")
    alone = [number for number, *_ in held_for(path)]
    other = os.open(path, os.O_RDONLY)  # no lock is held that closing it could drop
    held = held_for(path)
    assert sorted(number for number, *_ in held) == sorted([*alone, other])
    os.close(other)
    check(held)
    writer.close()
    with pytest.raises(NumbersTaken):
        check(held)
