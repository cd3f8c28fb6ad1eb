"""What a program may run out of, and the places that may go: disks, files, folders, descriptors, memory, time."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .comparing import ALIVE, COUNTERS, MAIN, STRUCK
from .program import Program
from .running import QUIET, Outcome
from .snippets import snippets

KIND = "faults"
Change = Callable[[Path, Path], None]


def programs() -> Iterator[Program]:
    yield from _disks()
    yield from _places()
    yield from _limits()


def _one(name: str, source: str, **more: Any) -> Program:
    return Program(KIND, name, {"train.py": source}, ("train.py",), **more)


def _mounted(size: str) -> dict[str, Change]:
    """The trace's folder becomes a small file system of its own, and is what it was again."""

    def before(folder: Path, traces: Path) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", traces], check=True)

    def after(folder: Path, traces: Path) -> None:
        subprocess.run(["umount", "-l", traces], check=True)

    return {"before": before, "after": after}


@cache
def can_mount() -> bool:
    """Only root can, and not in every container; the limit on the size of files is tried in any case."""
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


def _disks() -> Iterator[Program]:
    source = snippets("disks")["working"]
    for size in (120, 250, 500) if can_mount() else ():
        more: dict[str, Any] = {**_mounted(f"{size}k"), "hows": (QUIET,), "complains": True, "trace_kept": False}
        yield _one(f"a disk of {size} KiB", source, **more)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    yield _one("files of at most 400 kB", source, prepare=limit, complains=True, trace_kept=False)
    refused: dict[str, Any] = {"hows": (QUIET,), "trace_kept": False, "judge": _refused}
    if can_mount():
        yield _one("a disk that is full from the start", source, **{**_mounted("8k"), **refused})
    yield _one("a folder that is not there", source, trace=("-o", "no/such/it.gradscope"), **refused)


def _refused(plain: Outcome, traced: Outcome) -> list[str]:
    """Where no trace can be begun, one line says so before the program starts."""
    lines = traced.stderr.splitlines()
    right = traced.status == 2 and not traced.stdout and len(lines) == 1 and lines[0].startswith("gradscope: ")
    return [] if right else [f"{traced.status} {traced.stdout!r} {traced.stderr!r}"]


def _places() -> Iterator[Program]:
    """The program itself does to the trace what another would do meanwhile; the program must not notice."""
    for name, source in snippets("disks").items():
        more: dict[str, Any] = {"hows": (QUIET,), "complains": True, "trace_kept": False}
        if name == "the trace's folder becomes read-only":
            if not can_mount():
                continue
            more |= _mounted("9m")
        elif name.endswith(("is renamed", "is overwritten", "emptied", "mapped too", "becomes a folder")):
            more |= {"judge": _unnoticed, "readable": False}
        elif name == "its own folder is removed":
            more["trace_kept"] = True
        if name != "working":
            yield _one(name, source, **more)


def _unnoticed(plain: Outcome, traced: Outcome) -> list[str]:
    """The program's own output and status. The trace's file is what the program made of it."""
    ours = [line for line in traced.stderr.splitlines() if not line.startswith("gradscope: ")]
    same = (plain.status, plain.stdout, plain.stderr.splitlines()) == (traced.status, traced.stdout, ours)
    return [] if same else [f"{plain.status} {plain.stderr!r} became {traced.status} {traced.stderr[-500:]!r}"]


def _limits() -> Iterator[Program]:
    def small_stack() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (2**21, 2**21))

    other: dict[str, dict[str, Any]] = {
        "few descriptors left to the end": {"trace_kept": False},
        "a stack that is small": {"prepare": small_stack},
        "no more threads": {"hows": (QUIET,)},
        "no CPU time left": {"aside": frozenset({STRUCK, MAIN, ALIVE, COUNTERS})},
    }
    for name, source in snippets("limits").items():
        yield _one(name, source, **{"complains": True, **other.get(name, {})})
