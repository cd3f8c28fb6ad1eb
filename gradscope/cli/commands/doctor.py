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

from ...text import printable
from ..exit_codes import DONE
from ..terminal import ascii_only, colour, tell, width

PACKAGES = ("executing", "graphviz", "graphviz-pure", "rich", "textual", "numpy", "ipython")
TORCH_SECONDS = 60

# torch is asked in a process of its own: a broken or slow one costs its line, not the report.
_DEVICES = """
import torch
found = ["cpu"]
for kind in ("cuda", "xpu", "mps"):
    module = getattr(torch, kind, None)
    if module is not None and module.is_available():
        count = module.device_count() if hasattr(module, "device_count") else 1
        name = getattr(module, "get_device_name", lambda index: "")
        found += [f"{kind}:{index} {name(index)}".strip() for index in range(count)]
print(torch.__version__)
print(", ".join(found))
"""


def configure(parser: argparse.ArgumentParser) -> None:  # noqa: ARG001  # every verb has it; this one has no options
    return


def run(namespace: argparse.Namespace) -> int:  # noqa: ARG001
    for label, fact in _facts():
        tell(f"{label:<14} {printable(fact)}\n")
    return DONE


def _facts() -> Iterator[tuple[str, str]]:
    from ... import __version__

    yield "gradscope", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "platform", platform.platform()
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
    """Torch's version and the devices it sees, or why it cannot tell."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DEVICES], capture_output=True, text=True, timeout=TORCH_SECONDS, check=False
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
