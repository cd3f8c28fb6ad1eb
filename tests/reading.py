"""Every command that reads a trace, run in this process as a user would type it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

from gradscope.cli.main import main
from gradscope.store import open_trace


class Read(NamedTuple):
    """What a command returned and said."""

    command: str
    status: int
    out: str
    err: str


def run_here(*arguments: str) -> Read:
    """One command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return Read(" ".join(arguments), status, out.getvalue(), err.getvalue())


def read_by_all(path: Path, *, steps: tuple[int, ...] = (), picture: bool = False) -> list[Read]:
    """What each command makes of the file, of the whole of it and of these steps; `picture`: the terminal UI's, too."""
    trace, folder = str(path), path.parent
    commands = [
        ("info", trace),
        ("info", "--json", trace),
        ("check", trace),
        ("check", "--format", "sarif", trace),
        ("export", trace, str(folder / "out.json")),
        ("graph", trace),
        ("graph", trace, "--kind", "forward", "-o", str(folder / "out.json")),
    ]
    for step in steps:
        commands.append(("graph", trace, "--step", str(step), "-o", str(folder / "out.dot")))
        if picture:
            commands.append(("view", trace, "--step", str(step), "--screenshot", str(folder / "out.svg")))
    return [run_here(*command) for command in commands]


def read_by_hand(path: Path) -> None:
    """Everything that the Python API tells of each step."""
    with open_trace(path) as trace:
        for number in trace.source.step_numbers():
            step = trace.step(number)
            for kind in ("forward", "backward", "both"):
                step.graph(kind)
            for moment in {-1, len(step.moments) // 2, len(step.moments) - 1}:
                trace.at(number, moment)
            assert all(step.samples) or not step.samples
            assert step.versions is not None
