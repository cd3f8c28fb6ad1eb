"""While this is open, a script that looks at its own stack does not see gradscope.

Patched: the walkers that all of `traceback` (and so `logging`) goes through, `inspect.getouterframes` and
`getinnerframes` (and so `inspect.stack`), what counts as a frame to the `stacklevel` of loggers, and `warnings.warn`,
whose `stacklevel` counts frames, wherever a module holds it.
"""

from __future__ import annotations

import _warnings
import inspect
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType, TracebackType
from typing import Any

from .frames import hidden, hide_from_walkers, is_ours, shown, stack_of, strip_traceback
from .patch_set import HookSet

_WARNS = ("warn", "_warn")  # names by which modules hold `warnings.warn`
_BEYOND = 1 << 20  # a stacklevel beyond every stack
_opened = 0
_hooks = HookSet()


class Transparency:
    """Context manager; opened twice (a recording within a recorded script), it is closed by the last."""

    def __init__(self) -> None:
        self._open = False

    def __enter__(self) -> Transparency:
        global _opened
        _opened += 1
        self._open = True
        hide_from_walkers()
        if _opened == 1:
            _patch()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the patches back. Where the script patched over one, its own stays."""
        global _opened
        if self._open:
            self._open = False
            _opened -= 1
            if not _opened:
                _hooks.close()


def _patch() -> None:
    for name in ("walk_tb", "_walk_tb_with_full_positions"):
        if hasattr(traceback, name):
            _hooks.patch(traceback, name, _walker(getattr(traceback, name)))
    _hooks.patch(traceback, "walk_stack", _stack_walker(traceback.walk_stack))
    for name in ("getouterframes", "getinnerframes"):
        _hooks.patch(inspect, name, _frame_lister(getattr(inspect, name)))
    # What prints an exception that leaves a thread walks its traceback in C.
    _hooks.patch(threading, "_make_invoke_excepthook", _stripping(threading._make_invoke_excepthook))  # type: ignore[attr-defined]
    original, warner = warnings.warn, _warner(warnings.warn)
    for module in list(sys.modules.values()):
        if module is not _warnings:
            for name in _WARNS:
                if getattr(module, "__dict__", {}).get(name) is original:
                    _hooks.patch(module, name, warner)
    if hasattr(logging, "_is_internal_frame"):  # since Python 3.11: what the `stacklevel` of a logger does not count
        is_internal: Callable[[FrameType], bool] = logging._is_internal_frame
        _hooks.patch(logging, "_is_internal_frame", lambda frame: is_internal(frame) or is_ours(frame.f_code))


def _stripping(original: Callable[[], Callable[..., None]]) -> Callable[[], Callable[..., None]]:
    def make() -> Callable[..., None]:
        report = original()

        def strip_and_report(*args: Any) -> None:
            error = sys.exc_info()[1]
            if error is not None:
                strip_traceback(error)
            report(*args)

        return strip_and_report

    return make


def _walker(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    @wraps(original)
    def walk(tb: TracebackType | None) -> Iterator[Any]:
        if tb is None or not is_ours(tb.tb_frame.f_code):
            return original(shown(tb))
        # No traceback of a script begins here: who asks walks it himself, and means this entry (pytest).
        return original(TracebackType(shown(tb.tb_next), tb.tb_frame, tb.tb_lasti, tb.tb_lineno))

    return walk


def _stack_walker(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    @wraps(original)
    def walk_stack(f: FrameType | None) -> Iterator[tuple[FrameType, int]]:
        if f is None:
            return original(None)  # it finds its caller by counting frames while it is consumed
        return iter([(frame, frame.f_lineno) for frame in _visible(f)])

    return walk_stack


def _visible(frame: FrameType) -> list[FrameType]:
    """The stack from `frame` outwards without hidden frames."""
    stack = stack_of(frame)[::-1]
    return [frame for frame, away in zip(stack, hidden(stack)) if not away][::-1]


def _frame_lister(original: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    @wraps(original)
    def list_frames(*args: Any, **kwargs: Any) -> list[Any]:
        found = original(*args, **kwargs)
        outwards = original.__name__ == "getouterframes"
        frames = [info.frame for info in (reversed(found) if outwards else found)]
        flags = hidden(frames)
        if outwards:
            flags.reverse()
        return [info for info, away in zip(found, flags) if not away]

    return list_frames


def _warner(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def warn(message: Any, category: Any = None, stacklevel: Any = 1, source: Any = None, **options: Any) -> None:
        if type(stacklevel) is not int:
            return original(message, category, stacklevel, source, **options)
        prefixes = tuple(options.get("skip_file_prefixes") or ())
        level = _level(sys._getframe(1), stacklevel, prefixes)
        return original(message, category, level, source, **options)

    warn._torchdynamo_disable = True  # type: ignore[attr-defined]  # compiled code calls it, as it calls the original
    return warn


def _level(caller: FrameType, stacklevel: int, prefixes: tuple[str, ...]) -> int:
    """The level that leads from our wrapper to the frame that `stacklevel` means without us.

    Mirrors `warnings.warn`: frames of the import system and of `prefixes` do not count, except the
    caller's own. A level beyond the stack stays beyond it.
    """
    stack = stack_of(caller)
    flags = hidden(stack[::-1])[::-1]
    counted = [not _skipped(frame, prefixes) for frame in stack]
    wanted = max(stacklevel, 2 if prefixes else 1)
    reached = 1
    for position in range(len(stack)):
        if position and counted[position] and not flags[position]:
            reached += 1
        elif position:
            continue
        if reached == wanted:
            return 1 + sum(counted[: position + 1])
    return _BEYOND


def _skipped(frame: FrameType, prefixes: tuple[str, ...]) -> bool:
    name = frame.f_code.co_filename
    return ("importlib" in name and "_bootstrap" in name) or name.startswith(prefixes)
