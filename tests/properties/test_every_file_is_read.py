"""What was recorded of any program is read by every command, whole.

A test takes some of 300 random programs (see `random_training`), other ones each time; it prints the seed that chose
them. `GRADSCOPE_FUZZ_SEED=7` takes those of that seed, `GRADSCOPE_FUZZ=all` takes all 300 (about ten minutes):

    GRADSCOPE_FUZZ=all .venv/bin/pytest tests/properties/test_every_file_is_read.py -s
"""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gradscope.capture.recorder import Recorder
from gradscope.model.moments import OpCall
from gradscope.model.spec import violations
from gradscope.model.trace import Trace
from gradscope.options import CaptureOptions
from gradscope.store import TraceWriter, open_trace
from tests.capturing import run_plain
from tests.properties.random_training import program
from tests.reading import read_by_all, read_by_hand

PROGRAMS, SOME = 300, 48
ALWAYS = [217]  # measures a parameter that a step has not met
_OF_NODES = ("grad_in", "grad_out", "derivative")


def chosen() -> list[int]:
    """The programs to take."""
    if os.environ.get("GRADSCOPE_FUZZ") == "all":
        return list(range(PROGRAMS))
    seed = int(os.environ.get("GRADSCOPE_FUZZ_SEED", time.time_ns() % 100_000))
    print(f"GRADSCOPE_FUZZ_SEED={seed}")
    return ALWAYS + random.Random(seed).sample(range(PROGRAMS), SOME)


def recorded(number: int, folder: Path) -> Path:
    """The file of a program, recorded in this process."""
    script, path = folder / "program.py", folder / "program.gradscope"
    script.write_text(program(number))
    detail = ("auto", "full", "graph", "auto")[number % 4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = TraceWriter(path, overwrite=True)
        with Recorder(writer, CaptureOptions(detail=detail)):
            error = run_plain(script)["__error__"]
    torch.set_grad_enabled(True)
    assert error is None, f"program {number}: {error!r}"
    assert writer.failed is None
    return path


def told_wrong(trace: Trace) -> Iterator[str]:
    """What in the trace breaks a rule, or names what is not there."""
    source, sizes = trace.source, {}
    yield from (f"not recorded: {fault}" for fault in trace.info.faults)
    for number in source.step_numbers():
        template = source.template(source.step_row(number).template)
        yield from (f"step {number}: {rule}" for rule in violations(template))
        if template.broken is not None:
            yield f"step {number} is damaged: {template.broken}"
        sizes[number] = len(template.tensors)
    for number in source.step_numbers():
        row = source.step_row(number)
        moments = source.template(row.template).moments
        if row.open or any(span.moment > len(moments) for span in row.phases):
            yield f"step {number}: its row"
        for tensor, home, old in row.carried:
            if tensor >= sizes[number] or old >= sizes.get(home, old + 1):
                yield f"step {number}: carries what is not there"
        if any(kept.tensor >= sizes.get(kept.step, kept.tensor + 1) for kept in row.kept):
            yield f"step {number}: keeps what is not there"
        for sample in source.samples(number):
            of_tensor = not sample.of_parameter and sample.what not in _OF_NODES
            if not -1 <= sample.moment < len(moments) or (of_tensor and sample.subject >= sizes[number]):
                yield f"step {number}: a sample of what is not there"


def not_read(path: Path, *, picture: bool) -> Iterator[str]:
    """The commands that cannot read the file."""
    with open_trace(path) as trace:
        every = [trace.step(number) for number in trace.source.step_numbers()]
        steps = [step.number for step in every if step.unwatched is None and step.positions(OpCall)]
    some = tuple(sorted({steps[0], steps[len(steps) // 2], steps[-1]})) if steps else ()
    for read in read_by_all(path, steps=some, picture=picture):
        if read.status not in (0, 1) or "Traceback" in read.err or "GS000" in read.out:
            yield f"{read.command}: {read.status} {read.err}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_reads_what_was_recorded_of_any_program(tmp_path: Path) -> None:
    wrong: list[str] = []
    for place, number in enumerate(chosen()):
        path = recorded(number, tmp_path)
        with open_trace(path) as trace:
            found = list(told_wrong(trace))
        read_by_hand(path)
        found += not_read(path, picture=place % 12 == 0)
        wrong += [f"program {number}: {what}" for what in found]
    assert wrong == []
