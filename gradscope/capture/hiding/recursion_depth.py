"""Recursion: calls of the script can go as deep as without us, and it reads and sets the limit that it would.

The real limit is the script's plus the frames of ours that lie below its own: at the bottom of a traced script, and in
each call of its that passes through a patch. Nothing here imports torch.
"""

from __future__ import annotations

import sys
from typing import Any

from .patch_set import HookSet

_tell, _set = sys.getrecursionlimit, sys.setrecursionlimit
_LARGEST = (1 << 31) - 1
LEAF = 5  # frames in which an op inside a module is recorded, beyond those it has without us

_C_CALLS_COUNT = sys.version_info < (3, 12)

_opened = 0
_hooks = HookSet()
_asked = 0  # the limit as the script knows it
_below = 0  # how many frames of ours there are


class RecursionDepth:
    """Context manager: `below` frames of ours lie under the script. Opened twice, it is closed by the last."""

    def __init__(self, below: int = 0) -> None:
        self._below = below
        self._open = False

    def __enter__(self) -> RecursionDepth:
        global _opened, _asked
        self._open = True
        _opened += 1
        if _opened == 1:
            _asked = _tell()
            for ours, name in ((_told, "getrecursionlimit"), (_asked_for, "setrecursionlimit")):
                ours.__name__ = ours.__qualname__ = name
                ours.__doc__ = getattr(sys, name).__doc__
                _hooks.patch(sys, name, ours)
        add_frames(self._below)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """The limit becomes what the script knows."""
        global _opened
        if self._open:
            self._open = False
            add_frames(-self._below)
            _opened -= 1
            if not _opened:
                _hooks.close()


def _told() -> int:
    return _asked


def _asked_for(limit: Any, /) -> None:
    global _asked
    usual = isinstance(limit, int) and 0 < limit <= _LARGEST
    _set(min(limit + _below, _LARGEST) if usual else limit)
    _asked = limit


def add_frames(count: int) -> None:
    """There are so many more frames of ours below what the script calls now; where there were fewer, less."""
    global _below
    _below += count
    if not _opened:  # a patch of ours that the script kept
        return
    try:
        _set(min(_asked + _below, _LARGEST))
    except RecursionError:  # the stack is deeper at this moment; the next call lowers the limit
        pass


def frames_below(exec: bool) -> int:
    """How many frames lie below a script that the caller runs by `bottom` and a lambda, and by `exec` where it says so.

    Tried, because calls of C functions may count too.
    """
    reached = 0

    def down() -> None:
        nonlocal reached
        reached += 1
        down()

    try:
        down()
    except RecursionError:
        pass
    return _tell() - reached + 1 + (exec and _C_CALLS_COUNT)
