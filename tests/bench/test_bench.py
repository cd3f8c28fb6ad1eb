"""The bench runs and prints a whole table. What it measures is for people to read: no time is asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.measure import ROWS, Row
from tests.bench.table import machine, markdown

ROOT = Path(__file__).parents[2]


def test_the_table_is_markdown_with_the_machine_named() -> None:
    text = markdown([Row("a step", "1.20x", "≤ 2.0x", "≤ 1.5x", "1 ms plain")], machine())
    assert "| a step | **1.20x** (1 ms plain) | ≤ 2.0x | ≤ 1.5x |" in text
    assert "cores" in text
    assert "torch 2." in text


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_can_be_measured(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--row", name], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "**" in done.stdout
    assert "failed" not in done.stdout
