"""Where a trace file is made: what is replaced, what never is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gradscope.errors import BeingWritten, CannotWrite
from gradscope.store import TraceWriter, being_written, open_trace
from tests.builders import ab2_trace
from tests.unit.store.helpers import write


def test_a_trace_that_is_being_written_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.gradscope"
    writer = TraceWriter(path)
    assert being_written(path)
    with pytest.raises(BeingWritten, match=r"t\.gradscope is being written by another run"):
        TraceWriter(path, overwrite=True)
    writer.put_info(ab2_trace().info)
    writer.close()
    assert not being_written(path)
    with open_trace(path) as trace:
        assert trace.info == ab2_trace().info
    write(ab2_trace(), path, overwrite=True)


def test_what_is_no_trace_is_not_being_written(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    assert not being_written(tmp_path / "text")
    assert not being_written(tmp_path / "missing")
    assert not being_written(tmp_path)


def test_of_many_that_want_one_name_one_gets_it(tmp_path: Path) -> None:
    path, together = write(ab2_trace(), tmp_path / "t.gradscope"), threading.Barrier(6)
    got: list[TraceWriter] = []
    refused: list[CannotWrite] = []

    def open_it() -> None:
        together.wait()
        try:
            got.append(TraceWriter(path, overwrite=True))
        except BeingWritten as error:
            refused.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in got:
        writer.close()
    assert (len(got), len(refused)) == (1, 5)
    assert [one.name for one in tmp_path.iterdir()] == ["t.gradscope"]
