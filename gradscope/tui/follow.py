"""Following a trace that is still being written: an own reading of the file, and what is new in it. For workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import NoSuchFile
from ..model.records import StepRow, TraceInfo
from ..model.trace import Trace
from .session import read_tables

INTERVAL = 0.5  # seconds between two looks at the file


@dataclass(frozen=True, slots=True)
class News:
    """A newer reading of the trace, its tables read."""

    trace: Trace
    steps: Sequence[int]
    info: TraceInfo

    @property
    def runs(self) -> bool:
        """Whether the script still runs."""
        return self.info.status == "running"


class Follower:
    """Looks at the file when asked to. `reopen` opens another reading of it; until it is there, `missing` is True."""

    def __init__(self, reopen: Callable[[], Trace]) -> None:
        self._reopen = reopen
        self._probe: Trace | None = None
        self._seen: tuple[object, ...] | None = None
        self.missing = False

    def look(self) -> News | None:
        """What is new since the last look, or None when nothing is. Raises TraceFileError."""
        if self._probe is None:
            try:
                self._probe = self._reopen()
            except NoSuchFile:
                if self._seen is not None:  # it was there
                    raise
                self.missing = True
                return None
            self.missing = False
        probe = self._probe
        probe.source.refresh()
        steps, info = probe.source.step_numbers(), probe.info
        last = probe.source.step_row(steps[-1]) if steps else None
        seen = (len(steps), steps[-1] if steps else None, _grown(last), info.status)
        if seen == self._seen:
            probe.source.refresh()  # lets go of the file, so that its writer can tidy up
            return None
        self._seen = seen
        self._probe = None  # it is the reader's now
        read_tables(probe)
        return News(probe, steps, info)

    def close(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None


def _grown(row: StepRow | None) -> tuple[object, ...]:
    """What changes while a step runs: it is written anew under another template."""
    return (row.template, row.open) if row is not None else ()
