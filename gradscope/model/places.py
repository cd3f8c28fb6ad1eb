"""Where things are: the lines of the user's code."""

from __future__ import annotations

import ntpath

from .graph import SourceLine
from .recorded import RecordedTrace


class Lines:
    """The innermost user line of each call stack, read once."""

    def __init__(self, trace: RecordedTrace) -> None:
        self._stacks = trace.source.stacks()
        self._sites = trace.source.sites()
        self._seen: dict[int, SourceLine | None] = {}

    def line(self, stack: int | None) -> SourceLine | None:
        if stack is None:
            return None
        if stack not in self._seen:
            found = self._stacks.get(stack)
            site = (
                next((self._sites[number] for number in found.sites if number in self._sites), None) if found else None
            )
            self._seen[stack] = SourceLine(site.file, site.line, site.code) if site else None
        return self._seen[stack]

    def place(self, stack: int | None) -> str:
        """As in `train.py:12`, without the folder; "an unknown line" when the stack was not seen."""
        line = self.line(stack)
        return f"{ntpath.basename(line.file)}:{line.line}" if line else "an unknown line"
