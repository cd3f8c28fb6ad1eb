"""Keeps Python's cyclic garbage collector off what was read: walking that costs a key 50 ms and more."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from ..model.collector import collector_waits


@contextmanager
def kept() -> Iterator[None]:
    """What is made inside is meant to last: the collector waits, and afterwards leaves it alone."""
    with collector_waits():
        try:
            yield
        finally:
            gc.freeze()
