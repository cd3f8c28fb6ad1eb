"""Runs many scripts quickly: one process imports torch once, and forks a child for each run.

`plain` is what `python SCRIPT` does after that import, written down in a few lines that share nothing with
gradscope; `traced` is `gradscope trace`. Both write into files, as a user's redirection would.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ran:
    """How a process ended and what it wrote. `status` is negative for a signal."""

    status: int
    stdout: str
    stderr: str


def environment(**changes: str) -> dict[str, str]:
    """This environment with gradscope on the path, one thread and no user's settings for Python's warnings."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONWARNINGS", "PYTHONUNBUFFERED")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        **changes,
    }


def run(arguments: Sequence[str], folder: Path, *, stdin: str = "", **changes: str) -> Ran:
    """`python ARGUMENTS…` in `folder`, as a process of its own."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(**changes),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def started(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """`python ARGUMENTS…` in `folder`, running, its output and errors in pipes. A context manager."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class ScriptServer:
    """The process that has imported torch. A context manager."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self._variables = variables  # of its environment

    def __enter__(self) -> ScriptServer:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(**self._variables),
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def plain(self, script: str, arguments: Sequence[str] = (), *, folder: Path) -> Ran:
        return self._ask("plain", [script, *arguments], folder)

    def traced(self, *arguments: str, folder: Path) -> Ran:
        """`gradscope trace ARGUMENTS…`"""
        return self._ask("traced", ["trace", *arguments], folder)

    def _ask(self, how: str, arguments: list[str], folder: Path) -> Ran:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err = self.folder / "stdout", self.folder / "stderr"
        request = {"how": how, "arguments": arguments, "folder": str(folder), "stdout": str(out), "stderr": str(err)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return Ran(status, out.read_text(errors="replace"), err.read_text(errors="replace"))


def _serve() -> None:
    import torch._dynamo  # which the first optimizer of a script would import

    import gradscope.capture.recorder
    import gradscope.capture.run.script_recording
    import gradscope.cli.commands.trace
    import gradscope.store

    assert torch
    assert gradscope
    gc.collect()
    gc.freeze()  # a child's collections leave the pages that it shares alone
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _leave(_run_child(request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _leave(status: int) -> NoReturn:
    """End as the interpreter does, but for taking torch apart, which takes longer than most scripts."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _run_child(request: dict[str, Any]) -> int:
    """Run the request in this forked child; returns the exit status."""
    os.chdir(str(request["folder"]))
    for descriptor, name in ((0, os.devnull), (1, str(request["stdout"])), (2, str(request["stderr"]))):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    arguments: list[str] = request["arguments"]
    if request["how"] == "traced":
        from gradscope.cli.main import main

        sys.path.insert(0, "the folder of the command")
        return main(arguments)
    return _plain(arguments)


def _plain(arguments: list[str]) -> int:
    import builtins
    import types
    from importlib.machinery import SourceFileLoader

    path = Path.cwd() / arguments[0]
    sys.argv = arguments
    sys.path.insert(0, str(path.parent))
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=builtins, __loader__=SourceFileLoader("__main__", str(path)))
    sys.modules["__main__"] = main
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), main.__dict__)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:  # as the interpreter does
        sys.stdout.flush()
        tb = error.__traceback__
        error.__traceback__ = tb.tb_next if tb is not None else None
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


if __name__ == "__main__":
    _serve()
