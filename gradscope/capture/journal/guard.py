"""The shell around what the recorder does for itself: it looks away, tries, and notes what fails."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from ..hiding.no_torch_function import Unseen


class Guard:
    """Context manager: nothing of the script's sees what runs in it, and what it raises is a fault of the trace.

    After a fault the script goes on behind the block. What is no fault of ours goes on as it was raised.
    Where each op or each matched step passes, the same is spelled out: this costs half a microsecond more.
    """

    __slots__ = ("_note", "_unseen", "_what")

    def __init__(self, note: Callable[[str, Exception], None], what: str) -> None:
        self._note, self._what = note, what
        self._unseen = Unseen()

    def __enter__(self) -> None:
        self._unseen.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._unseen.__exit__(kind, error, traceback)
        if not isinstance(error, Exception):
            return False
        self._note(self._what, error)
        return True
