"""What several tests of the trace file share."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gradscope.model.memory import MemorySource
from gradscope.model.records import StepRow
from gradscope.model.source import TraceSink, TraceSource
from gradscope.model.trace import Trace
from gradscope.store import TraceWriter


def pour(trace: Trace, sink: TraceSink) -> None:
    """Everything a trace holds, into a sink, in an order in which a recorder would put it."""
    source = trace.source
    sink.put_info(source.info())
    pour_names(source, sink)
    for row in source.step_rows():
        sink.put_template(source.template(row.template))
        sink.put_step(row)
        sink.put_samples(source.samples(row.number))


def pour_names(source: TraceSource, sink: TraceSink) -> None:
    """What steps refer to: places, modules, parameters, optimizers."""
    for site in source.sites().values():
        sink.put_site(site)
    for stack in source.stacks().values():
        sink.put_stack(stack)
    for module in source.modules().values():
        sink.put_module(module)
    for parameter in source.parameters().values():
        sink.put_parameter(parameter)
    for optimizer in source.optimizers().values():
        sink.put_optimizer(optimizer)


def write(trace: Trace, path: Path, *, overwrite: bool = False) -> Path:
    writer = TraceWriter(path, overwrite=overwrite)
    pour(trace, writer)
    writer.close()
    assert writer.failed is None
    return path


def numbers_of(row: StepRow) -> list[float]:
    """A row as `Repeats` takes it."""
    times = [time for span in row.phases for time in span[2:]]
    norms = [norm for _, *both in row.norms for norm in both if norm is not None]
    rates = [rate for _, _, rate in row.learning_rates]
    loss = 0.0 if row.loss is None else row.loss
    distances = [distance for _, distance in row.distances]
    return [row.number, row.start, row.duration, loss, *times, *rates, *norms, *distances]


def everything(trace: Trace) -> dict[str, object]:
    """Every answer of a trace's source: two traces with equal answers are equal to any reader."""
    source = trace.source
    return {
        "info": source.info(),
        "sites": dict(source.sites()),
        "stacks": dict(source.stacks()),
        "modules": dict(source.modules()),
        "parameters": dict(source.parameters()),
        "optimizers": dict(source.optimizers()),
        "numbers": list(source.step_numbers()),
        "rows": list(source.step_rows()),
        "row by row": [source.step_row(number) for number in source.step_numbers()],
        "templates": [source.template(source.step_row(number).template) for number in source.step_numbers()],
        "samples": [list(source.samples(number)) for number in source.step_numbers()],
        "curve": list(source.curve()),
        "curve from the second step on": list(source.curve(next(iter(source.step_numbers()), 0))),
        "series": {parameter: list(source.series(parameter)) for parameter in source.parameters()},
        "versions": [dict(source.versions(number)) for number in source.step_numbers()],
    }


def in_memory(trace: Trace) -> Trace:
    """A copy in memory, made through the same calls."""
    source = MemorySource(trace.source.info())
    pour(trace, source)
    return Trace(source)


def sql(path: Path, *statements: str) -> None:
    """Change a trace file with plain SQL."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(found.name for found in folder.iterdir())


def why(sink: TraceWriter) -> str:
    """Why a writer gave up, in its one line."""
    assert sink.failed is not None
    assert "\n" not in sink.failed
    return sink.failed


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that other users may look into, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="gradscope-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@contextmanager
def without_privileges() -> Iterator[None]:
    """File permissions count, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
