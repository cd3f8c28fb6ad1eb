"""Our stack frames, and how they stay out of the script's sight.

While a recording runs, a torch call of the script passes through frames that plain Python has not:

    script → [torch function, first entry → handle_torch_function →] our handler → trampoline → torch function

`trampoline` calls from a frame that has the caller's file, line and globals, so that a warning raised in C
lands where it would without us. `shown` takes the additional frames out of a traceback, `strip_traceback`
out of an exception and everything chained to it. The module `transparency` does the same where the script
looks at its own stack. Nothing here imports torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, TypeVar

Call = Callable[[Callable[..., Any], Sequence[Any], "dict[str, Any] | None"], Any]
T = TypeVar("T")

_CAPTURE = str(Path(__file__).parents[1]) + os.sep
_PACKAGE = __name__.rpartition(".hiding.")[0] + "."
_OVERRIDES = str(Path("torch", "overrides.py"))
TRAMPOLINE = "<gradscope call>"  # the name of every trampoline's code, which no Python function can have
_ENTRY_DEPTH = 4  # frames between a torch function's first entry and handle_torch_function, at most
_CACHE_LIMIT = 20_000

# One line of code, so that its only line can be made any line of the script.
_template = (lambda func, args, kwargs: func(*args, **kwargs) if kwargs else func(*args)).__code__
_HIDE = "__tracebackhide__"  # the local or global name by which pytest and IPython, walking by themselves, omit a frame
_codes: dict[tuple[int, int], tuple[CodeType, CodeType]] = {}


def trampoline(frame: FrameType) -> Call:
    """A function `(func, args, kwargs)` that calls `func` as if `frame`, at its current line, did.

    The code is cached by call site; only code objects are kept, never a frame or its globals.
    """
    code = frame.f_code
    key = (id(code), frame.f_lasti)
    known = _codes.get(key)
    if known is None:
        if len(_codes) >= _CACHE_LIMIT:
            _codes.clear()
        made = _template.replace(co_filename=code.co_filename, co_firstlineno=frame.f_lineno, co_name=TRAMPOLINE)
        known = _codes[key] = (made, code)  # `code` is kept so that its id stays its own
    return FunctionType(known[0], frame.f_globals)


def bottom(call: Callable[..., T], *args: Any) -> T:
    """Calls `call`: this frame and all below it are gradscope's, all above it are the script's."""
    return call(*args)


def hide_from_walkers() -> None:
    """Marks all modules of this package that are there as those whose frames pytest and IPython leave out."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_PACKAGE):
            module.__dict__[_HIDE] = True


def is_ours(code: CodeType) -> bool:
    """Whether this code is gradscope's own: of this package, or a trampoline."""
    return code.co_name == TRAMPOLINE or code.co_filename.startswith(_CAPTURE)


def hidden(frames: Sequence[FrameType]) -> list[bool]:
    """For each of `frames`, a stack or a traceback from the outside in: whether plain Python has not got it."""
    codes = [frame.f_code for frame in frames]
    ours = [is_ours(code) for code in codes]
    flags = list(ours)
    end = 0
    for start, mine in enumerate(ours):
        if mine and start >= end:  # a run of our frames begins here
            end = start
            while end < len(codes) and ours[end]:
                end += 1
            _hide_entry(codes, flags, start, end)
            _hide_import(codes, flags, start, end)
        if codes[start] is bottom.__code__:
            flags[:start] = [True] * start
    return flags


def _hide_entry(codes: Sequence[CodeType], flags: list[bool], start: int, end: int) -> None:
    """Hide what led from a torch function to our frames `start:end`, if it went on to enter it again."""
    before = start - 1
    if before < 0 or not _is_handler(codes[before]):
        return
    flags[before] = True
    if end == len(codes):
        return
    for entry in range(before - 1, max(before - 1 - _ENTRY_DEPTH, -1), -1):
        if codes[entry] is codes[end]:
            flags[entry:before] = [True] * (before - entry)
            return


def _hide_import(codes: Sequence[CodeType], flags: list[bool], start: int, end: int) -> None:
    """Hide the import system around our frames `start:end` that took part in it, as Python does."""
    if not start or not _imports(codes[start - 1]):
        return
    while start and _imports(codes[start - 1]):
        start -= 1
        flags[start] = True
    while end < len(codes) and _imports(codes[end]):
        flags[end] = True
        end += 1


def _imports(code: CodeType) -> bool:
    return code.co_filename.startswith("<frozen importlib")


def _is_handler(code: CodeType) -> bool:
    return code.co_name == "handle_torch_function" and code.co_filename.endswith(_OVERRIDES)


# -- tracebacks ------------------------------------------------------------------------------------


def shown(traceback: TracebackType | None) -> TracebackType | None:
    """`traceback` without the frames that plain Python has not got; itself when there are none."""
    entries: list[TracebackType] = []
    while traceback is not None:
        entries.append(traceback)
        traceback = traceback.tb_next
    flags = hidden([entry.tb_frame for entry in entries])
    if not any(flags):
        return entries[0] if entries else None
    result: TracebackType | None = None
    for entry, away in zip(reversed(entries), reversed(flags)):
        if not away:
            result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


def strip_traceback(error: BaseException) -> None:
    """Take our frames out of `error`, of all exceptions chained to it and of the members of groups."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        BaseException.with_traceback(current, shown(current.__traceback__))
        waiting += [current.__cause__, current.__context__]
        members = getattr(current, "exceptions", None)
        if isinstance(members, tuple):
            waiting += [member for member in members if isinstance(member, BaseException)]


def release(error: BaseException) -> None:
    """Drop what our finished frames in `error`'s traceback hold, so that no tensor outlives its call.

    They are marked for those who walk tracebacks themselves, for a trampoline's globals are the script's.
    """
    entry = error.__traceback__
    while entry is not None:
        if is_ours(entry.tb_frame.f_code):
            try:
                entry.tb_frame.clear()
                entry.tb_frame.f_locals[_HIDE] = True
            except RuntimeError:  # the handler that is asking is still running
                pass
        entry = entry.tb_next


def told_below(error: BaseException, beneath: int) -> bool:
    """Whether a call below the handler that is asking raised `error`, and so told it already.

    The call itself passed the handlers of `beneath` other recorders.
    """
    entry = error.__traceback__
    asking = entry.tb_frame.f_code if entry is not None else None
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
        if entry.tb_frame.f_code is asking:
            beneath -= 1
    return beneath < 0


def stack_of(frame: FrameType | None) -> list[FrameType]:
    """The frames from `frame` outwards, innermost first."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found
