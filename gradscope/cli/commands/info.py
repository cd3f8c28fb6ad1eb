"""Show what is in a trace: steps, phases, graphs, parameters, moves, failures.

gradscope info train.gradscope
gradscope info train.gradscope --json       the same facts for programs
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...text import byte_count, printable
from ..exit_codes import DONE
from ..terminal import put, summed_up, tell

if TYPE_CHECKING:
    from ...model.overview import Overview

SCHEMA = "gradscope.info/1"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="a .gradscope file")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(namespace: argparse.Namespace) -> int:
    from ...model.codec import dumps
    from ...model.overview import overview, overview_json
    from ...store import open_trace

    with open_trace(namespace.trace) as trace:
        facts = overview(trace)
    if namespace.json:
        put(dumps({"schema": SCHEMA, "trace": namespace.trace, **overview_json(facts)}) + "\n")
    else:
        tell(summed_up(_lines(namespace.trace, facts)) + "\n")
    return DONE


def _lines(path: str, facts: Overview) -> Iterator[str]:
    from ...render.summary import line, summary_lines

    yield from summary_lines(facts)
    info = facts.info
    exact = ", ".join(f"{facts.detail[level]:,} at {level}" for level in ("full", "graph") if level in facts.detail)
    counts = [f"{facts.watched.exact:,} exact ({exact})"] if exact else []
    counts += [f"{facts.watched.matched:,} matched"] * bool(facts.watched.matched)
    counts += [f"{facts.watched.light:,} light"] * bool(facts.watched.light)
    yield line("detail", ": ".join([info.detail.value, *([", ".join(counts)] if counts else [])]))
    made = f"gradscope {info.gradscope}, Python {info.python}, torch {info.torch or 'not installed'}"
    yield line("recorded", printable(f"{info.started} by {made}"))
    yield line("file", f"{printable(path)} ({byte_count(Path(path).stat().st_size)})")
