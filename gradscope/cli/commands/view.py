"""Step through a trace in the terminal, forwards and backwards, and see every gradient.

Opens at the first step, or at step N. Keys are shown at the bottom; ? explains all of them.

  gradscope view train.gradscope
  gradscope view train.gradscope --step 3
"""

from __future__ import annotations

import argparse
import sys

from ...errors import UsageError
from ..exit_codes import DONE


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="a .gradscope file")
    parser.add_argument("--step", type=int, metavar="N", help="the step to begin at (default: the first)")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")


def run(namespace: argparse.Namespace) -> int:
    from ...store import open_trace

    with open_trace(namespace.trace) as trace:
        start = trace.step(namespace.step).number if namespace.step is not None else None
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("view needs a terminal; without one, use: gradscope graph, info or export")
        from ...tui.app import GradscopeApp
        from ...tui.cursor import START, Place

        place = Place(start, START) if start is not None else None
        GradscopeApp(trace, place, ascii=namespace.ascii).run()
    return DONE
