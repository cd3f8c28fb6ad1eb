"""Draw the autograd graph of one step, as text in the terminal or into a file.

Draws the last step that had a backward, or step N. A SCRIPT is traced first; what it prints goes to stderr,
so that stdout holds the drawing alone.

  gradscope graph train.gradscope                       in the terminal
  gradscope graph train.gradscope -o last.svg           svg png pdf dot json graphml mmd txt
  gradscope graph train.py --kind backward -o last.png
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ScriptNotFound
from ...options import ViewOptions
from ...text import printable
from ..arguments import add_options, chosen
from ..child import command
from ..exit_codes import DONE, INTERRUPTED
from ..terminal import ascii_only, colour, complain, put, say, width

if TYPE_CHECKING:
    from ...model.graph import Graph
    from ...model.trace import Trace


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TRACE|SCRIPT", help="a .gradscope file, or a script to trace first")
    parser.add_argument("-o", "--output", metavar="FILE", help="what to write (default: text to stdout)")
    add_options(parser, ViewOptions)


def run(namespace: argparse.Namespace) -> int:
    from ... import api
    from ...render.registry import by_suffix
    from ...store import open_trace

    options = chosen(namespace, ViewOptions)
    if namespace.output is not None:
        by_suffix(namespace.output)
    with tempfile.TemporaryDirectory(prefix="gradscope-") as folder:
        path = namespace.target
        if is_script(path):
            status, path = trace_script(namespace.target, folder)
            if path is None or status == INTERRUPTED:
                return status
        with open_trace(path) as trace:
            diagram = api.draw(trace, **options)
            if namespace.output is not None:
                diagram.save(namespace.output)
            else:
                put(_text(diagram.graph, diagram.options))
            _say_what_is_known(trace, diagram.graph.step)
    return DONE


def _say_what_is_known(trace: Trace, number: int | None) -> None:
    """Of a step whose ops were not watched: the picture is that of the step which did the same."""
    known = trace.step(number).unwatched if number is not None else None
    if known is not None:
        say(printable(f"gradscope: step {number}: {known}"))


def is_script(path: str) -> bool:
    """Whether `path` is to be run rather than read. Raises ScriptNotFound where nothing is there."""
    target = Path(path)
    if target.is_dir():
        return True
    try:
        with target.open("rb") as file:
            return target.suffix == ".py" and not file.read(16).startswith(b"SQLite format 3\0")
    except FileNotFoundError:
        raise ScriptNotFound(f"there is no file {path}") from None
    except OSError as error:
        raise ScriptNotFound(f"cannot read {path}: {error.strerror}") from None


def trace_script(
    script: str, folder: str, arguments: Sequence[str] = (), detail: str = "auto"
) -> tuple[int, str | None]:
    """Trace `script` in a process of its own; returns its exit status, and the trace that it left in `folder`.

    None where it could not be run at all; why is on stderr already.
    """
    from ...capture.environment.launch import own_rank
    from ..output import SUFFIX, ranked

    asked = Path(folder, Path(script).stem + SUFFIX)
    trace = command("trace", "--quiet", "--detail", detail, "-o", str(asked), "--", script, *arguments)
    status = subprocess.run(trace, stdout=sys.stderr, check=False).returncode
    left = ranked(asked, own_rank())
    if status and left.is_file():
        complain(f"{script} ended with exit status {status}; this is what it recorded")
    return INTERRUPTED if status < 0 else status, str(left) if left.is_file() else None


def _text(graph: Graph, options: ViewOptions) -> str:
    """The drawing for this terminal, or for the pipe that stdout is."""
    from ...render.base import RenderOptions
    from ...render.registry import render

    look = RenderOptions(width=width(), ascii=ascii_only(), colour=colour())
    return render(graph, "text", options, look).decode()
