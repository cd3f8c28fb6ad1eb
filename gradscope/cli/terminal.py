"""Where commands write: what was asked for to stdout, talk to stderr; and what the terminal can show."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Protocol

from ..errors import CannotWrite
from ..text import printable

_PLAIN = {"→": "->", "…": "...", "×": "x", "·": "*", "–": "-", "µ": "u", "²": "^2"}  # what the house's words hold


class Stream(Protocol):
    """What words are written to."""

    @property
    def encoding(self) -> str: ...

    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...

    def isatty(self) -> bool: ...

    def fileno(self) -> int: ...


def put(text: str) -> None:
    """Write data to stdout, now, so that a reader who left is noticed here. Raises BrokenPipeError, CannotWrite.

    What the encoding of stdout lacks is escaped.
    """
    stream = sys.stdout
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as why:
        quiet(sys.stdout)
        raise CannotWrite(f"cannot write to stdout: {why.strerror}") from why


def tell(text: str) -> None:
    """Write words for a person to stdout; as `put`, but signs that stdout lacks have plain forms."""
    put(_plain(text, sys.stdout))


def say(text: str, stream: Stream | None = None) -> None:
    """Write lines to stderr; never fails, because what is said is not what was asked for."""
    stream = stream or sys.stderr
    try:
        text = _plain(text, stream)
        encoding = encoding_of(stream)
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError:  # a closed pipe, a full disk
        if stream is sys.stderr:
            quiet(stream)
    except (ValueError, AttributeError):  # a closed stream, none at all
        return


def complain(message: str, stream: Stream | None = None) -> None:
    """One line on stderr that says what went wrong."""
    say(f"gradscope: {printable(message)}", stream)


def _plain(text: str, stream: Stream) -> str:
    """`text` without the house's signs that `stream` lacks: `->` for an arrow."""
    encoding = encoding_of(stream)
    if _fits(text, encoding):
        return text
    return text.translate({ord(sign): plain for sign, plain in _PLAIN.items() if not _fits(sign, encoding)})


def encoding_of(stream: Stream | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def quiet(stream: Stream) -> None:
    """After a broken pipe or on a full disk: let the interpreter's last flush go nowhere instead of failing."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError, AttributeError):
        return


def summed_up(lines: Iterable[str], stream: Stream | None = None) -> str:
    """The lines of a summary as they look on `stream` (stdout)."""
    from ..render.summary import LABEL

    if not colour(stream):
        return "\n".join(lines)
    from ..render.colour import summary_in_colour

    return summary_in_colour(lines, LABEL).rstrip("\n")


def width() -> int:
    """Columns of the terminal; `COLUMNS` decides where it is set, and a pipe has 80."""
    return shutil.get_terminal_size((80, 24)).columns


def colour(stream: Stream | None = None) -> bool:
    """Whether a stream (stdout) shows colours: a terminal, not `TERM=dumb`, and `NO_COLOR` is not set."""
    try:
        terminal = (stream or sys.stdout).isatty()
    except (ValueError, AttributeError):  # a closed stream, none at all
        return False
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def ascii_only(stream: Stream | None = None) -> bool:
    """Whether `stream` (stdout) cannot show box-drawing characters."""
    return not _fits("│─┌▸▶×→…", (stream or sys.stdout).encoding or "ascii")
