"""A thread that the program does not find among its own."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable


class HiddenThread:
    """A daemon that `threading` does not list; trace functions for new threads are not called in it."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self._over = threading.Event()

    def start(self) -> None:
        _thread.start_new_thread(self._to_its_end, ())

    def is_alive(self) -> bool:
        return not self._over.is_set()

    def join(self, timeout: float) -> None:
        """Wait for its end, but no longer than `timeout` seconds."""
        self._over.wait(timeout)

    def _to_its_end(self) -> None:
        try:
            self._run()
        finally:
            self._over.set()
