"""The numbers of our files: the program's own have those that they would have without us."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_HIGH = 200
_OURS = 8  # files of ours that must find a number where fewer than that are allowed


@contextmanager
def high_numbers() -> Iterator[None]:
    """What is opened in this block gets a high number: the low ones are taken meanwhile."""
    taken: list[int] = []
    try:
        try:
            while not taken or taken[-1] < _HIGH:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:  # so many are not allowed: the highest of those that are
            for number in taken[-_OURS:]:
                os.close(number)
            del taken[-_OURS:]
        yield
    finally:
        for number in taken:
            os.close(number)
