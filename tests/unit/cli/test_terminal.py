"""Data to stdout, talk to stderr, in whatever the terminal can show."""

from __future__ import annotations

import errno
import io

import pytest

from gradscope.cli import terminal
from gradscope.errors import CannotWrite


class Stream(io.TextIOWrapper):
    """A text stream over bytes, a terminal or not."""

    def __init__(self, encoding: str = "utf-8", tty: bool = False) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty

    def text(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_put_escapes_what_the_encoding_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream("ascii")
    monkeypatch.setattr("sys.stdout", stream)
    terminal.put("a → b\n")
    assert stream.text() == "a \\u2192 b\n"


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "4 → 2…  3 × é\n"), ("latin-1", "4 -> 2...  3 × é\n"),
                                                  ("ascii", "4 -> 2...  3 x \\xe9\n")])  # fmt: skip
def test_words_have_plain_forms_of_signs_that_a_stream_lacks(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = Stream(encoding), Stream(encoding)
    monkeypatch.setattr("sys.stdout", out)
    terminal.tell("4 → 2…  3 × é\n")
    terminal.say("4 → 2…  3 × é", err)
    assert (out.text(), err.text()) == (shown, shown)


def test_say_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Stream()
    closed.close()
    terminal.say("nobody hears", closed)
    monkeypatch.setattr("sys.stderr", None)
    terminal.say("nobody hears")


def test_complain_is_one_harmless_line() -> None:
    stream = Stream("ascii")
    terminal.complain("no file \x1b[31mred\nnext\u202e…", stream)
    assert stream.text() == "gradscope: no file \\x1b[31mred\\nnext\\u202e...\n"


@pytest.mark.parametrize(
    ("tty", "variables", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour(tty: bool, variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Stream(tty=tty))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert terminal.colour() is expected


def test_width_is_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "123")
    assert terminal.width() == 123


class FullStream(io.StringIO):
    """A stream to a disk without room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_put_says_that_stdout_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", FullStream())
    with pytest.raises(CannotWrite, match="cannot write to stdout: No space left on device"):
        terminal.put("a")


@pytest.mark.parametrize(("encoding", "expected"), [("utf-8", False), ("ascii", True), ("latin-1", True)])
def test_ascii_only(encoding: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Stream(encoding))
    assert terminal.ascii_only() is expected
