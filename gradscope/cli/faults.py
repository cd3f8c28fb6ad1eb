"""A fault of gradscope's own: the details go to a file, one line says where."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback

from ..text import raised
from ..version import __version__


def machine() -> str:
    """The system and its version; `platform.platform` would start a program to know the processor."""
    return f"{platform.system()}-{platform.release()}-{platform.machine()}"


def describe_fault(error: Exception) -> str:
    """Write what is needed to find the fault to a new file; returns the line that names it."""
    what = f"internal error: {raised(type(error).__name__, error)}"
    head = f"gradscope {__version__}, Python {platform.python_version()}, {machine()}\n"
    text = "".join([head, f"{sys.argv}\n\n", *traceback.format_exception(type(error), error, error.__traceback__)])
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="gradscope-", suffix=".txt", delete=False
        ) as file:
            file.write(text)
    except OSError as second:
        return f"{what} (the details could not be written: {second.strerror})"
    return f"{what}; please report it with the details in {file.name}"
