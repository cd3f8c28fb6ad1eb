"""No command runs a file because of where it lies: in the current folder, or in that of the command.

A spy first writes down every module that the commands and their child processes ask for. Then a file of each of these
names is planted, which says that it was run.
"""

from __future__ import annotations

import importlib.util
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders import mlp_trace
from tests.scripts import ROOT, Ran, environment
from tests.unit.store.helpers import write

READING = [
    ["--help"],
    ["info", "t.gradscope"],
    ["info", "t.gradscope", "--json"],
    ["graph", "t.gradscope"],
    ["graph", "t.gradscope", "-o", "g.svg"],
    ["graph", "t.gradscope", "-o", "g.graphml"],
    ["check", "t.gradscope"],
    ["check", "t.gradscope", "--format", "sarif"],
    ["explain", "GS101"],
    ["export", "t.gradscope", "t.json"],
    ["view", "t.gradscope", "--screenshot", "v.svg"],
    ["doctor"],
]
RUNNING = [
    ["trace", "--force", "-o", "new.gradscope", "--graph", "g.png", "--view", "scripts/fails.py"],
    ["check", "scripts/fails.py"],
    ["graph", "scripts/fails.py"],
]
FAILS = """\
import torch
w = torch.ones(3, requires_grad=True)
y = w.exp()
y.add_(1)
y.sum().backward()
"""
COMMAND = "import sys\nfrom gradscope.cli.main import main\nsys.exit(main())\n"  # what pip makes
SPY = """\
import sys
class Spy:
    def find_spec(self, name, *_):
        with open({asked!r}, "a") as file:
            file.write(name.partition(".")[0] + "\\n")
sys.meta_path.insert(0, Spy())
"""
PLANTED = """\
with open({run!r}, "a") as file:
    file.write(__file__ + "\\n")
"""


@dataclass(frozen=True)
class Place:
    """A folder of a user's, with a trace, a script in a folder of its own, and the folder of the command."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("here", "here/scripts", "bin", "spy"):
            (self.folder / name).mkdir()
        write(mlp_trace(), self.here / "t.gradscope")
        (self.here / "scripts" / "fails.py").write_text(FAILS)
        (self.folder / "bin" / "gradscope").write_text(COMMAND)

    @property
    def here(self) -> Path:
        return self.folder / "here"

    @property
    def command(self) -> list[str]:
        return [str(self.folder / "bin" / "gradscope")]

    def plant(self, names: Iterable[str], *, where: str) -> None:
        for name in names:
            (self.folder / where / f"{name}.py").write_text(PLANTED.format(run=str(self.folder / "run")))

    @property
    def executed(self) -> list[str]:
        try:
            return (self.folder / "run").read_text().splitlines()
        except FileNotFoundError:
            return []


def on_terminal(arguments: list[str], folder: Path, **changes: str) -> Ran:
    """`python ARGUMENTS…` in a terminal, where `q` is typed every half second."""
    master, slave = pty.openpty()
    surroundings = environment(TERM="xterm-256color", **changes)
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=surroundings, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        said, begun, typed = b"", time.monotonic(), 0
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    said += os.read(master, 65536)
                except OSError:  # nobody has the other end any more
                    break
            if time.monotonic() - begun > typed / 2 + 3 and process.poll() is None:
                os.write(master, b"q")
                typed += 1
    os.close(master)
    return Ran(process.returncode, said.decode(errors="replace"), "")


@dataclass
class Spied:
    """Every top-level module that any command asks for, whether it is there or not; and each command's exit status."""

    names: set[str]
    statuses: list[int]


@pytest.fixture(scope="module")
def spied(tmp_path_factory: pytest.TempPathFactory) -> Spied:
    place = Place(tmp_path_factory.mktemp("spied"))
    names = place.folder / "names"
    (place.folder / "spy" / "sitecustomize.py").write_text(SPY.format(asked=str(names)))
    path = os.pathsep.join([str(place.folder / "spy"), str(ROOT)])
    statuses = [
        on_terminal([*place.command, *arguments], place.here, PYTHONPATH=path).status
        for arguments in (*READING, *RUNNING)
    ]
    found = set(names.read_text().split())
    assert {"argparse", "json", "sqlite3", "rich", "graphviz", "textual", "executing", "torch", "numpy"} <= found
    assert (set(statuses[: len(READING)]), statuses[len(READING) :]) == ({0}, [1, 1, 0])
    return Spied(found, statuses)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def asked_by_python(arguments: list[str], folder: Path) -> set[str]:
    """The modules that Python itself asks for before it runs a module of ours."""
    names = folder / "names"
    (folder / "spy" / "sitecustomize.py").write_text(SPY.format(asked=str(names)))
    (folder / "spy" / "nothing.py").touch()
    surroundings = environment(PYTHONPATH=str(folder / "spy"))
    subprocess.run([sys.executable, *arguments, "nothing"], cwd=folder, env=surroundings, check=True)
    return set(names.read_text().split())


def loaded_by_python() -> set[str]:
    """The modules that every process has before its program begins."""
    done = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.decode().split()}


def test_the_planted_files_do_run_for_a_program_that_imports_them(place: Place) -> None:
    place.plant(["json"], where="here")
    subprocess.run([sys.executable, "-c", "import json"], cwd=place.here, check=True)
    assert place.executed == [str(place.here / "json.py")]


def all_run_nothing(place: Place, start: list[str], spied: Spied, commands: list[list[str]], **changes: str) -> None:
    """Each command ends as it did without the planted files, none of which has run."""
    for arguments, status in zip((*READING, *RUNNING), spied.statuses):
        if arguments in commands:
            done = on_terminal([*start, *arguments], place.here, **changes)
            assert place.executed == [], arguments
            assert done.status == status, (arguments, done.stdout)


def test_the_command_runs_nothing(place: Place, spied: Spied) -> None:
    names = spied.names | sys.stdlib_module_names
    place.plant(names, where="here")
    place.plant(names - {"gradscope"}, where="bin")
    all_run_nothing(place, place.command, spied, [*READING, *RUNNING])


def test_python_m_runs_nothing_but_what_python_itself_runs(place: Place, spied: Spied) -> None:
    names = spied.names | sys.stdlib_module_names
    place.plant(names - {"gradscope"} - asked_by_python(["-m"], place.folder), where="here")
    all_run_nothing(place, ["-m", "gradscope"], spied, [*READING, RUNNING[0]])


def test_a_folder_of_pythonpath_comes_last(place: Place, spied: Spied) -> None:
    """`PYTHONPATH=:/x` names the current folder, most often by accident. What is installed nowhere is found there."""
    there = {name for name in spied.names if importlib.util.find_spec(name) is not None}
    place.plant(there - {"gradscope"} - loaded_by_python(), where="here")
    all_run_nothing(place, place.command, spied, READING, PYTHONPATH=os.pathsep + str(ROOT))


def test_no_program_of_the_current_folder_is_started(place: Place) -> None:
    for name in ("dot", "graphviz-pure", "uname", "file", "gcc", "ldconfig", "vi", "less", "git", "lscpu", "sh"):
        program = place.here / name
        program.write_text(f"#!/bin/sh\necho {name} >> {place.folder / 'run'}\n")
        program.chmod(0o755)
    for arguments in READING:
        on_terminal([*place.command, *arguments], place.here, PATH=os.pathsep + os.environ["PATH"])
        assert place.executed == [], arguments
