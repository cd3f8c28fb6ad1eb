"""Where a trace goes: the name of its file, and what is to be said about that name."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..capture.environment.launch import Rank
from ..errors import BeingWritten, CannotWrite, TraceFileError, UsageError
from ..store import TraceWriter, is_trace

SUFFIX = ".gradscope"


@dataclass(frozen=True, slots=True)
class Output:
    """A trace file that is open for writing. `remark` is what is to be said about its name."""

    path: Path
    writer: TraceWriter
    remark: str = ""


def ranked(path: Path, rank: Rank | None) -> Path:
    """The name that a rank has for what a single process would write to `path`: `out.rank1.gradscope`."""
    return path if rank is None else path.with_name(f"{path.stem}.{rank.label}{path.suffix}")


def open_output(namespace: argparse.Namespace, rank: Rank | None) -> Output:
    """Open the trace of `gradscope trace`. Raises CannotWrite, UsageError."""
    if namespace.output is not None:
        asked = Path(namespace.output)
        if asked.suffix == ".py":
            raise UsageError(
                f"{asked} would be replaced by the trace; name the trace before the script: -o FILE SCRIPT"
            )
    else:
        stem = namespace.script.rpartition(".")[2] if namespace.module else Path(namespace.script).absolute().stem
        asked = Path(f"{stem}{SUFFIX}")
    if rank is not None:
        return _in_job(ranked(asked, rank), replace=namespace.force and not rank.restarts)
    if namespace.output is not None:
        return _as_asked(asked, namespace.force)
    return _by_default(asked)


def check_folder(path: Path) -> None:
    """Raises CannotWrite where no file `path` can be made."""
    if path.is_dir():
        raise CannotWrite(f"cannot write {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise CannotWrite(f"cannot write {path}: no permission to write in this folder")


def _as_asked(path: Path, force: bool) -> Output:
    """The file of -o, which is replaced only if the user says so."""
    check_folder(path)
    there = path.is_file()
    if there and not force:
        raise CannotWrite(f"{path} exists already: choose another name, or replace it with --force")
    return Output(path, TraceWriter(path, overwrite=there), _REPLACES if there else "")


def _by_default(first: Path) -> Output:
    """The default name: an earlier trace is replaced, one that is being written now is passed over."""
    for path in _numbered(first):
        check_folder(path)
        there = path.is_file()
        if there and not is_trace(path):
            raise CannotWrite(f"{path} is in the way and is not a trace: name another file with -o")
        remark = _REPLACES if there else ""
        if path != first:
            remark += f", since another run was writing {first}"
        try:
            return Output(path, TraceWriter(path, overwrite=there), remark)
        except BeingWritten:
            continue
        except CannotWrite:
            if there or not path.is_file():  # else another run made it since we looked
                raise
    raise AssertionError


def _in_job(asked: Path, *, replace: bool) -> Output:
    """A file for one rank of a job, whose other ranks run already: if `asked` cannot be had, another name is taken.

    The name's next numbers are tried, then the current folder. Raises CannotWrite when no file can be made at all.
    """
    wrong = ""
    for first in (asked, Path(asked.name)):
        for path in _numbered(first):
            try:
                replaced = _REPLACES if replace and path.is_file() else ""
                return Output(path, TraceWriter(path, overwrite=replace), f", since {wrong}" if wrong else replaced)
            except (TraceFileError, OSError) as error:  # noqa: PERF203  # each name is one try
                there = os.path.lexists(path)  # what cannot even be looked at is not there
                wrong = wrong or (f"{asked} exists already" if there else str(error))
                if not there:
                    break
    raise CannotWrite(wrong)


def _numbered(first: Path) -> Iterator[Path]:
    """`train.gradscope`, `train-2.gradscope` and so on."""
    yield first
    for number in itertools.count(2):
        yield first.with_name(f"{first.stem}-{number}{first.suffix}")


_REPLACES = ", replaces an earlier one"
