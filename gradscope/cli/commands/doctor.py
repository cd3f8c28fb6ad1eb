"""Show what this machine can do: versions, layout engines, terminal, devices.

gradscope doctor
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from ...text import printable, raised
from ...version import __version__
from ..child import command
from ..exit_codes import DONE, FOUND
from ..faults import machine
from ..terminal import ascii_only, colour, say, tell, width

PACKAGES = ("executing", "graphviz", "graphviz-pure", "rich", "textual", "numpy", "ipython")
TORCH_SECONDS = 60


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)  # what `_torch` asks


def run(namespace: argparse.Namespace) -> int:
    if namespace.torch:
        return _tell_torch()
    for label, fact in _facts():
        tell(f"{label:<14} {printable(fact)}\n")
    return DONE


def _tell_torch() -> int:
    """What `_torch` asks another process for."""
    try:
        from ...capture.environment.devices import devices, version

        tell(f"{version()}\n{', '.join(devices())}\n")
    except Exception as error:  # noqa: BLE001  # whatever a broken torch raises
        say(raised(type(error).__name__, error))
        return FOUND
    return DONE


def _facts() -> Iterator[tuple[str, str]]:
    yield "gradscope", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "platform", machine()
    torch, devices = _torch()
    yield "torch", torch
    yield "devices", devices
    for package in PACKAGES:
        yield package, _version(package)
    yield from _engines()
    yield "terminal", _terminal()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _torch() -> tuple[str, str]:
    """Torch's version and the devices it sees, or why it cannot tell.

    Asked in a process of its own: a broken or slow one costs its line, not the report.
    """
    try:
        done = subprocess.run(
            command("doctor", "--torch"), capture_output=True, text=True, timeout=TORCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{_version('torch')}, which did not import within {TORCH_SECONDS} s", "unknown"
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) < 2:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"{_version('torch')}, which cannot be imported: {why}", "unknown"
    return lines[-2], lines[-1]


def _engines() -> Iterator[tuple[str, str]]:
    from ...errors import GradscopeError
    from ...render import engine

    found = engine.available()
    if not found:
        yield "layout", "no engine: pip install graphviz-pure; dot, json, mmd and text need none"
    for position, one in enumerate(found):
        try:
            version = one.version()
        except GradscopeError as error:
            version = str(error)
        yield "layout", f"{one.name}{' (used first)' * (position == 0)}: {version}"
    if not any(one.name == "dot" for one in found):
        yield "layout", "no dot, which PDF needs: install Graphviz (https://graphviz.org/download)"


def _terminal() -> str:
    kind = "a terminal" if sys.stdout.isatty() else "a pipe or file"
    signs = "ASCII" if ascii_only() else "Unicode"
    colours = "colours" if colour() else "no colours" + " (NO_COLOR)" * bool(os.environ.get("NO_COLOR"))
    return f"{kind}, {width()} columns, {signs}, {colours}, TERM={os.environ.get('TERM', '')}"
