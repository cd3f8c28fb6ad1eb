"""Files that cannot be made, disks that fill up, files that are taken away: one clear line, nothing lost."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradscope.errors import CannotWrite
from gradscope.model.memory import MemorySource
from gradscope.store import TraceWriter, is_trace, open_trace, writer
from tests import builders
from tests.scripts import ROOT, run

from .helpers import everything, names, pour, shared_folder, why, without_privileges, write


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# -- making the file -------------------------------------------------------------------------------


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("do not lose me")
    with pytest.raises(CannotWrite) as error:
        TraceWriter(path)
    assert "exists already" in one_line(error)
    assert str(path) in one_line(error)
    assert path.read_text() == "do not lose me"
    write(builders.ab2_trace(), path, overwrite=True)
    assert is_trace(path)


def test_replacing_a_trace_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "t.gradscope"
    write(builders.mlp_trace(), path)
    for suffix in ("-wal", "-shm", "-journal"):
        (tmp_path / f"t.gradscope{suffix}").write_bytes(b"left by a killed program")
    trace = builders.ab2_trace()
    write(trace, path, overwrite=True)
    assert names(tmp_path) == ["t.gradscope"]
    with open_trace(path) as read:
        assert everything(read) == everything(trace)


def test_a_folder_a_missing_folder_and_a_device_are_refused(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "t.gradscope", f"there is no folder {tmp_path / 'no'}"),
        (Path("/dev/null"), "not a regular file"),
        (tmp_path / "zero\0byte", "cannot write"),
        (tmp_path / ("long" * 100), "too long"),
    ):
        with pytest.raises(CannotWrite) as error:
            TraceWriter(path, overwrite=True)
        assert words in one_line(error)
    assert names(tmp_path) == []


def test_a_folder_closed_to_us_is_refused() -> None:
    with shared_folder() as folder:
        folder.chmod(0o555)
        with without_privileges(), pytest.raises(CannotWrite) as error:
            TraceWriter(folder / "t.gradscope")
    assert "no permission" in one_line(error)


def test_what_is_no_trace_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("SQLite format 4")
    (tmp_path / "empty").write_bytes(b"")
    assert not any(is_trace(path) for path in (tmp_path, tmp_path / "text", tmp_path / "empty", tmp_path / "absent"))


# -- while it is written ---------------------------------------------------------------------------


def until_failed(sink: TraceWriter) -> None:
    row = builders.mlp_trace(2).step(1).row
    end = time.monotonic() + 20
    number = 2
    while sink.failed is None and time.monotonic() < end:
        sink.put_step(row._replace(number=number))
        number += 1
        time.sleep(0.0001)


def test_a_full_disk_stops_the_writing_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_SETTINGS", (*writer._SETTINGS, "PRAGMA max_page_count = 60"))
    trace = builders.mlp_trace(2)
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, sink)
    assert sink.flush()
    until_failed(sink)
    assert "the disk is full" in why(sink)
    pour(trace, sink)  # goes nowhere, and says nothing
    assert not sink._queue
    assert not sink.flush()
    sink.close()
    with open_trace(sink.path) as read:
        assert read.step(1).row == trace.step(1).row
        assert read.step(1).template == trace.step(1).template


def test_a_limit_on_file_size_stops_the_writing_only(tmp_path: Path) -> None:
    """The operating system refuses: not SQLite's own limit, and not only in the database but in its log."""
    program = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from gradscope.store import TraceWriter
from tests import builders
from tests.unit.store.helpers import pour
from tests.unit.store.test_trouble import until_failed

resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
sink = TraceWriter(sys.argv[1])
pour(builders.mlp_trace(2), sink)
sink.flush()
until_failed(sink)
sink.close()
print(sink.failed)
"""
    path = tmp_path / "t.gradscope"
    done = run(["-c", program, str(path)], ROOT)
    assert done.status == 0, done.stderr
    assert done.stderr == ""
    assert "is incomplete" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    with open_trace(path) as read:
        assert read.step(1).template == builders.mlp_trace(2).step(1).template
        assert len(read.steps) > 100


def test_a_file_that_is_taken_away_stops_the_writing_only(tmp_path: Path) -> None:
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(builders.mlp_trace(2), sink)
    assert sink.flush()
    sink.path.unlink()
    until_failed(sink)
    sink.close()
    assert "moved or removed" in why(sink)


def test_a_step_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    sink = TraceWriter(tmp_path / "t.gradscope")
    trace = builders.mlp_trace(2)
    pour(trace, sink)
    sink.put_step(trace.step(1).row._replace(number=2**80))
    sink.put_step(trace.step(1).row._replace(number=2))
    assert sink.flush()
    with open_trace(sink.path) as read:
        assert read.steps == [0, 1, 2]
        assert all("OverflowError" in fault for fault in read.info.faults)
        assert len(read.info.faults) > 0
    sink.close()
    assert sink.failed is None


def test_a_program_that_outruns_the_disk_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BACKLOG", 50)
    sink = TraceWriter(tmp_path / "t.gradscope")
    trace = builders.mlp_trace(2)
    pour(trace, sink)
    row = trace.step(1).row
    most = 0
    for number in range(2, 3_000):
        sink.put_step(row._replace(number=number))
        most = max(most, len(sink._queue))
    sink.close()
    assert sink.failed is None
    assert most <= 60
    with open_trace(sink.path) as read:
        assert len(read.steps) == 3_000


def test_a_disk_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BACKLOG", 10)
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    sink = TraceWriter(tmp_path / "t.gradscope")
    lock = sqlite3.connect(sink.path, isolation_level=None)
    try:
        sink.flush()
        lock.execute("BEGIN IMMEDIATE")
        pour(builders.mlp_trace(3), sink)
        assert "keep up" in why(sink)
    finally:
        lock.close()
    sink.close()


def test_the_program_may_change_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = TraceWriter("t.gradscope")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    pour(builders.ab2_trace(), sink)
    sink.close()
    assert sink.failed is None
    assert names(tmp_path / "sub") == []
    with open_trace(tmp_path / "t.gradscope") as read:
        assert read.steps == [0]


def test_closing_twice_and_putting_after_closing_do_nothing(tmp_path: Path) -> None:
    trace = builders.ab2_trace()
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, sink)
    sink.close()
    sink.close()
    pour(builders.mlp_trace(), sink)
    assert sink.failed is None
    with open_trace(sink.path) as read:
        assert everything(read) == everything(trace)


# -- records that no column holds --------------------------------------------------------------------


@pytest.mark.parametrize("table", ["sites", "modules", "parameters", "optimizers"])
def test_a_record_that_cannot_be_written_is_left_out_and_told(tmp_path: Path, table: str) -> None:
    trace = builders.mlp_trace()
    source = trace.source
    assert isinstance(source, MemorySource)
    records: dict[int, Any] = getattr(source, f"_{table}")
    last = max(records)
    records[last] = replace(records[last], **{{"sites": "line", "modules": "parent"}.get(table, "id"): 1 << 70})
    path = write(trace, tmp_path / "t.gradscope")
    with open_trace(path) as read:
        (fault,) = read.info.faults
        assert type(records[last]).__name__ in fault
        assert "too large" in fault or "OverflowError" in fault
        assert sorted(getattr(read.source, table)()) == [number for number in sorted(records) if number != last]
        assert list(read.source.step_rows()) == list(source.step_rows())
        assert read.info.status == "done"


def test_a_template_keeps_what_can_be_written(tmp_path: Path) -> None:
    trace = builders.mlp_trace()
    source = trace.source
    row = next(iter(source.step_rows()))
    template = source.template(row.template)
    tensors = (replace(template.tensors[0], shape=(1 << 70,), version=1 << 70), *template.tensors[1:])
    position = next(i for i, moment in enumerate(template.moments) if moment.kind == "op")
    moments = list(template.moments)
    moments[position] = replace(moments[position], arguments=object())
    graph = template.graphs[0] if template.graphs else None
    writer_ = TraceWriter(tmp_path / "t.gradscope")
    writer_.put_info(replace(source.info(), faults=("told by the recorder",)))
    for stack in source.stacks().values():
        writer_.put_stack(stack)
    writer_.put_template(replace(template, tensors=tensors, moments=tuple(moments)))
    writer_.put_step(row._replace(loss=object(), norms=()))  # type: ignore[arg-type]
    samples = source.samples(row.number)
    odd = replace(samples[0], subject=1 << 70)
    writer_.put_samples([odd, *samples[1:]])
    writer_.close()
    assert writer_.failed is None
    with open_trace(tmp_path / "t.gradscope") as read:
        told, *faults = read.info.faults
        assert told == "told by the recorder"
        assert [fault.partition(" ")[0] for fault in faults] == ["Tensor", "OpCall", "StepRow", "Sample"]
        found = read.source.template(row.template)
        assert found.tensors[1:] == template.tensors[1:]
        assert found.tensors[0].shape == ()
        assert found.moments[position].kind == "note"
        assert [m for i, m in enumerate(found.moments) if i != position] == [
            m for i, m in enumerate(template.moments) if i != position
        ]
        assert (found.graphs[0] if found.graphs else None) == graph
        assert read.source.step_row(row.number).loss is None
        assert list(read.source.samples(row.number)) == list(samples[1:])


DAEMON = """
import os, sys
from pathlib import Path
from gradscope.store import TraceWriter, open_trace
from tests import builders
from tests.unit.store.helpers import pour

first = open(os.devnull).fileno()
writer = TraceWriter(sys.argv[1])
print(first == open(os.devnull).fileno())
pour(builders.ab2_trace(), writer)
print(writer.flush())
os.closerange(first, 1024)
files = [open(Path(sys.argv[2], str(number)), "w+") for number in range(250)]
for file in files:
    file.write("mine")
    file.flush()
pour(builders.ab2_trace(), writer)
writer.flush(1)
writer.close()
print(writer.failed)
for file in files:
    file.write(" still")
"""


def test_a_program_that_closes_all_files_keeps_its_own(tmp_path: Path) -> None:
    """What it opens then has the numbers that SQLite held."""
    path, folder = tmp_path / "run.gradscope", tmp_path / "files"
    folder.mkdir()
    done = run(["-c", DAEMON, str(path), str(folder)], ROOT)
    assert done.status == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["True", "True"]
    assert "is incomplete: the program closed it" in done.stdout
    assert {file.read_text() for file in folder.iterdir()} == {"mine still"}
    with open_trace(path) as trace:
        assert trace.steps
