"""A code's loops are found whatever Python compiled it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradscope.capture.step.loop_detection import Instruction, loops_in, loops_of

from . import bytecode

TABLES = {path.stem: json.loads(path.read_text()) for path in Path(bytecode.__file__).parent.glob("*.json")}
# The line where each loop begins; a `while` has two such, as its condition is compiled twice.
HEADS = {
    "no loop": [],
    "a with in a loop": [1],
    "a try in a loop": [1],
    "loops in loops": [1, 2, 6, 7],
    "a loop in a handler": [4],
    "async": [4],
}
COMPREHENSION = 4  # in "loops in loops": since Python 3.12 a loop of the function itself


def heads(table: bytecode.Table, found: list[tuple[int, int]]) -> list[int]:
    line_of = {offset: line for offset, _, _, line in table}
    return sorted(line_of[first] for first, _ in found)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_other_pythons(version: str, name: str) -> None:
    table = TABLES[version][name]
    found = heads(table, loops_in([Instruction(*row[:3]) for row in table]))
    inlined = name == "loops in loops" and version in ("3.12", "3.13")
    assert found == sorted([*HEADS[name], *([COMPREHENSION] if inlined else [])])


@pytest.mark.parametrize("name", HEADS)
def test_this_python(name: str) -> None:
    code = bytecode.compiled(bytecode.SOURCES[name])
    found = heads(bytecode.table(code), list(loops_of(code)))
    assert [line for line in found if (name, line) != ("loops in loops", COMPREHENSION)] == HEADS[name]
