"""What is written is what is read."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.errors import CannotWrite, NoSuchStep
from gradscope.model.growth import Growth
from gradscope.model.memory import MemorySource
from gradscope.model.moments import Mutation, OpCall, Template
from gradscope.model.packed_samples import PackedSamples
from gradscope.model.records import Detail, Sample, Stats, TraceInfo
from gradscope.model.repeats import Repeats
from gradscope.model.trace import Trace
from gradscope.model.writers import op_of
from gradscope.store import SqliteSource, TraceWriter, is_trace, open_trace
from gradscope.store.batch import Batch
from gradscope.store.create import make_file
from gradscope.store.schema import APPLICATION_ID, OLDEST, VERSION
from tests import builders

from .helpers import everything, names, numbers_of, pour, write

TRACES: dict[str, Callable[[], Trace]] = {
    "ab2": builders.ab2_trace,
    "mlp": builders.mlp_trace,
    "frozen": lambda: builders.mlp_trace(frozen=True),
    "cut": builders.cut_trace,
    "move": builders.move_trace,
    "inplace": builders.inplace_trace,
    "deep": lambda: builders.deep_trace(500),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_file_answers_as_the_trace_it_was_made_from(name: str, tmp_path: Path) -> None:
    trace = TRACES[name]()
    with open_trace(write(trace, tmp_path / "t.gradscope")) as read:
        assert everything(read) == everything(trace)
        for number in trace.steps:
            for kind in ("forward", "backward", "both"):
                assert read.step(number).graph(kind) == trace.step(number).graph(kind)


def test_a_file_of_the_schema_before_is_read(tmp_path: Path) -> None:
    """Its mutations do not tell which op wrote: that is read from what stands before them."""
    trace = TRACES["inplace"]()
    path = write(trace, tmp_path / "t.gradscope")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE moments SET data = json_remove(data, '$.op') WHERE kind = 'mutation'")
        connection.execute(f"PRAGMA user_version = {OLDEST}")
        connection.commit()
    with open_trace(path) as read:
        for number in trace.steps:
            old, new = read.step(number).moments, trace.step(number).moments
            writes = [place for place, moment in enumerate(new) if isinstance(moment, Mutation)]
            assert [op_of(old, place) for place in writes] == [op_of(new, place) for place in writes] != []
            assert read.step(number).graph("both") == trace.step(number).graph("both")


def test_closing_leaves_one_file_that_is_a_trace(tmp_path: Path) -> None:
    path = write(builders.ab2_trace(), tmp_path / "t.gradscope")
    assert names(tmp_path) == ["t.gradscope"]
    assert is_trace(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_plain_sql_tells_the_story(tmp_path: Path) -> None:
    path = write(builders.ab2_trace(), tmp_path / "t.gradscope")
    with closing(sqlite3.connect(path)) as connection:
        ops = connection.execute("SELECT name FROM moments WHERE kind = 'op' ORDER BY idx").fetchall()
        leaves = connection.execute("SELECT name FROM tensors WHERE is_leaf AND requires_grad ORDER BY idx").fetchall()
        lines = connection.execute("SELECT code FROM sites ORDER BY line").fetchall()
        layout, stats = connection.execute("SELECT layout, stats FROM samples").fetchone()
        (entries,) = connection.execute("SELECT entries FROM sample_layouts WHERE id = ?", (layout,)).fetchone()
    assert ops == [("tensor",), ("tensor",), ("mul",), ("mul",)]
    assert leaves == [("A",), ("B",)]
    assert ("F = A * B",) in lines
    with_stats = [entry for entry in json.loads(entries) if entry[5]]
    sums = [numbers[1] for numbers in struct.iter_unpack("<q5d3q", stats)]
    assert {entry[3]: total for entry, total in zip(with_stats, sums) if entry[1] == "grad"} == {0: 40.0, 1: 20.0}


HOSTILE = (
    "'; DROP TABLE steps; --",
    'digraph { a -> "b" }',
    "<script>&amp;</script>",
    "two\nlines\0zero",
    "\udc80 é 텐서 \ud800",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_kind_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    trace = builders.ab2_trace()
    step = trace.step(0)
    source = trace.source
    assert isinstance(source, MemorySource)
    tensors = (replace(step.tensors[0], name=name), *step.tensors[1:])
    first = step.moments[0]
    assert isinstance(first, OpCall)
    moments = (replace(first, name=name), *step.moments[1:])
    source.put_template(replace(step.template, tensors=tensors, moments=moments))
    source.put_site(replace(source.sites()[0], file=name, code=name))
    source.put_info(replace(source.info(), script=name, arguments=(name, name)))
    with open_trace(write(trace, tmp_path / "t.gradscope")) as read:
        assert everything(read) == everything(trace)


def test_what_is_not_finite_survives(tmp_path: Path) -> None:
    trace = builders.ab2_trace()
    source = trace.source
    assert isinstance(source, MemorySource)
    odd = Stats(3, math.nan, math.inf, -math.inf, math.nan, 1e308, 0, 1, 2)
    source.put_samples([Sample(0, 90, 0, False, "value", odd, (math.nan, math.inf, -0.0), (3,))])
    source.put_step(source.step_row(0)._replace(loss=math.nan, norms=((0, math.nan, None), (1, None, math.inf))))
    with open_trace(write(trace, tmp_path / "t.gradscope")) as read:
        sample = read.source.samples(0)[-1]
        row = read.step(0).row
        norms = read.source.series(0), read.source.series(1), read.source.series(2)
    assert repr(sample.stats) == repr(odd)
    assert repr(sample.values) == "(nan, inf, -0.0)"
    assert repr((row.loss, row.norms)) == "(nan, ((0, nan, None), (1, None, inf)))"
    assert repr(norms) == "([(0, nan, None)], [(0, None, inf)], [])"


def test_norms_beyond_four_bytes_become_infinite(tmp_path: Path) -> None:
    trace = builders.ab2_trace()
    trace.source.put_step(trace.source.step_row(0)._replace(norms=((0, 1e300, 0.5),)))  # type: ignore[attr-defined]
    with open_trace(write(trace, tmp_path / "t.gradscope")) as read:
        assert read.step(0).row.norms == ((0, math.inf, 0.5),)


def test_a_step_put_again_replaces_the_first(tmp_path: Path) -> None:
    trace = builders.mlp_trace(2)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    writer.put_step(trace.step(1).row._replace(loss=0.125, norms=(), open=True))
    writer.close()
    with open_trace(writer.path) as read:
        assert read.step(1).row == trace.step(1).row._replace(loss=0.125, norms=(), open=True)
        assert read.steps == [0, 1]


def test_a_template_that_grows_under_its_number_is_the_last_one_put(tmp_path: Path) -> None:
    trace = builders.mlp_trace(1)
    whole = trace.step(0).template
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    for size in (3, 9, 5, len(whole.moments)):
        graphs = whole.graphs if size > 9 else ()
        writer.put_template(replace(whole, moments=whole.moments[:size], graphs=graphs))
        writer.flush()
    writer.close()
    with open_trace(writer.path) as read:
        assert read.step(0).template == whole


def test_templates_that_no_step_did_are_gone_at_the_end(tmp_path: Path) -> None:
    trace = builders.ab2_trace()
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    writer.put_template(replace(trace.step(0).template, id=7))
    writer.close()
    with closing(sqlite3.connect(writer.path)) as connection:
        for table in ("tensors", "moments", "grad_nodes", "grad_edges", "grad_graphs"):
            assert connection.execute(f"SELECT DISTINCT template FROM {table}").fetchall() == [(0,)]
        assert connection.execute("SELECT id FROM templates").fetchall() == [(0,)]


def test_deleting_steps_takes_their_samples_and_keeps_later_versions(tmp_path: Path) -> None:
    trace = builders.mlp_trace(6)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    writer.delete_steps([0, 1, 3])
    writer.close()
    with open_trace(writer.path) as read:
        assert read.steps == [2, 4, 5]
        assert [read.step(number).versions for number in (2, 4, 5)] == [
            trace.step(number).versions for number in (2, 4, 5)
        ]
        assert read.source.samples(1) == ()


def test_a_deleted_step_takes_its_samples_along_also_those_that_come_after_it(tmp_path: Path) -> None:
    trace = builders.mlp_trace(3)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    odd = replace(trace.step(1).samples[0], what="update")
    writer.delete_steps([1])
    writer.put_samples([odd])  # a device was late
    writer.close()
    with closing(sqlite3.connect(writer.path)) as connection:
        assert connection.execute("SELECT DISTINCT step FROM samples ORDER BY 1").fetchall() == [(0,), (2,)]
        layouts = connection.execute("SELECT id FROM sample_layouts ORDER BY 1").fetchall()
        assert layouts == connection.execute("SELECT DISTINCT layout FROM samples ORDER BY 1").fetchall()


@pytest.mark.parametrize("packed", [False, True], ids=["records", "packed"])
def test_samples_that_arrive_late_join_those_of_their_step_and_replace_equal_ones(packed: bool, tmp_path: Path) -> None:
    trace = builders.mlp_trace(3)
    first, *others = trace.step(1).samples
    again = replace(first, values=(1.5, -0.0), shape=(2,))
    late = replace(first, moment=first.moment + 1, stats=None)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    for group in ([again], [late]):
        writer.put_samples(PackedSamples.of(1, group) if packed else group)
        writer.flush()
    writer.close()
    with open_trace(writer.path) as read:
        key = lambda sample: (sample.moment, sample.what, sample.of_parameter, sample.subject)  # noqa: E731
        assert repr(read.source.samples(1)) == repr(tuple(sorted([again, late, *others], key=key)))
        assert read.source.samples(2) == tuple(trace.step(2).samples)


def test_steps_that_measured_the_same_share_a_layout_and_others_have_their_own(tmp_path: Path) -> None:
    trace = builders.mlp_trace(1)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)

    def measured(number: int) -> tuple[Sample, ...]:
        samples = (replace(sample, step=number) for sample in trace.step(0).samples)
        return tuple(replace(sample, shape=(number % 100, 1)) if number % 2 else sample for sample in samples)

    for number in range(1, 300):  # more than are remembered
        writer.put_step(trace.step(0).row._replace(number=number))
        writer.put_samples(measured(number))
    writer.close()
    with closing(sqlite3.connect(writer.path)) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (300,)
        assert connection.execute("SELECT count(*) FROM sample_layouts").fetchone()[0] < 200
    with open_trace(writer.path) as read:
        for number in (0, 1, 2, 99, 150, 299):
            assert read.source.samples(number) == measured(number)


def test_versions_stay_right_when_the_last_step_is_deleted_and_another_follows(tmp_path: Path) -> None:
    trace = builders.mlp_trace(3)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    writer.delete_steps([2])
    writer.put_step(trace.step(2).row._replace(number=3, versions=()))
    writer.close()
    with open_trace(writer.path) as read:
        assert read.step(3).versions == dict.fromkeys(range(4), 3)


def test_steps_that_were_added_come_before_those_put_after_them(tmp_path: Path) -> None:
    trace = builders.mlp_trace(2)
    row = trace.step(1).row
    path = tmp_path / "t.gradscope"
    make_file(path, overwrite=False)
    batch, connection = Batch(), sqlite3.connect(path, isolation_level=None)
    batch.use(connection)
    batch.begin()
    batch.info(trace.info)
    for number in range(2):
        batch.template(trace.step(number).template)
        batch.step(trace.step(number).row)
    repeats = Repeats(row)
    batch.repeats(repeats)
    batch.delete([1])  # the last: what comes next states the versions that can no longer be counted
    repeats.add(numbers_of(row._replace(number=2)))
    same = trace.step(1).template
    nothing = Growth(
        same.id, False, (len(same.tensors), len(same.moments), len(same.graphs)), (), (), (), same.version_bumps
    )
    batch.unfinished((nothing, row._replace(number=2, open=True)))  # read before step 2 was added
    batch.step(row._replace(number=3))
    batch.commit()
    connection.close()
    with open_trace(path) as read:
        assert read.steps == [0, 2, 3]
        assert not read.step(2).row.open
        assert read.step(2).versions == dict.fromkeys(range(4), 2)
        assert read.step(3).versions == dict.fromkeys(range(4), 3)


def test_a_late_loss_does_not_undo_what_deleting_stated(tmp_path: Path) -> None:
    trace = builders.mlp_trace(4)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    writer.delete_steps([0, 1])
    writer.put_step(trace.step(2).row._replace(loss=7.0))
    writer.close()
    with open_trace(writer.path) as read:
        assert read.step(2).row.loss == 7.0
        assert read.step(3).versions == trace.step(3).versions


def test_info_forgets_what_no_longer_holds(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t.gradscope")
    first = TraceInfo("a.py", ("x",), "1", "2", "3", "now", Detail.AUTO, error="bad", faults=("one",))
    last = replace(first, error=None, status="done", faults=())
    writer.put_info(first)
    writer.flush()
    writer.put_info(last)
    writer.close()
    with open_trace(writer.path) as read:
        assert read.info == last


def test_a_step_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with open_trace(write(builders.mlp_trace(3), tmp_path / "t.gradscope")) as read:
        with pytest.raises(NoSuchStep, match="the nearest is 2"):
            read.step(9)
        with pytest.raises(NoSuchStep):
            read.source.step_row(9)


def test_a_copy_is_the_same_trace_in_one_file(tmp_path: Path) -> None:
    trace = builders.mlp_trace()
    path = write(trace, tmp_path / "t.gradscope")
    source = SqliteSource(path)
    source.save_copy(tmp_path / "copy.gradscope")
    with open_trace(tmp_path / "copy.gradscope") as read:
        assert everything(read) == everything(trace)
    assert names(tmp_path) == ["copy.gradscope", "t.gradscope"]
    with pytest.raises(CannotWrite, match="exists already"):
        source.save_copy(tmp_path / "copy.gradscope")
    with pytest.raises(CannotWrite, match="it is the trace itself"):
        source.save_copy(path, overwrite=True)
    source.save_copy(tmp_path / "copy.gradscope", overwrite=True)
    source.close()


def test_a_trace_of_many_equal_steps_costs_little_more_than_its_numbers(tmp_path: Path) -> None:
    trace = builders.mlp_trace(2)
    row = trace.step(1).row
    row = row._replace(norms=tuple((parameter, 1.5, 0.25) for parameter in range(6)))
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    writer.flush()
    sizes = []
    for start in (2, 2_002):
        for number in range(start, start + 2_000):
            writer.put_step(row._replace(number=number, start=number / 7, duration=1 / (number + 3), loss=1 / number))
        writer.flush()
        with closing(sqlite3.connect(writer.path)) as connection:
            used = "SELECT (SELECT * FROM pragma_page_count) - (SELECT * FROM pragma_freelist_count)"
            pages, size = connection.execute(used).fetchone()[0], connection.execute("PRAGMA page_size").fetchone()[0]
        sizes.append(pages * size)
    writer.close()
    assert (sizes[1] - sizes[0]) / 2_000 < 210


def test_opening_a_trace_reads_neither_templates_nor_steps(tmp_path: Path) -> None:
    """The work of opening and of one step does not depend on how much else there is: counted in SQLite's own steps."""

    def work(path: Path, number: int) -> int:
        source = SqliteSource(path)
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        source._connection.using(lambda connection: connection.set_progress_handler(tick, 10))
        source.info()
        source.step_row(number)
        source.template(source.step_row(number).template)
        source.close()
        return count

    trace = builders.mlp_trace(2)
    small = write(trace, tmp_path / "small.gradscope")
    writer = TraceWriter(tmp_path / "large.gradscope")
    pour(trace, writer)
    for number in range(2, 3_000):
        writer.put_step(trace.step(1).row._replace(number=number))
    writer.put_template(_renumbered(builders.deep_trace(3_000).step(0).template, 9))
    writer.put_step(trace.step(1).row._replace(number=3_000, template=9))
    writer.close()
    assert work(writer.path, 1) < 1.5 * work(small, 1) + 10


def _renumbered(template: Template, number: int) -> Template:
    return replace(template, id=number)


def test_versions_of_a_late_step_are_counted_by_template_not_by_step(tmp_path: Path) -> None:
    trace = builders.mlp_trace(2)
    writer = TraceWriter(tmp_path / "t.gradscope")
    pour(trace, writer)
    for number in range(2, 5_000):
        writer.put_step(trace.step(1).row._replace(number=number))
    writer.close()
    with open_trace(writer.path) as read:
        source = read.source
        assert isinstance(source, SqliteSource)
        asked: list[str] = []
        source._connection.using(lambda connection: connection.set_trace_callback(asked.append))
        assert dict(source.versions(4_999)) == dict.fromkeys(range(4), 4_999)
        assert dict(source.versions(4_998)) == dict.fromkeys(range(4), 4_998)
        assert len(asked) <= 8
        plan = source._ask(
            "EXPLAIN QUERY PLAN SELECT template, count(*) FROM steps WHERE number >= 0 GROUP BY template"
        )
        assert any("COVERING INDEX steps_by_template" in str(row) for row in plan)


def test_a_trace_closes_what_it_opened(tmp_path: Path) -> None:
    trace = open_trace(write(builders.ab2_trace(), tmp_path / "t.gradscope"))
    assert isinstance(trace, Trace)
    trace.close()
    with pytest.raises(Exception, match="was closed"):
        trace.step(0)
