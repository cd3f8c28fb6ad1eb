"""The stderr that gradscope was started with: what it says beside a script goes there, whatever becomes of fd 2.

A script may close it, put a file of its own there, or leave a stream behind that fails when the interpreter flushes
it at the end. So this has a number of its own and no buffer, and looks each time whether the file is still the same.
"""

from __future__ import annotations

import os
import select
import sys
import weakref

from .terminal import Stream, encoding_of

_HIGH = 200  # the script's own files keep the low numbers
_PATIENCE = 5.0  # seconds for a full pipe whose reader rests

_Identity = tuple[int, int, int]


class Voice:
    """A stream of text without a buffer. `mark` begins each line: it says who speaks where several do."""

    def __init__(self, stream: Stream | None, mark: str = "") -> None:
        self.encoding = encoding_of(stream)
        self.mark = mark
        self._terminal = False
        self._own: int | None = None
        self._first: int | None = None  # the number that it had when we began
        self._file: _Identity | None = None
        if stream is None:
            return
        try:
            self._terminal = stream.isatty()
            self._first = stream.fileno()
            self._file = _identity(self._first)
            self._own = _copy(self._first)
        except (OSError, ValueError):  # a stream without a file, or one that is closed
            return
        _silent_in_children(self)

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        raise OSError("a voice has no number that a script could close")

    def write(self, text: str) -> int:
        """Write `text` at once. Raises OSError where there is nobody to hear it."""
        if self.mark:
            text = "".join(f"{self.mark}{line}" for line in text.splitlines(keepends=True))
        data = memoryview(text.encode(self.encoding, "backslashreplace"))
        while data:
            number = self._number()
            if number is None:
                raise OSError("stderr is closed")
            try:
                data = data[os.write(number, data) :]
            except BlockingIOError:
                if not select.select([], [number], [], _PATIENCE)[1]:
                    raise
        return len(text)

    def flush(self) -> None:
        """There is no buffer."""

    def close(self) -> None:
        """Let go of the file; nothing else's that has its number now."""
        if self._own is not None and _identity(self._own) == self._file:
            os.close(self._own)
        self._own = None

    def _number(self) -> int | None:
        """Where the file still is: under our own number, or under its first one, if not another has them now."""
        for number in (self._own, self._first):
            if number is not None and self._file is not None and _identity(number) == self._file:
                return number
        return None


def _identity(number: int) -> _Identity | None:
    try:
        stat = os.fstat(number)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_rdev


def _copy(number: int) -> int:
    """A further number for the file, which programs that the script starts do not get."""
    try:
        import fcntl

        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except (ImportError, OSError):  # Windows; fewer numbers than that are allowed
        return os.dup(number)


def _silent_in_children(voice: Voice) -> None:
    """A forked child may be a daemon, and whoever reads its stderr waits until nobody has it any more."""
    if hasattr(os, "register_at_fork"):
        here = weakref.ref(voice)

        def let_go() -> None:
            found = here()
            if found is not None:
                found.close()

        os.register_at_fork(after_in_child=let_go)


def own_voice(mark: str = "") -> Stream:
    """A voice on the stderr of now; that stream itself where it is no file, as in a notebook."""
    stream: Stream | None = sys.stderr
    if stream is not None:
        try:
            stream.fileno()
        except (OSError, ValueError, AttributeError):
            return stream
    return Voice(stream, mark)
