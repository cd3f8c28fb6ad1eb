"""What a trace could not take: told in its faults, with a row in place of a record that can have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..model.codec import dumps
from ..text import raised
from . import rows
from .rows import text

MAX_FAULTS = 20
_HELD = (str, bytes, float, type(None))  # what SQLite holds, beside whole numbers of 64 bits
R = TypeVar("R")


class Faults:
    """The faults of one trace: those that the recorder told, and those of writing what it recorded."""

    def __init__(self) -> None:
        self._of_writing: list[str] = []
        self._recorded: tuple[str, ...] = ()  # the faults that the recorder itself told
        self._written = 0

    def recorded(self, faults: tuple[str, ...]) -> None:
        """The recorder's own, which are written already."""
        self._recorded, self._written = faults, len(faults)

    def add(self, record: object, error: Exception) -> None:
        """A record could not be written."""
        if len(self._of_writing) < MAX_FAULTS:
            kind = type(record).__name__ if type(record) not in (list, tuple) else "several records"
            self._of_writing.append(f"{kind} could not be written: {raised(type(error).__name__, error)}"[:300])

    def write(self, execute: Callable[..., object]) -> None:
        """Write them, where there are more than before."""
        faults = [*self._recorded, *self._of_writing]
        if len(faults) != self._written:
            execute("INSERT OR REPLACE INTO info VALUES ('faults', ?)", (text(dumps(list(faults))),))
            self._written = len(faults)

    def row(self, make: Callable[[R], rows.Row], record: R, spare: Callable[[R], R]) -> rows.Row:
        """The record's row; if it can have none, that of its `spare`."""
        try:
            row = make(record)
            for value in row:
                if not isinstance(value, _HELD) and not (isinstance(value, int) and -(1 << 63) <= value < 1 << 63):
                    raise ValueError(f"no column holds {value!r:.60}")
        except Exception as error:  # noqa: BLE001  # told in the trace's faults
            self.add(record, error)
            return make(spare(record))
        return row
