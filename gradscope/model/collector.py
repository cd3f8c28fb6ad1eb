"""Keeps Python's cyclic garbage collector waiting while many records are made or looked through.

Records have no reference cycles: they are freed as soon as nobody holds them, and a collector that walks all of them
again and again finds nothing, which takes as long as the work itself.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()  # a finalizer or a signal handler may run inside, and come here
_inside = 0
_collects = True  # whether the collector was on when the first came in


@contextmanager
def collector_waits() -> Iterator[None]:
    """No collection inside. May be nested and used from several threads; a collector that was off stays off."""
    global _inside, _collects
    with _lock:
        if not _inside:
            _collects = gc.isenabled()
        _inside += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _collects and not _inside:
                gc.enable()


def wake_in_child() -> None:
    """In a forked child nobody is inside any more: only the thread that forked goes on there."""
    global _lock, _inside
    _lock = threading.RLock()
    if _inside and _collects:
        gc.enable()
    _inside = 0
