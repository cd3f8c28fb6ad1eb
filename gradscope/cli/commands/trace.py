"""Run a script exactly as `python` would, and record what autograd does.

The script's own output stays as it is; a summary follows on stderr, and the exit status is the script's.
The trace is kept also when the script fails. Options come before SCRIPT; whatever follows it is the script's.

  gradscope trace train.py --lr 0.1           recorded into train.gradscope
  gradscope trace -o run.gradscope -m pkg.train
  gradscope trace --graph last.svg train.py   also draws the graph of the last backward
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...capture.run.worlds import own_imports
from ...errors import GradscopeError
from ...options import CaptureOptions
from ...text import byte_count, plural, printable
from ..arguments import add_options, chosen, split_script
from ..child import command
from ..exit_codes import ScriptInterrupted
from ..faults import describe_fault
from ..terminal import Stream, ascii_only, colour, complain, say, summed_up, width
from ..voice import Voice, own_voice

if TYPE_CHECKING:
    from ...capture.environment.launch import Rank
    from ..output import Output


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
    for flag in (
        "--stand-in",
        "--instead-of",
    ):  # a copy, and the file in whose place it runs
        parser.add_argument(flag, help=argparse.SUPPRESS)
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
    from ...capture.environment.launch import own_rank
    from ...capture.run import script_runner
    from ...capture.run.script_recording import ScriptRecording, Unrecorded
    from ...capture.run.stand_ins import stand_in

    module = namespace.module is not None
    options = CaptureOptions(**chosen(namespace, CaptureOptions))
    (script_runner.check_module if module else script_runner.check_script)(namespace.script)
    rank = own_rank()
    if namespace.stand_in is not None and namespace.instead_of is not None:
        stand_in(namespace.instead_of, namespace.stand_in)
    voice = own_voice(f"[{rank.label}]: " if rank is not None else "")
    picture, output = _prepare(namespace, rank, voice)
    recording: ScriptRecording | Unrecorded = Unrecorded()
    if output is not None:
        shown = f"-m {namespace.script}" if module else namespace.script
        recording = ScriptRecording(output.writer, options, shown, namespace.arguments, rank)
    result = _Result(output, picture, namespace.quiet, voice)
    start = script_runner.run_module if module else script_runner.run_script
    outcome = start(namespace.script, namespace.arguments, recording)
    if not outcome.forked:
        with own_imports():
            result.finish(recording.fault)
    if namespace.view and not outcome.forked and not outcome.interrupted and (rank is None or rank.number == 0):
        result.view()
    if isinstance(voice, Voice):
        voice.close()
    if outcome.interrupted:
        raise ScriptInterrupted
    return outcome.status


def _prepare(namespace: argparse.Namespace, rank: Rank | None, voice: Stream) -> tuple[Path | None, Output | None]:
    """Where the picture and the trace go. Raises GradscopeError, but not in a job, whose other ranks run already."""
    from ..output import open_output

    if rank is None:
        return _graph_file(namespace, rank), open_output(namespace, rank)
    picture, output = None, None
    try:
        picture = _graph_file(namespace, rank)
    except (GradscopeError, OSError) as error:
        complain(f"no picture will be drawn: {error}", voice)
    try:
        output = open_output(namespace, rank)
    except (GradscopeError, OSError) as error:
        complain(f"{namespace.script} runs without being recorded: {error}", voice)
    return picture, output


class _Result:
    """What a traced script leaves. Made before it runs: it may change folders, streams and warnings."""

    def __init__(self, output: Output | None, picture: Path | None, quiet: bool, voice: Stream) -> None:
        self.output = output
        self.path = output.path.absolute() if output is not None else Path()
        self.picture = picture
        self.picture_path = picture.absolute() if picture is not None else None
        self.quiet = quiet
        self.stderr = voice
        self.folder = Path.cwd()
        self.environment = dict(os.environ)
        self.viewer = command("view", "--", str(self.path))
        self.possible = 0  # causes of a failure that are not certain

    @property
    def whole(self) -> bool:
        """Whether there is a trace of the run: a file that could not be written may hold anything, even another's."""
        return self.output is not None and self.output.writer.failed is None

    def view(self) -> None:
        """Open the trace in the terminal UI: in a process of its own, free of what the script left in this one."""
        if not self.whole:
            return
        try:
            subprocess.run(self.viewer, cwd=self.folder, env=self.environment, check=False)
        except OSError as error:
            complain(f"the trace was not opened: {error.strerror}", self.stderr)

    def finish(self, fault: str | None) -> None:
        """Draw and sum up. The script has run: nothing from here on changes its exit status."""
        for reason in (fault, self.output.writer.failed if self.output is not None else None):
            if reason is not None:
                complain(reason, self.stderr)
        if not self.whole:
            return
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
        """After a traceback that autograd raised: the line that is wrong, if one is certain; else the summary asks."""
        if self.quiet:
            return
        from ...diagnose import CERTAIN, judge
        from ...diagnose.registry import UNEXPLAINED
        from ...model.findings import Severity
        from ...render.findings import Look
        from ...render.findings import one as shown
        from ...store import open_trace

        with open_trace(self.path) as trace:
            if trace.info.status != "failed":
                return
            found = [one for one in judge(trace) if one.severity is Severity.ERROR and one.code != UNEXPLAINED.code]
        self.possible = len(found) if found and found[0].confidence < CERTAIN else 0
        if found and not self.possible:
            say("", self.stderr)
            say(shown(found[0], Look(width(), ascii_only(self.stderr), colour(self.stderr))).rstrip("\n"), self.stderr)
            say("", self.stderr)

    def _summary(self) -> Iterator[str]:
        from ...render.summary import line, summary
        from ...store import open_trace

        assert self.output is not None
        with open_trace(self.path) as trace:
            yield from f"gradscope: {summary(trace)}".splitlines()
            drawable = trace.last_backward() is not None
            script = trace.info.script
        size = byte_count(self.path.stat().st_size)
        yield line("file", printable(f"{self.output.path} ({size}{self.output.remark})"))
        if self.picture is not None:
            yield line("picture", printable(str(self.picture)))
        name = shlex.quote(str(self.output.path))
        if self.possible:
            checked = name if script.startswith("-m ") else shlex.quote(script)
            yield line("cause", printable(f"{plural(self.possible, 'possible cause')}: gradscope check {checked}"))
        yield line("next", printable(f"gradscope graph {name} -o graph.svg" if drawable else f"gradscope info {name}"))


def _graph_file(namespace: argparse.Namespace, rank: Rank | None) -> Path | None:
    """Where the picture goes, if one is wanted; what cannot be drawn or written is said before the script runs."""
    if namespace.graph is None:
        return None
    from ...render import engine
    from ...render.registry import by_suffix
    from ..output import check_folder, ranked

    path = ranked(Path(namespace.graph), rank)
    renderer = by_suffix(path)
    if renderer.name in ("svg", "png", "pdf"):
        engine.choose(renderer.name)
    check_folder(path)
    return path
