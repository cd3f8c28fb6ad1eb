"""A whole trace as one JSON document, `gradscope.trace/1`: the records of `model.records`, table by table.

Records are objects whose keys are their fields; fields that hold their default are left out (see
`model.codec`). Ids and numbers mean what `model.records` says. Names are those that readers show (see `model.names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .codec import dumps, to_json
from .trace import Trace

SCHEMA = "gradscope.trace/1"


def trace_json(trace: Trace) -> Iterator[str]:
    """The document in pieces, one record a line, so that a long trace is never in memory as a whole."""
    source = trace.source
    used = sorted({row.template for row in source.step_rows()})
    tables: dict[str, Iterable[Any]] = {
        "sites": source.sites().values(),
        "stacks": source.stacks().values(),
        "modules": trace.names.modules.values(),
        "parameters": trace.parameters(),
        "optimizers": source.optimizers().values(),
        "templates": (trace.template(number) for number in used),
        "steps": source.step_rows(),
        "samples": (sample for number in source.step_numbers() for sample in source.samples(number)),
    }
    yield f'{{"schema": {dumps(SCHEMA)},\n"info": {dumps(to_json(trace.info))}'
    for name, records in tables.items():
        yield f",\n{dumps(name)}: ["
        for position, record in enumerate(records):
            yield (",\n" if position else "\n") + dumps(to_json(record))
        yield "]"
    yield "}\n"
