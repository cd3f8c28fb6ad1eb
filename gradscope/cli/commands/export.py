"""Write the data of a trace for other programs.

The suffix of FILE picks the format; this version writes json. FILE `-` is stdout.

  gradscope export train.gradscope train.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import UsageError
from ..exit_codes import DONE
from ..terminal import put

LATER = (".csv", ".parquet", ".json.gz")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", metavar="TRACE", help="a .gradscope file")
    parser.add_argument("file", metavar="FILE", help="what to write")


def run(namespace: argparse.Namespace) -> int:
    from ...model.document import trace_json
    from ...render.registry import save
    from ...store import open_trace

    _check(namespace.file)
    with open_trace(namespace.trace) as trace:
        if namespace.file == "-":
            for part in trace_json(trace):
                put(part)
        else:
            save(Path(namespace.file), "".join(trace_json(trace)).encode())
    return DONE


def _check(file: str) -> None:
    """Raises UsageError for a format that is not there."""
    name = file.lower()
    if name == "-" or (name.endswith(".json") and Path(file).stem):
        return
    later = next((suffix for suffix in LATER if name.endswith(suffix)), None)
    if later is not None:
        raise UsageError(f"{later} is not in this version: export writes .json")
    raise UsageError(f"export cannot tell a format from {file!r}: it writes .json")
