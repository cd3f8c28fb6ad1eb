"""The trace file holds what was put into it: the same answers as a trace in memory, whatever was put and when."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.model.codec import loads
from gradscope.model.memory import MemorySource
from gradscope.model.moments import Moment, Template
from gradscope.model.packed_samples import PackedSamples, entries_from_json
from gradscope.model.records import Detail, GradGraph, Sample, StepKind, StepRow, TraceInfo
from gradscope.model.repeats import Repeats, carried_at, rows_of
from gradscope.model.spec import STRUCTURE, violations
from gradscope.model.trace import Trace
from gradscope.store import SqliteSource, TraceWriter, open_trace
from gradscope.store.packed import Layout, entries_text, samples_of, step_of, step_row
from gradscope.store.rows import (
    GRAD_NODES,
    MODULES,
    OPTIMIZERS,
    PARAMETERS,
    SITES,
    STACKS,
    TENSORS,
    Table,
    moment_of,
    moment_row,
)
from tests.unit.store.helpers import everything, numbers_of, pour

from .records_at_random import records
from .traces_at_random import programs

INFO = TraceInfo("t.py", (), "0", "3", "2", "now", Detail.FULL, status="done")
FLOATS = st.floats(width=32)  # what rows pack in four bytes


TABLES = (SITES, STACKS, MODULES, PARAMETERS, OPTIMIZERS, TENSORS, GRAD_NODES)


def shown(trace: Trace) -> str:
    """Everything a trace answers, as text: NaN equals NaN there. SQLite does not keep the sign of zero."""
    return repr(everything(trace)).replace("-0.0", "0.0")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@given(data=st.data())
@settings(deadline=None)
def test_a_record_comes_back_from_its_row(table: Table[Any], data: st.DataObject) -> None:
    record = data.draw(records(table.kind))
    assert table.from_row(table.to_row(record)) == record


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_moment_comes_back_from_its_row(data: st.DataObject) -> None:
    moment = data.draw(records(Moment))
    assert repr(moment_of(moment_row(moment))) == repr(moment)


@given(st.lists(st.lists(records(Sample), max_size=3), max_size=3))
@settings(deadline=None)
def test_samples_come_back_from_their_rows(parts: list[list[Sample]]) -> None:
    table, layouts = [], []
    for part in parts:
        packed = PackedSamples.of(7, part)
        assert repr(list(packed)) == repr([replace(sample, step=7) for sample in part])
        table.append((len(layouts), packed.stats, packed.values))
        layouts.append(entries_text(packed.entries))
    last = {(s.moment, s.what, s.of_parameter, s.subject): replace(s, step=7) for part in parts for s in part}
    read = samples_of(7, table, lambda number: entries_from_json(loads(layouts[number])))
    assert repr(read) == repr(tuple(last[key] for key in sorted(last)))


@st.composite
def step_rows(draw: st.DrawFn) -> StepRow:
    row: StepRow = draw(records(StepRow))
    return row._replace(
        phases=tuple(span._replace(start=draw(FLOATS), duration=draw(FLOATS)) for span in row.phases),
        norms=tuple((owner, draw(st.none() | FLOATS), draw(st.none() | FLOATS)) for owner, _, _ in row.norms),
        distances=tuple((owner, draw(FLOATS)) for owner, _ in row.distances),
    )


@given(step_rows())
@settings(deadline=None)
def test_a_step_comes_back_from_its_row_and_layout(row: StepRow) -> None:
    layout = Layout.from_row(Layout.of(row).to_row())
    assert layout == Layout.of(row)
    assert repr(step_of(step_row(row, 0), lambda _: layout)) == repr(row)


def written(fill: Callable[[TraceWriter], None], check: Callable[[Trace], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = TraceWriter(Path(folder) / "t.gradscope")
        fill(writer)
        writer.close()
        assert writer.failed is None
        with open_trace(writer.path) as trace:
            check(trace)
            if isinstance(trace.source, SqliteSource):
                trace.source.save_copy(Path(folder) / "copy.gradscope")
        with open_trace(Path(folder) / "copy.gradscope") as copy:
            check(copy)


@given(programs())
@settings(max_examples=30, deadline=None)
def test_a_program_s_trace_is_the_same_from_its_file(trace: Trace) -> None:
    expected = shown(trace)

    def same(read: Trace) -> None:
        assert shown(read) == expected
        for number in trace.steps:
            assert read.step(number).graph() == trace.step(number).graph()

    written(lambda writer: pour(trace, writer), same)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """What a recorder might put, in order: new steps, the same again, deletions, pauses."""
    puts: list[tuple[str, Any]] = [("info", INFO)]
    templates = draw(st.integers(1, 3))
    for number in range(templates):
        bumps = draw(st.dictionaries(st.integers(0, 4), st.integers(1, 3), max_size=3))
        puts.append(("template", Template(number, (), (), (), tuple(sorted(bumps.items())))))
    alive: list[int] = []
    number = -1
    for _ in range(draw(st.integers(1, 12))):
        number += 1
        stated = draw(st.dictionaries(st.integers(0, 4), st.integers(0, 50), max_size=2))
        norms = draw(st.lists(st.tuples(st.integers(0, 3), st.none() | FLOATS, st.none() | FLOATS), max_size=3))
        row = StepRow(
            number,
            draw(st.sampled_from(StepKind)),
            Detail.GRAPH,
            draw(st.integers(0, templates - 1)),
            draw(st.floats(0, 1e6)),
            1.0,
            loss=draw(st.none() | st.floats()),
            norms=tuple({owner: (owner, norm, grad) for owner, norm, grad in norms}.values()),
            versions=tuple(sorted(stated.items())),
            shifts=tuple(draw(st.dictionaries(st.integers(0, 9), st.integers(1, 10**9), max_size=2)).items()),
        )
        puts.append(("step", row))
        alive.append(number)
        samples = draw(st.lists(records(Sample), max_size=2))
        what = draw(st.sampled_from(("value", "grad", "grad_in", "grad_out", "update")))
        puts.append(("samples", [replace(sample, step=number, what=what) for sample in samples]))
        if draw(st.booleans()):
            puts.append(("step", row._replace(loss=0.5)))
        if draw(st.booleans()):
            usual = row._replace(norms=draw(st.sampled_from(((), ((0, 1.0, 2.0), (3, 0.0, 0.5))))), versions=())
            steps = [alike(draw, usual, number + after) for after in range(1, draw(st.integers(2, 5)))]
            puts.append(("step", usual))
            puts.append(("repeats", steps))
            number = steps[-1].number
            alive += [step.number for step in steps]
        if draw(st.integers(0, 3)) == 0:
            gone = draw(st.lists(st.sampled_from(alive), unique=True, max_size=3)) if alive else []
            gone = [each for each in gone if each != number]
            alive = [each for each in alive if each not in gone]
            puts.append(("delete", gone))
        if draw(st.integers(0, 3)) == 0:
            puts.append(("flush", None))
    return puts


def alike(draw: st.DrawFn, row: StepRow, number: int) -> StepRow:
    return row._replace(
        number=number,
        start=draw(st.floats(0, 1e6)),
        duration=draw(st.floats(0, 10)),
        loss=None if row.loss is None else draw(st.floats()),
        norms=tuple((owner, draw(FLOATS), draw(FLOATS)) for owner, _, _ in row.norms),
        carried=carried_at(row, number),
    )


def put_repeats(sink: TraceWriter | MemorySource, steps: list[StepRow]) -> None:
    """Add the steps to one `Repeats`, the first of them before it is put."""
    repeats = Repeats(steps[0]._replace(number=steps[0].number - 1, carried=carried_at(steps[0], steps[0].number - 1)))
    for step in steps:
        repeats.add(numbers_of(step))
        if step is steps[0]:
            sink.put_repeats(repeats)
    repeats.over = True


@given(step_rows(), st.integers(1, 5), st.data())
@settings(deadline=None)
def test_steps_that_are_added_come_back_as_they_were(row: StepRow, taken: int, data: st.DataObject) -> None:
    row = row._replace(norms=tuple((owner, 1.0, 2.0) for owner, _, _ in row.norms), number=3, versions=())
    steps = [alike(data.draw, row, row.number + after) for after in range(1, 6)]
    repeats, found = Repeats(row), []
    for count, step in enumerate(steps, 1):
        repeats.add(numbers_of(step))
        if count == taken:
            found += rows_of(repeats)
    found += rows_of(repeats)
    assert repr(found) == repr(steps)
    assert not repeats.waiting()


@given(histories())
@settings(max_examples=60, deadline=None)
def test_any_history_leaves_what_it_leaves_in_memory(history: list[tuple[str, Any]]) -> None:
    memory = MemorySource(INFO)

    def fill(writer: TraceWriter) -> None:
        for what, value in history:
            if what == "flush":
                assert writer.flush()
                continue
            for sink in (writer, memory):
                if what == "repeats":
                    put_repeats(sink, value)
                    continue
                put = getattr(sink, "delete_steps" if what == "delete" else f"put_{what}")
                put(value)

    def same(read: Trace) -> None:
        assert shown(read) == shown(Trace(memory))

    written(fill, same)


@given(records(Template))
@settings(max_examples=60, deadline=None)
def test_a_template_is_read_as_it_was_or_told_as_damaged_for_a_rule_it_breaks(template: Template) -> None:
    row = StepRow(0, StepKind.OTHER, Detail.FULL, template.id, 0.0, 0.0)
    template = replace(
        template,
        tensors=tuple({tensor.number: tensor for tensor in template.tensors}.values()),
        graphs=tuple(replace(graph, nodes=_distinct(graph)) for graph in template.graphs),
        broken=None,  # which no file says
    )

    def fill(writer: TraceWriter) -> None:
        writer.put_info(INFO)
        writer.put_template(template)
        writer.put_step(row)

    def same(read: Trace) -> None:
        in_order = tuple(sorted(template.tensors, key=lambda tensor: tensor.number))  # as a table gives them back
        broken = violations(replace(template, tensors=in_order), STRUCTURE)
        if broken:
            assert read.step(0).broken == f"it breaks a rule: {broken[0]}"
        else:
            assert read.step(0).template == template

    written(fill, same)


def _distinct(graph: GradGraph) -> tuple[Any, ...]:
    return tuple({node.index: node for node in graph.nodes}.values())
