"""Following: what is new in a trace that is being written, and how its script ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.errors import NotATrace, TraceFileError
from gradscope.model.graph import GraphKind
from gradscope.model.trace import Trace
from gradscope.store import TraceWriter, open_trace
from gradscope.tui.follow import Follower
from gradscope.tui.session import Session
from tests import builders


def write(writer: TraceWriter, trace: Trace, steps: Iterable[int]) -> None:
    source = trace.source
    writer.put_info(replace(source.info(), status="running", exit_status=None))
    for put, table in (
        (writer.put_site, source.sites), (writer.put_stack, source.stacks), (writer.put_module, source.modules),
        (writer.put_parameter, source.parameters), (writer.put_optimizer, source.optimizers),
    ):  # fmt: skip
        for record in table().values():
            put(record)  # type: ignore[arg-type]
    for number in steps:
        row = source.step_row(number)
        writer.put_template(source.template(row.template))
        writer.put_step(row)
    writer.flush()


def test_news_are_told_once_and_the_end_too(tmp_path: Path) -> None:
    trace, path = builders.mlp_trace(4), tmp_path / "t.gradscope"
    writer = TraceWriter(path)
    follower = Follower(lambda: open_trace(path))
    first = follower.look()
    assert first is not None
    assert (list(first.steps), first.runs) == ([], True)
    assert follower.look() is None
    write(writer, trace, range(2))
    news = follower.look()
    assert news is not None
    assert list(news.steps) == [0, 1]
    assert follower.look() is None
    write(writer, trace, range(2, 4))
    writer.put_info(trace.info)
    writer.close()
    last = follower.look()
    assert last is not None
    assert (list(last.steps), last.runs) == ([0, 1, 2, 3], False)
    assert last.trace.step(3).moments == trace.step(3).moments
    for one in (first, news, last):
        one.trace.close()
    follower.close()


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    trace, path = builders.mlp_trace(2), tmp_path / "t.gradscope"
    follower = Follower(lambda: open_trace(path))
    assert follower.look() is None
    assert follower.missing
    writer = TraceWriter(path)
    write(writer, trace, range(2))
    news = follower.look()
    assert news is not None
    assert not follower.missing
    assert list(news.steps) == [0, 1]
    writer.close()
    news.trace.close()
    follower.close()


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.gradscope"
    TraceWriter(path).close()
    follower = Follower(lambda: open_trace(path))
    news = follower.look()
    assert news is not None
    news.trace.close()
    path.unlink()
    with pytest.raises(TraceFileError, match="there is no file"):
        follower.look()
    follower.close()


def test_a_file_that_is_no_trace_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.gradscope").write_text("no trace")
    follower = Follower(lambda: open_trace(tmp_path / "t.gradscope"))
    with pytest.raises(NotATrace):
        follower.look()


def test_a_session_reads_open_steps_anew() -> None:
    trace = builders.mlp_trace(3)
    row = trace.source.step_row(2)
    trace.source.put_step(row._replace(open=True))  # type: ignore[attr-defined]
    session = Session(trace)
    closed, running = session.load(1), session.load(2)
    graph = session.build(closed, GraphKind.BOTH)
    newer = builders.mlp_trace(5)
    session.renew(newer)
    assert session.load(1) is closed
    assert session.load(2) is not running
    assert session.build(session.load(2), GraphKind.BOTH) is graph, "steps that did the same share a graph"
    assert session.load(4).step.trace is newer


def test_names_that_a_second_model_changes_change_in_what_was_read_before() -> None:
    trace = builders.mlp_trace(2)
    session = Session(trace)
    loaded = session.load(0)
    graph = session.build(loaded, GraphKind.BOTH)
    assert {node.module for node in graph.nodes if node.name == "fc1.weight"} == {"fc1"}
    later = builders.mlp_trace(2)
    teacher = builders.TraceBuilder("")
    teacher.source = later.source  # type: ignore[assignment]
    teacher.parameter("fc1.weight", (8, 4), root="teacher")
    session.renew(later)
    assert session.step(0) is None
    renamed = session.build(session.load(0), GraphKind.BOTH)
    assert {node.module for node in renamed.nodes if node.name == "model.fc1.weight"} == {"model.fc1"}
    session.renew(later)
    assert session.step(0) is not None, "nothing changed"
