"""Every bad input gets one clear line on stderr, nothing on stdout, exit status 2, and harms nothing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gradscope.store import TraceWriter
from tests.builders import INFO
from tests.scripts import Ran, run, started

SCRIPT = "open('it_ran', 'w').close()\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script, a trace, and files that are neither."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "other.py").write_text(SCRIPT)
    writer = TraceWriter(tmp_path / "trace.gradscope")
    writer.put_info(INFO)
    writer.close()
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "text.gradscope").write_text("not a trace")
    (tmp_path / "other.gradscope").write_text("my notes")
    (tmp_path / "plain_folder").mkdir()
    with closing(sqlite3.connect(tmp_path / "foreign.gradscope")) as foreign:
        foreign.execute("CREATE TABLE cats (name TEXT)")
        foreign.commit()
    data = (tmp_path / "trace.gradscope").read_bytes()
    (tmp_path / "cut.gradscope").write_bytes(data[: len(data) // 2])
    (tmp_path / "with\nnewline\x1b[31m.gradscope").write_text("odd")
    return tmp_path


# command line -> a part of the line it says
BAD = {
    "frobnicate": "no command is called 'frobnicate'",
    "trac script.py": "did you mean 'trace'?",
    "--nothing": "unrecognized arguments: --nothing",
    # trace
    "trace": "there is no SCRIPT to run",
    "trace missing.py": "there is no script missing.py",
    "trace plain_folder": "without a __main__.py",
    "trace picture.png": "is not a Python script",
    "trace trace.gradscope": "is a trace, not a script; try: gradscope info trace.gradscope",
    "trace --nothing script.py": "unrecognized arguments: --nothing",
    "trace --detail": "--detail: expected one argument",
    "trace --detail fulll script.py": "did you mean 'full'?",
    "trace --steps 3 script.py": "is not a range of steps",
    "trace --steps x:3 script.py": "is not a range of steps",
    "trace --steps 5:2 script.py": "is empty",
    "trace --steps -1:2 script.py": "--steps: expected one argument",
    "trace --steps=-1:2 script.py": "is not a range of steps",
    "trace --every 0 script.py": "'0' is not a whole number from 1 on",
    "trace --every two script.py": "'two' is not a whole number",
    "trace --last 0 script.py": "is not a whole number from 1 on",
    "trace --graph g.xyz script.py": "'.xyz'",
    "trace --graph nowhere/g.svg script.py": "there is no folder nowhere",
    "trace --graph plain_folder script.py": "plain_folder",
    "trace -o nowhere/t.gradscope script.py": "there is no folder nowhere",
    "trace -o plain_folder script.py": "it is a folder",
    "trace -o trace.gradscope script.py": "exists already",
    "trace -o script.py other.py": "would be replaced by the trace",
    "trace other.py": "other.gradscope is in the way and is not a trace",
    "trace -m": "-m needs the name of a MODULE",
    "trace -m nothing_of_that_name": "there is no module nothing_of_that_name",
    "trace -m script.py": "there is no module script.py: leave out .py",
    # graph
    "graph": "the following arguments are required",
    "graph missing.gradscope": "there is no file missing.gradscope",
    "graph missing.py": "there is no file missing.py",
    "graph text.gradscope": "text.gradscope",
    "graph foreign.gradscope": "foreign.gradscope",
    "graph cut.gradscope": "cut.gradscope",
    "graph trace.gradscope -o g.xyz": "'.xyz'",
    "graph trace.gradscope -o noext": "noext",
    "graph trace.gradscope --kind both_ways": "no kind of graph is called 'both_ways'",
    "graph trace.gradscope --theme blue": "no theme is called 'blue'",
    "graph trace.gradscope --engine neato": "no layout engine is called 'neato'",
    "graph trace.gradscope --depth -1": "is not a whole number from 0 on",
    "graph trace.gradscope --step one": "--step",
    "graph trace.gradscope --step 7": "there is no step 7",
    "graph trace.gradscope": "nothing",
    "graph plain_folder": "without a __main__.py",
    # info, export, doctor
    "info": "the following arguments are required",
    "info missing.gradscope": "missing.gradscope",
    "info text.gradscope": "text.gradscope",
    "info foreign.gradscope": "foreign.gradscope",
    "info cut.gradscope": "cut.gradscope",
    "info plain_folder": "plain_folder",
    "info script.py": "script.py",
    "info trace.gradscope extra": "unrecognized arguments: extra",
    "export trace.gradscope": "the following arguments are required",
    "export trace.gradscope t.csv": ".csv is not in this version: export writes .json",
    "export trace.gradscope t.parquet": ".parquet is not in this version",
    "export trace.gradscope t.json.gz": ".json.gz is not in this version",
    "export trace.gradscope t.xml": "it writes .json",
    "export text.gradscope t.json": "text.gradscope",
    "export trace.gradscope nowhere/t.json": "nowhere",
    "doctor --nothing": "unrecognized arguments: --nothing",
}


def one_line(ran: Ran) -> str:
    assert ran.status == 2, ran
    assert ran.stdout == ""
    assert ran.stderr.startswith("gradscope: ")
    assert ran.stderr.endswith("\n")
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("line", BAD)
def test_one_clear_line(line: str, tmp_path: Path) -> None:
    before = contents(tmp_path)
    said = one_line(run(["-m", "gradscope", *line.split()], tmp_path))
    assert BAD[line] in said
    assert contents(tmp_path) == before, "nothing was run, written or replaced"


def test_a_hostile_file_name_stays_one_line(tmp_path: Path) -> None:
    said = one_line(run(["-m", "gradscope", "info", "with\nnewline\x1b[31m.gradscope"], tmp_path))
    assert "\x1b" not in said
    assert "with\\nnewline\\x1b[31m.gradscope" in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused_before_the_script_runs(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    said = one_line(run(["-m", "gradscope", "trace", "../script.py"], closed))
    assert "no permission" in said
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can write")
def test_a_folder_that_takes_no_file_is_refused_before_the_script_runs(tmp_path: Path) -> None:
    said = one_line(run(["-m", "gradscope", "trace", "-o", "/proc/t.gradscope", "script.py"], tmp_path))
    assert "cannot write" in said
    assert "/proc/t.gradscope" in said
    assert not (tmp_path / "it_ran").exists()


def test_forced_output_replaces_what_is_there(tmp_path: Path) -> None:
    done = run(["-m", "gradscope", "trace", "--force", "-q", "-o", "other.gradscope", "script.py"], tmp_path)
    assert done == Ran(0, "", "")
    assert run(["-m", "gradscope", "info", "other.gradscope"], tmp_path).status == 0


def test_without_arguments_it_says_how(tmp_path: Path) -> None:
    done = run(["-m", "gradscope"], tmp_path)
    assert done.status == 2
    assert "commands:" in done.stdout
    for later in ("diff", "plot", "parquet", "perfetto"):
        assert later not in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["info", "trace.gradscope"], ["export", "trace.gradscope", "-"]])
def test_a_closed_pipe_is_quiet(arguments: list[str], tmp_path: Path) -> None:
    late = "import runpy, time; time.sleep(0.3); runpy.run_module('gradscope', run_name='__main__', alter_sys=True)"
    with started(["-c", late, *arguments], tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0
