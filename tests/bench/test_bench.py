"""The bench runs and prints a whole table. What it measures is for people to read: no time is asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tests.capturing  # after which torch replaces nothing more by itself
from tests.bench.measure import ROWS, Row
from tests.bench.table import machine, markdown

assert tests.capturing

ROOT = Path(__file__).parents[2]


def test_the_table_is_markdown_with_the_machine_named() -> None:
    text = markdown([Row("a step", "1.20x", "≤ 2.0x", "≤ 1.5x", "1 ms plain")], machine())
    assert "| a step | **1.20x** (1 ms plain) | ≤ 2.0x | ≤ 1.5x |" in text
    assert "cores" in text
    assert "torch 2." in text


@pytest.mark.bench
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_can_be_measured(name: str) -> None:
    row = ROWS[name](True)
    assert any(letter.isdigit() for letter in row.measured)
    assert row.must


@pytest.mark.bench
def test_the_command_prints_the_rows_that_are_asked_for() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--row", "start", "--row", "mlp-graph"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("**") == 4
    assert "failed" not in done.stdout
