"""What the interpreter does with an exception that leaves `__main__`: the report, and the exit status."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from ..hiding.frames import strip_traceback


def exit_status(error: BaseException | None) -> int:
    """The status (0 to 255) that the interpreter exits with when `error` left `__main__`."""
    if not isinstance(error, SystemExit):
        return 0 if error is None else 1
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    return 1


def report(error: BaseException | None) -> int:
    """Say on stderr what the interpreter says of `error`; returns the exit status, which a hook may change."""
    if isinstance(error, SystemExit):
        if not isinstance(error.code, (int, type(None))):
            _write(f"{error.code}\n")
    elif error is not None:
        _remember(error)
        hook = getattr(sys, "excepthook", None)
        if hook is None:
            _write("sys.excepthook is missing\n")
            _display(error)
            return 1
        try:
            hook(type(error), error, error.__traceback__)
        except SystemExit as asked:
            return report(asked)
        except BaseException as second:
            strip_traceback(second)
            _write("Error in sys.excepthook:\n")
            _display(second)
            _write("\nOriginal exception was:\n")
            _display(error)
    return exit_status(error)


def flush_streams() -> None:
    """Flush stderr and stdout as the interpreter does when a script has ended; what cannot be flushed stays."""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except Exception:  # noqa: S112  # the interpreter tries again, and reports, when it exits
            continue


def _remember(error: BaseException) -> None:
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error


def _display(error: BaseException) -> None:
    show: Any = sys.__excepthook__
    trace: TracebackType | None = error.__traceback__
    show(type(error), error, trace)


def _write(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text)
