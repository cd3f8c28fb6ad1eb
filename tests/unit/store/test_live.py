"""A trace that is still being written, by a process that may be killed or fork at any moment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from traceback import walk_stack
from types import FrameType

import pytest

from gradscope.model.records import Detail, TraceInfo
from gradscope.model.repeats import Repeats
from gradscope.store import TraceWriter, alive, open_trace
from gradscope.store.hidden import HiddenThread
from tests import builders
from tests.scripts import ROOT, run

from .helpers import everything, in_memory, numbers_of, pour, shared_folder, sql, without_privileges, write

RUNNING = TraceInfo("train.py", (), "0", "3", "2", "now", Detail.AUTO)

WRITE_ON = """
import sys, time
from dataclasses import replace
from gradscope.store import TraceWriter
from tests import builders
from tests.unit.store.helpers import pour
from tests.unit.store.test_live import RUNNING

trace = builders.mlp_trace(2)
sink = TraceWriter(sys.argv[1])
pour(trace, sink)
sink.put_info(RUNNING)
row = trace.step(1).row
for number in range(2, 1_000_000):
    sink.put_step(row._replace(number=number))
    sink.put_samples([replace(sample, step=number) for sample in trace.step(1).samples[:4]])
    print(number, flush=True)
    time.sleep(0.001)
"""


@contextmanager
def writing(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that writes a trace until it is killed, and prints each step's number."""
    process = subprocess.Popen([sys.executable, "-c", WRITE_ON, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_for(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= number:
            return
    raise AssertionError("the writing process ended early")


@pytest.mark.parametrize("steps", [3, 40, 700, 1500])
def test_a_killed_program_leaves_all_but_the_last_half_second(steps: int, tmp_path: Path) -> None:
    path = tmp_path / "t.gradscope"
    with writing(path) as process:
        wait_for(process, steps)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        trace = builders.mlp_trace(2)
        with open_trace(path) as read:
            assert read.info == replace(RUNNING, status="killed")
            assert set(range(steps + 1)) <= set(read.steps)
            last = read.step(read.steps[-1])
            assert last.row._replace(number=1) == trace.step(1).row
            assert last.template == trace.step(1).template
            assert len(last.samples) in (0, 4)
            assert last.versions == dict.fromkeys(range(4), last.number)
            assert last.graph().nodes


@pytest.mark.parametrize("lacking", ["", "-shm", "-wal"])
def test_a_killed_program_s_trace_opens_where_nothing_can_be_written(lacking: str) -> None:
    with shared_folder() as folder:
        path = folder / "t.gradscope"
        with writing(path) as process:
            wait_for(process, 60)
            time.sleep(0.5)
            process.kill()
            process.wait()
        assert path.with_name("t.gradscope-wal").stat().st_size > 0
        if lacking:
            path.with_name(path.name + lacking).unlink()
        before = {found.name: found.read_bytes() for found in folder.iterdir() if found.suffix != ".gradscope-shm"}
        for found in folder.iterdir():
            found.chmod(0o444)
        folder.chmod(0o555)
        with without_privileges(), open_trace(path) as read:
            if lacking != "-wal":  # with its log a trace loses what the log held, but opens
                assert read.info.status == "killed"
                assert len(read.steps) >= 60
                assert read.step(60).graph().nodes
        assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_running_trace_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "t.gradscope"
    with writing(path) as process:
        wait_for(process, 5)
        time.sleep(0.5)
        with open_trace(path) as read:
            assert read.info.status == "running"
            seen = len(read.steps)
            assert seen >= 5
            assert len(read.steps) == seen  # an answer is a snapshot
            wait_for(process, 200)
            time.sleep(0.5)
            read.source.refresh()
            assert len(read.steps) > max(seen, 200)
            process.kill()
            process.wait()
            read.source.refresh()
            assert read.info.status == "killed"


def test_a_reader_does_not_keep_the_writer_from_finishing(tmp_path: Path) -> None:
    trace = builders.mlp_trace()
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, sink)
    assert sink.flush()
    read = open_trace(sink.path)
    assert read.steps == [0, 1, 2]
    sink.close()
    assert sink.failed is None
    read.source.refresh()
    assert everything(read) == everything(trace)
    read.close()
    with open_trace(sink.path) as again:
        assert everything(again) == everything(trace)


def test_the_writer_s_own_process_reads_while_it_writes(tmp_path: Path) -> None:
    sink = TraceWriter(tmp_path / "t.gradscope")
    sink.put_info(RUNNING)
    trace = builders.mlp_trace(4)
    with open_trace(sink.path) as empty:
        assert empty.info.status == "running"
        assert empty.steps == []
        assert empty.last_backward() is None
    for number in range(4):
        sink.put_template(trace.step(number).template)
        sink.put_step(trace.step(number).row)
        assert sink.flush()
        with open_trace(sink.path) as read:
            assert read.info == RUNNING
            assert read.steps == list(range(number + 1))
    sink.close()


def test_what_is_put_is_in_the_file_without_being_asked(tmp_path: Path) -> None:
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(builders.ab2_trace(), sink)
    time.sleep(0.5)
    with open_trace(sink.path) as read:
        assert read.steps == [0]
    sink.close()


def test_steps_that_are_added_are_in_the_file_without_being_asked(tmp_path: Path) -> None:
    trace = builders.mlp_trace(1)
    row = trace.step(0).row
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, sink)
    repeats = Repeats(row)
    sink.put_repeats(repeats)
    for number in range(1, 4):
        repeats.add(numbers_of(row._replace(number=number)))
        time.sleep(0.5)
        with open_trace(sink.path) as read:
            assert read.steps == list(range(number + 1))
    fork_and_wait()
    assert repeats.over  # what comes then is put, so that there is a thread again
    repeats = Repeats(row)
    sink.put_repeats(repeats)
    repeats.add(numbers_of(row._replace(number=4)))
    fork_and_wait()
    assert repeats.over
    with open_trace(sink.path) as read:
        assert read.steps == list(range(5))
        assert read.step(4).row.norms == row.norms
    sink.close()
    assert sink.failed is None


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forking with threads, as DataLoader's workers do
from gradscope.store import TraceWriter, open_trace
from tests import builders
from tests.unit.store.helpers import everything, pour

trace = builders.mlp_trace()
sink = TraceWriter(sys.argv[1])
pour(builders.mlp_trace(1), sink)
for _ in range(3):
    child = os.fork()
    if not child:
        pour(builders.ab2_trace(), sink)
        assert not sink.flush()
        sink.close()
        sys.exit(0)  # an ordinary exit: everything the child inherited is torn down
    assert os.waitpid(child, 0)[1] == 0
pour(trace, sink)
sink.close()
assert sink.failed is None, sink.failed
with open_trace(sys.argv[1]) as read:
    assert everything(read) == everything(trace)
print(os.listdir(os.path.dirname(sys.argv[1])))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_child_leaves_the_file_alone(tmp_path: Path) -> None:
    done = run(["-c", FORK, str(tmp_path / "t.gradscope")], ROOT)
    assert done.status == 0, done.stderr
    assert done.stdout.strip() == "['t.gradscope']"


def test_a_program_that_ends_without_closing_is_not_held_up(tmp_path: Path) -> None:
    program = "import sys; from gradscope.store import TraceWriter; w = TraceWriter(sys.argv[1])"
    done = run(["-c", program, str(tmp_path / "t.gradscope")], ROOT)
    assert (done.status, done.stderr) == (0, "")
    with open_trace(tmp_path / "t.gradscope") as read:
        assert read.info.status == "killed"


def test_who_lives_is_told_by_process_and_elsewhere_by_heartbeat() -> None:
    pid, token, host, now = alive.this_writer()
    assert alive.lives(pid, token, host, now)
    assert alive.lives(pid, token, host, 0.0)  # a process that was stopped for a while still lives
    assert not alive.lives(2**22 + 5, None, host, now)
    assert not alive.lives(None, None, host, now)
    if token is not None:
        assert not alive.lives(pid, token + "1", host, now)  # the number was given to another process
    assert alive.lives(1, "?", "elsewhere", time.time() - 5)
    assert not alive.lives(1, "?", "elsewhere", time.time() - 2 * alive.SILENT)
    assert not alive.lives(1, "?", "elsewhere", "now")
    assert not alive.lives(10**30, None, socket.gethostname(), now)


def test_a_trace_from_another_machine_goes_by_its_heartbeat(tmp_path: Path) -> None:
    trace = builders.ab2_trace()
    trace.source.put_info(RUNNING)  # type: ignore[attr-defined]
    path = write(trace, tmp_path / "t.gradscope")
    for age, status in ((1.0, "running"), (1_000.0, "killed")):
        sql(path, f"UPDATE writer SET pid = 7, host = 'elsewhere', heartbeat = {time.time() - age}")
        with open_trace(path) as read:
            assert read.info.status == status


def writers() -> list[FrameType]:
    """The outermost frames of the writers' threads, which `threading` does not list."""
    found = [frame for frame, _ in (list(walk_stack(frame))[-1] for frame in sys._current_frames().values())]
    return [frame for frame in found if frame.f_code is HiddenThread._to_its_end.__code__]


def fork_and_wait() -> None:
    with warnings.catch_warnings():  # the tests' process has other threads
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(0 if not writers() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_meets_no_thread_and_no_open_file(tmp_path: Path) -> None:
    trace = builders.mlp_trace(2)
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, sink)
    assert len(writers()) == 1
    fork_and_wait()
    fork_and_wait()
    assert not writers()
    assert [found.name for found in tmp_path.iterdir()] == ["t.gradscope"]
    with open_trace(sink.path) as read:
        assert everything(read) == everything(in_memory(trace))  # written before the fork


def test_a_trace_goes_on_after_a_fork(tmp_path: Path) -> None:
    trace = builders.mlp_trace(4)
    sink = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, sink)
    written = trace.step(3)
    for number in range(4, 9):
        fork_and_wait()
        sink.put_step(written.row._replace(number=number))
        assert len(writers()) == 1
    assert sink.flush()
    fork_and_wait()
    sink.put_samples([replace(sample, step=8) for sample in written.samples])
    fork_and_wait()
    assert sink.flush()
    sink.put_step(written.row._replace(number=9))
    fork_and_wait()
    sink.close()
    assert sink.failed is None
    assert [found.name for found in tmp_path.iterdir()] == ["t.gradscope"]
    with open_trace(sink.path) as read:
        assert read.info.status == trace.info.status
        assert read.steps == list(range(10))
        assert [replace(sample, step=3) for sample in read.step(8).samples] == list(written.samples)
        assert read.step(9).versions == dict.fromkeys(range(4), 9)


def test_a_file_that_is_taken_away_at_a_fork_is_not_made_anew(tmp_path: Path) -> None:
    sink = TraceWriter(tmp_path / "t.gradscope")
    fork_and_wait()
    sink.path.unlink()
    pour(builders.mlp_trace(2), sink)
    sink.close()
    assert sink.failed is not None
    assert "moved or removed" in sink.failed
    assert not list(tmp_path.iterdir())
