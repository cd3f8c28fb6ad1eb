"""Run a script exactly as `python` would, and record what autograd does.

The script's own output stays as it is; a summary follows on stderr, and the exit status is the script's.
The trace is kept also when the script fails. Options come before SCRIPT; whatever follows it is the script's.

  gradscope trace train.py --lr 0.1           recorded into train.gradscope
  gradscope trace -o run.gradscope -m pkg.train
  gradscope trace --graph last.svg train.py   also draws the graph of the last backward
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import BeingWritten, CannotWrite, GradscopeError, UsageError
from ...options import CaptureOptions
from ...text import byte_count, printable
from ..arguments import add_options, chosen, split_script
from ..exit_codes import ScriptInterrupted
from ..faults import describe_fault
from ..terminal import ascii_only, colour, complain, say, summed_up, width

if TYPE_CHECKING:
    from ...store import TraceWriter

SUFFIX = ".gradscope"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "gradscope trace [OPTIONS] SCRIPT [ARGS…]\n       gradscope trace [OPTIONS] -m MODULE [ARGS…]"
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the trace (default: SCRIPT's stem + .gradscope in the current folder)"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument(
        "--graph", metavar="FILE", help="also draw the last backward's graph; the suffix picks the format"
    )
    parser.add_argument("--view", action="store_true", help="open the trace in the terminal UI afterwards")
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary at the end")
    add_options(parser, CaptureOptions)
    parser.add_argument("-m", metavar="MODULE", help="run a module as `python -m` does", dest="module")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Our options up to the script; the script and what follows it are kept as they are."""
    ours, target = split_script(parser, arguments)
    namespace = parser.parse_args(ours)
    if not target:
        parser.error("there is no SCRIPT to run")
    if target[0].startswith("-m"):
        target = [*([target[0][2:]] if target[0] != "-m" else []), *target[1:]]
        if not target:
            parser.error("-m needs the name of a MODULE")
        namespace.module = target[0]
    namespace.script, namespace.arguments = target[0], target[1:]
    return namespace


def run(namespace: argparse.Namespace) -> int:
    """Check everything, run the script, finish the trace. Returns the script's exit status."""
    from ...capture import runner
    from ...capture.session import ScriptRecording

    module = namespace.module is not None
    options = CaptureOptions(**chosen(namespace, CaptureOptions))
    (runner.check_module if module else runner.check_script)(namespace.script)
    picture = _graph_file(namespace)
    path, writer, how = _open(namespace)
    result = _Result(path, picture, namespace.quiet, how)
    shown = f"-m {namespace.script}" if module else namespace.script
    recording = ScriptRecording(writer, options, shown, namespace.arguments)
    start = runner.run_module if module else runner.run_script
    outcome = start(namespace.script, namespace.arguments, recording)
    if not outcome.forked:
        result.incomplete = writer.failed is not None
        result.finish([reason for reason in (recording.fault, writer.failed) if reason is not None])
    if outcome.interrupted:
        raise ScriptInterrupted
    if namespace.view and not outcome.forked and not result.incomplete:
        result.view()
    return outcome.status


class _Result:
    """What a traced script leaves. Made before it runs: it may change folders, streams and warnings."""

    def __init__(self, path: Path, picture: Path | None, quiet: bool, how: str) -> None:
        self.shown = path
        self.path = path.absolute()
        self.picture = picture
        self.picture_path = picture.absolute() if picture is not None else None
        self.quiet = quiet
        self.how = how
        self.incomplete = False
        self.stderr = sys.stderr
        self.folder = Path.cwd()
        self.environment = dict(os.environ)

    def view(self) -> None:
        """Open the trace in the terminal UI: in a process of its own, free of what the script left in this one."""
        command = [sys.executable, "-m", "gradscope", "view", "--", str(self.path)]
        try:
            subprocess.run(command, cwd=self.folder, env=self.environment, check=False)
        except OSError as error:
            complain(f"the trace was not opened: {error.strerror}", self.stderr)

    def finish(self, faults: Sequence[str]) -> None:
        """Draw and sum up. The script has run: nothing from here on changes its exit status."""
        for fault in faults:
            complain(fault, self.stderr)
        if self.incomplete:
            return  # the file may hold anything, even another run's trace
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self._draw()
                self._explain()
                if not self.quiet:
                    say(summed_up(self._summary(), self.stderr), self.stderr)
            except GradscopeError as error:
                complain(str(error), self.stderr)
            except Exception as error:  # noqa: BLE001  # the boundary of everything after the script
                complain(describe_fault(error), self.stderr)

    def _draw(self) -> None:
        if self.picture_path is None:
            return
        from ... import api
        from ...store import open_trace

        with open_trace(self.path) as trace:
            try:
                api.draw(trace).save(self.picture_path)
            except GradscopeError as error:
                self.picture = None
                complain(f"no picture was drawn: {error}", self.stderr)

    def _explain(self) -> None:
        """After a traceback that autograd raised: the line that is wrong, if one is certain."""
        if self.quiet:
            return
        from ...diagnose import judge
        from ...diagnose.check import CERTAIN
        from ...model.findings import Severity
        from ...render.findings import Look, one
        from ...store import open_trace

        with open_trace(self.path) as trace:
            if trace.info.status != "failed":
                return
            found = [finding for finding in judge(trace) if finding.severity is Severity.ERROR]
        if found and found[0].confidence >= CERTAIN:
            say("", self.stderr)
            say(one(found[0], Look(width(), ascii_only(self.stderr), colour(self.stderr))).rstrip("\n"), self.stderr)
            say("", self.stderr)

    def _summary(self) -> Iterator[str]:
        from ...render.summary import line, summary
        from ...store import open_trace

        with open_trace(self.path) as trace:
            yield from f"gradscope: {summary(trace)}".splitlines()
            drawable = trace.last_backward() is not None
        size = byte_count(self.path.stat().st_size)
        yield line("file", printable(f"{self.shown} ({size}{self.how})"))
        if self.picture is not None:
            yield line("picture", printable(str(self.picture)))
        name = shlex.quote(str(self.shown))
        yield line("next", printable(f"gradscope graph {name} -o graph.svg" if drawable else f"gradscope info {name}"))


def _graph_file(namespace: argparse.Namespace) -> Path | None:
    """Where the picture goes, if one is wanted; what cannot be drawn or written is said before the script runs."""
    if namespace.graph is None:
        return None
    from ...render import engine
    from ...render.registry import by_suffix

    path = Path(namespace.graph)
    renderer = by_suffix(path)
    if renderer.name in ("svg", "png", "pdf"):
        engine.choose(renderer.name)
    _check_folder(path)
    return path


def _open(namespace: argparse.Namespace) -> tuple[Path, TraceWriter, str]:
    """Where the trace goes, its writer, and what is to be said about the name.

    Without -o, a name that another run is writing at this moment is passed over: `train-2.gradscope` is next.
    """
    from ...store import TraceWriter

    for number in itertools.count(1):
        path = _output(namespace, number)
        replaced = path.is_file()
        how = ", replaces an earlier one" if replaced else ""
        if number > 1:
            how += f", since another run was writing {_output_name(namespace)}"
        try:
            return path, TraceWriter(path, overwrite=replaced), how
        except BeingWritten:
            if namespace.output is not None:
                raise
        except CannotWrite:
            if replaced or not path.is_file():  # else another run made it since we looked
                raise
    raise AssertionError


def _output(namespace: argparse.Namespace, number: int = 1) -> Path:
    """The name to try. A file that is there is replaced only if it is a trace, or if the user says so."""
    if namespace.output is not None:
        path = Path(namespace.output)
        if path.suffix == ".py":
            raise UsageError(f"{path} would be replaced by the trace; name the trace before the script: -o FILE SCRIPT")
    else:
        path = Path(_output_name(namespace, number))
    from ...store import is_trace

    _check_folder(path)
    there = path.is_file()
    if there and namespace.output is None and not is_trace(path):
        raise CannotWrite(f"{path} is in the way and is not a trace: name another file with -o")
    if there and namespace.output is not None and not namespace.force:
        raise CannotWrite(f"{path} exists already: choose another name, or replace it with --force")
    return path


def _output_name(namespace: argparse.Namespace, number: int = 1) -> str:
    stem = namespace.script.rpartition(".")[2] if namespace.module else Path(namespace.script).absolute().stem
    return f"{stem}-{number}{SUFFIX}" if number > 1 else f"{stem}{SUFFIX}"


def _check_folder(path: Path) -> None:
    if path.is_dir():
        raise CannotWrite(f"cannot write {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise CannotWrite(f"cannot write {path}: no permission to write in this folder")
