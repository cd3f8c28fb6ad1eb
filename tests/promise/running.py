"""Runs a program once, plain or traced, in a fresh folder, and collects all that can be seen of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradscope.errors import GradscopeError
from gradscope.model.overview import overview
from gradscope.store import open_trace

from .normal import normal
from .program import Program, Running

WATCH = Path(__file__).parent / "watch"
TOO_LONG = -999  # the status of a run that was given up
QUIET, LOUD = "quiet", "loud"  # how a program is traced: -q with -o elsewhere, or with a summary and the usual name

Table = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Outcome:
    """All that one run did. `status` is negative for a signal; `reports` are those of other processes of it."""

    status: int
    stdout: str
    stderr: str
    files: dict[str, str]
    report: Table | None
    reports: list[str]
    trace: str | None  # None: there is none; else why it cannot be read, empty if it can


def run(program: Program, area: Path, how: str | None = None) -> Outcome:
    """`how`: None for plain. The area is emptied, and is the same for all runs, so that paths are."""
    shutil.rmtree(area, ignore_errors=True)
    folder, home, temporary, reports, traces = (area / name for name in ("work", "home", "tmp", "reports", "traces"))
    for path in (folder, home, temporary, reports, traces):
        path.mkdir(parents=True)
    lay(program, folder)
    trace = trace_of(program, folder, traces, how)
    if program.before is not None:
        program.before(folder, traces)
    out, err = area / "stdout", area / "stderr"
    with out.open("wb") as told, err.open("wb") as complained:
        process = subprocess.Popen(
            command(program, how, trace),
            cwd=folder,
            env=environment(program, home, temporary, reports),
            stdin=subprocess.PIPE if program.stdin is not None else subprocess.DEVNULL,
            stdout=told,
            stderr=complained,
            preexec_fn=_preparing(program),
            start_new_session=True,
        )
    status = _finish(program, process, Running(process, folder, out, trace))
    stdout, stderr = (normal(path.read_bytes().decode(errors="backslashreplace"), process.pid) for path in (out, err))
    own, others = _reports(reports, process.pid)
    files = {**_files(folder, trace), **_files(temporary, None, "tmp: "), **_files(home, None, "home: ")}
    outcome = Outcome(status, stdout, stderr, files, own, others, _read(trace))
    if program.after is not None:
        program.after(folder, traces)
    return outcome


def _read(trace: Path | None) -> str | None:
    """Why a trace cannot be read. Each rank of a job has one of its own."""
    there = sorted(trace.parent.glob(f"{trace.stem}*{trace.suffix}")) if trace is not None else []
    try:
        for path in there:
            with open_trace(path) as found:
                overview(found)
    except GradscopeError as error:
        return str(error)
    return "" if there else None


def command(program: Program, how: str | None, trace: Path | None) -> list[str]:
    python = [*program.wrapper, program.interpreter, *program.python]
    if how is None:
        return [*python, *program.target]
    gradscope = program.gradscope or (str(Path(program.interpreter).parent / "gradscope"),)
    output = ["-q", "-o", str(trace)] if how == QUIET else []
    return [*python, *gradscope, "trace", *output, *program.trace, *program.target]


def trace_of(program: Program, folder: Path, traces: Path, how: str | None) -> Path | None:
    if how is None:
        return None
    if how == QUIET:
        return traces / "it.gradscope"
    target = next(word for word in program.target if word != "-m")
    stem = target.rpartition(".")[2] if "-m" in program.target else Path(target).stem
    return folder / f"{stem}.gradscope"


def lay(program: Program, folder: Path) -> None:
    for name, source in program.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copy(source, path)
        else:
            path.write_bytes(source.encode() if isinstance(source, str) else source)


def environment(program: Program, home: Path, temporary: Path, reports: Path) -> dict[str, str]:
    """This machine's environment without settings for Python, with folders and threads of the run's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "COV", "XDG", "LC_"))
    }
    for name in ("COLUMNS", "LINES", "TERM", "FORCE_COLOR", "NO_COLOR"):
        kept.pop(name, None)
    return {
        **kept,
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(WATCH),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "PROMISE_REPORTS": str(reports),
        "PROMISE_TRACES": str(reports.parent / "traces"),
        **program.environment,
    }


def _preparing(program: Program) -> Callable[[], None]:
    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):  # whoever started us may have ignored them
            signal.signal(number, signal.SIG_DFL)
        if program.stdin is None:
            os.close(0)
        if program.prepare is not None:
            program.prepare()

    return prepare


def _finish(program: Program, process: subprocess.Popen[bytes], running: Running) -> int:
    """Feed it, disturb it, wait for it. What takes too long is killed, with all that it has started."""
    try:
        if process.stdin is not None:
            if program.stdin:
                process.stdin.write(program.stdin)
            process.stdin.close()
        if program.act is not None:
            program.act(running)
        return process.wait(program.limit)
    except subprocess.TimeoutExpired:
        return TOO_LONG
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # what it left running, too
        except ProcessLookupError:
            pass
        process.wait()


def _files(folder: Path, trace: Path | None, prefix: str = "") -> dict[str, str]:
    """Each file's digest, the trace and what belongs to it aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if trace is not None and re.fullmatch(
            re.escape(trace.stem) + r"\S*" + re.escape(trace.suffix) + r"(-\w+)?", path.name
        ):
            continue
        name = normal(prefix + str(path.relative_to(folder)))
        if "pymp-NAME" in name:  # multiprocessing's sockets: a child that ends by a signal leaves them, others do not
            continue
        if path.is_file() and not path.is_symlink():
            found[name] = hashlib.sha1(_content(path), usedforsecurity=False).hexdigest()
        else:
            found[name] = "a link" if path.is_symlink() else "a folder"
    return found


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        return normal(data.decode()).encode()
    except UnicodeDecodeError:
        return data


def _reports(folder: Path, process: int) -> tuple[Table | None, list[str]]:
    """The main process's own, and those of its children in a fixed order."""
    own, others = None, []
    for path in folder.glob("*.json"):
        text = normal(path.read_text(encoding="utf-8", errors="surrogateescape"), int(path.stem))
        text = text if path.stem == str(process) else normal(text, process)
        if path.stem == str(process):
            own = json.loads(text)
        else:
            others.append(text)
    return own, sorted(others)


assert sys.platform == "linux", "what is compared is read from /proc"
