"""A program in a real pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pyte

from tests.scripts import environment

PATIENCE = 60  # seconds; a loaded machine is slow
_UNKNOWN = re.compile(r"\x1b\[[<=>][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$[a-z]|\x1bP.*?\x1b\\", re.DOTALL)


class Terminal:
    """A program in a pseudo-terminal and what its screen shows."""

    def __init__(self, arguments: list[str], folder: Path, size: tuple[int, int], **changes: str) -> None:
        columns, rows = size
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.Stream(self.screen)
        surroundings = environment(TERM="xterm-256color", COLORTERM="truecolor", **changes)
        for name in ("COLUMNS", "LINES"):  # the terminal's own size counts, not that of whoever runs the tests
            surroundings.pop(name, None)
        self.process = pexpect.spawn(
            sys.executable, ["-m", "gradscope", *arguments], cwd=str(folder), dimensions=(rows, columns),
            encoding="utf-8", codec_errors="replace", timeout=PATIENCE,
            env=surroundings,
        )  # fmt: skip
        self.written = ""
        self._rest = ""

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def read(self, seconds: float = 0.05) -> None:
        """Take what the program has written."""
        try:
            new = self.process.read_nonblocking(65536, seconds)
            self.written += new
            self._rest += new
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            time.sleep(seconds)
        cut = len(self._rest) if "\x1b" not in self._rest[-40:] else self._rest.rfind("\x1b")
        done, self._rest = self._rest[:cut], self._rest[cut:]
        self.stream.feed(_UNKNOWN.sub("", done))

    def rest(self) -> None:
        """Wait until the program writes no more."""
        known = -1
        while known != len(self.written):
            known = len(self.written)
            self.read(1)

    def until(self, wanted: Callable[[str], Any] | str) -> str:
        """Wait until the screen shows it; returns the screen."""
        test = (lambda text: wanted in text) if isinstance(wanted, str) else wanted
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read()
            if test(self.text):
                return self.text
        raise AssertionError(f"the screen never showed {wanted!r}:\n{self.text}")

    def type(self, keys: str) -> None:
        self.process.send(keys)

    def wait(self) -> int:
        """Until the program has ended; its exit status."""
        end = time.monotonic() + PATIENCE
        while self.process.isalive() and time.monotonic() < end:
            self.read()
        assert not self.process.isalive(), self.text
        assert self.process.signalstatus is None
        return int(self.process.exitstatus)
