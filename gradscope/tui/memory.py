"""Keeps Python's cyclic garbage collector off what was read: walking that costs a key 50 ms and more."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0


@contextmanager
def kept() -> Iterator[None]:
    """What is made inside is meant to last: the collector waits, and afterwards leaves it alone.

    Records have no reference cycles, so they are still freed as soon as nobody holds them. May be nested and
    used from several threads.
    """
    global _inside
    with _lock:
        collects = gc.isenabled() or _inside > 0
        _inside += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            gc.freeze()
            if collects and not _inside:
                gc.enable()
