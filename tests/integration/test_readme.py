"""Every command and every snippet in the README runs."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scripts import ROOT, run

FENCE = re.compile(
    r"(?:<!-- not run by the README test: (?P<reason>.+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.S
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `reason` says why it is not run here, None if it is."""

    language: str
    text: str
    reason: str | None


def blocks() -> list[Block]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("```") == 2 * len(FENCE.findall(readme)), "a fence is not closed"
    return [Block(match["language"], match["text"], match["reason"]) for match in FENCE.finditer(readme)]


def runnable(language: str) -> list[str]:
    return [block.text for block in blocks() if block.language == language and block.reason is None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demos, in which the README's commands are typed one after another."""
    path = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "demos", path / "demos", ignore=shutil.ignore_patterns("__pycache__"))
    return path


@pytest.fixture(scope="module")
def commands(folder: Path) -> list[str]:
    """All shell lines of the README, each run once, in order; fails at the first that fails."""
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"], "COLUMNS": "100"}
    lines = [line for text in runnable("sh") for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        wanted = re.search(r"# exits with (\d)$", line)
        assert done.returncode == (int(wanted[1]) if wanted else 0), f"{line}\n{done.stdout}\n{done.stderr}"
    return lines


def test_only_known_languages_and_every_exception_has_a_reason() -> None:
    assert {block.language for block in blocks()} <= {"sh", "python", "sql", "text", "toml"}
    assert all(block.reason for block in blocks() if block.reason is not None)


def test_the_first_screen_has_the_two_lines() -> None:
    first, second = (block for block in blocks()[:2])
    assert re.search(r"gradscope trace --graph \S+\.svg demos/\S+\.py$", first.text.strip()), (
        "options before the script"
    )
    assert "pytest" in second.text
    assert all(len(block.text.splitlines()) == 1 and "-c constraints.txt" in block.text for block in (first, second))


def test_every_command_runs(commands: list[str], folder: Path) -> None:
    assert len(commands) >= 12
    written = re.findall(r"-o (\S+)", "\n".join(commands))
    assert len(written) >= 8
    for name in written:
        assert (folder / name).stat().st_size > 0, name


def test_every_python_snippet_runs(tmp_path: Path) -> None:
    program = "\n".join(runnable("python"))
    assert "gradscope.draw(" in program
    done = run(["-W", "error", "-c", program], tmp_path)
    assert done.status == 0, done.stderr
    assert "case 2 of 4" in done.stdout
    assert "MulBackward0" in done.stdout
    assert (tmp_path / "ab2.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_every_sql_query_has_an_answer(commands: list[str], folder: Path) -> None:
    assert commands
    queries = [query for text in runnable("sql") for query in text.split(";") if query.strip()]
    assert queries
    with closing(sqlite3.connect(folder / "10_classifier.gradscope")) as database:
        for query in queries:
            assert database.execute(query).fetchall(), query
