"""Step through a trace in the terminal, forwards and backwards, and see every gradient.

Opens where the first backward starts, or where the script failed; at step N, or at moment M of it. Keys are shown at
the bottom; ? explains all of them. Keys and colours of your own stand in ~/.config/gradscope/view.ini.

  gradscope view train.gradscope
  gradscope view train.gradscope --step 3
  gradscope view train.gradscope --follow                  while another terminal trains
  gradscope view train.gradscope --against old.gradscope   every number with its difference to the same step of that
  gradscope view train.gradscope --screenshot ui.svg       a picture of the first screen, without a terminal
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CannotWrite, NothingToDraw, UsageError
from ..arguments import one_of
from ..child import command
from ..exit_codes import DONE
from ..terminal import ascii_only

if TYPE_CHECKING:
    from ...model.findings import Finding
    from ...model.trace import Trace
    from ...tui.app import GradscopeApp
    from ...tui.cursor import Place


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="a .gradscope file")
    parser.add_argument(
        "--step",
        metavar="N[:M]",
        help="the step to begin at, and its moment (default: the first backward, or the failure)",
    )
    parser.add_argument("--follow", action="store_true", help="read on while the trace is still being written")
    parser.add_argument("--against", metavar="TRACE", help="compare every step with the same one of another trace")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")
    parser.add_argument("--theme", metavar="THEME", type=one_of("theme", ["dark", "light"]), help="dark or light")
    parser.add_argument("--screenshot", metavar="FILE", help="write the first screen to FILE (.svg) and end")
    parser.add_argument(
        "--size", metavar="COLUMNSxROWS", type=_size, default=(120, 40), help="of the screenshot (default: 120x40)"
    )


def run(namespace: argparse.Namespace) -> int:
    picture = _picture(namespace.screenshot)
    if namespace.trace.endswith(".py"):
        raise UsageError(f"{namespace.trace} is a script: gradscope trace --view {namespace.trace} runs and shows it")
    with _open(namespace.trace, waits=namespace.follow and picture is None) as trace:
        numbers = trace.source.step_numbers()
        if not numbers and not (namespace.follow and trace.info.status == "running"):
            raise NothingToDraw(f"{namespace.trace} has no steps: nothing of torch ran while it was recorded")
        place = _place(trace, namespace.step, waits=namespace.follow)
        if picture is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("view needs a terminal; without one, use --screenshot, or gradscope graph, info or export")
        check = Check(namespace.trace)
        try:
            app = _app(namespace, trace, place, check)
            if picture is None:
                app.run()
            else:
                from ...tui.export import save_text
                from ...tui.screenshot import screenshot

                save_text(screenshot(app, namespace.size), picture)
        finally:
            check.close()
    return app.return_code or DONE


def _open(path: str, *, waits: bool) -> Trace:
    """The trace; with `waits` a running one without steps stands for a file that is not there yet."""
    from ...errors import NoSuchFile
    from ...store import open_trace

    try:
        return open_trace(path)
    except NoSuchFile:
        if not waits:
            raise
    from ...model.memory import MemorySource
    from ...model.records import Detail, TraceInfo
    from ...model.trace import Trace

    return Trace(MemorySource(TraceInfo("", (), "", "", "", "", Detail.FULL)), path)


def _app(namespace: argparse.Namespace, trace: Trace, place: Place | None, check: Check) -> GradscopeApp:
    from ...store import open_trace
    from ...tui.app import GradscopeApp, users_settings

    return GradscopeApp(
        trace,
        place,
        ascii=namespace.ascii or (namespace.screenshot is None and ascii_only()),
        theme=namespace.theme,
        findings=check,
        reopen=(lambda: open_trace(namespace.trace)) if namespace.follow else None,
        against=namespace.against,
        settings=users_settings(),
    )


class Check:
    """`gradscope check` on a trace, in a process of its own: it may take long, and must not slow the screen down."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._process: subprocess.Popen[str] | None = None
        self._closed = threading.Event()

    def __call__(self, trace: Trace) -> Sequence[Finding]:  # noqa: ARG002  # the file says it all
        """The findings; none when it was closed meanwhile. Raises ValueError when the check failed."""
        from ...model.codec import loads
        from ...model.findings import findings_from_json

        self._kill()  # of two questions the later counts
        if self._closed.is_set():
            return ()
        with subprocess.Popen(
            command("check", "--format", "json", "--", self.path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            self._process = process
            said, complaint = process.communicate()
        if self._closed.is_set():
            return ()
        if process.returncode not in (0, 1):
            raise ValueError(complaint.strip() or f"the check ended with status {process.returncode}")
        return findings_from_json(loads(said))[1]

    def close(self) -> None:
        """Stop the check if it still runs."""
        self._closed.set()
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


def _place(trace: Trace, text: str | None, *, waits: bool) -> Place | None:
    """Where to begin, though with `waits` it may come later. Raises UsageError for what is no place, NoSuchStep."""
    if text is None:
        return None
    from ...tui.cursor import START, Place, parse_place

    try:
        place = parse_place(text, Place(0, START))
    except ValueError as error:
        raise UsageError(f"--step: {error}") from None
    if not (waits and trace.info.status == "running"):
        trace.step(place.step)
    return place


def _picture(name: str | None) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if path.suffix != ".svg":
        raise UsageError(f"--screenshot writes .svg files, not {path.suffix or path.name}")
    if not path.parent.is_dir():
        raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}")
    return path


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (20 <= size[0] <= 500 and 5 <= size[1] <= 200):
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a terminal, such as 120x40 (up to 500x200)")
    return size
