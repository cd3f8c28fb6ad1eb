"""While a recording runs, a signal that strikes in our code waits until the script's own code runs again.

Python runs a signal's handler between any two instructions of the main thread. One that raises (Ctrl-C, a watchdog)
would leave our bookkeeping half done, and what it raises could be taken for a fault of ours. So handlers are wrapped:
in our code a signal is only noted, and a thread reminds the interpreter of it until it strikes elsewhere. The script
installs and sees its own handlers. Nothing here imports torch.
"""

from __future__ import annotations

import _thread
import _weakrefset
import os
import signal
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import monotonic, sleep
from types import CodeType, FrameType
from typing import Any

from .frames import TRAMPOLINE, bottom
from .patch_set import HookSet, passed_to

PATIENCE = 2.0  # seconds; a signal that has waited so long strikes wherever the program is
_PAUSES = (2e-5, 5e-3)  # between reminders, the first and the longest
_PACKAGE = str(Path(__file__).parents[2]) + os.sep
_LENT = ("torch", "numpy", "executing", "asttokens")  # packages that our code calls, besides the standard library
_LIBRARY = tuple(
    os.path.realpath(path) + os.sep for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)

_install, _tell = signal.signal, signal.getsignal
_DEAF = frozenset({_weakrefset.__file__, weakref.__file__})  # callbacks of weak references, whose errors are only shown

_opened = 0
_hooks = HookSet()
_waiting: set[Any] = set()  # numbers of signals
_since: dict[int, float] = {}  # when each struck first that has not reached the script
_reminding = False
_fork_hook = False


class Signals:
    """Context manager; opened twice (a recording within a recorded script), it is closed by the last.

    Only the main thread runs handlers: elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self._open = False

    def __enter__(self) -> Signals:
        global _opened
        if threading.current_thread() is threading.main_thread():
            self._open = True
            _opened += 1
            if _opened == 1:
                _patch()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the handlers back. A signal that still waits strikes now: this raises what its handler does."""
        global _opened
        if not self._open:
            return
        self._open = False
        _opened -= 1
        if not _opened:
            _hooks.close()
        for number in list(_waiting):
            _strike(number)


class _Guarded:
    """A handler that does not run while our code does."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        waited = monotonic() - _since.setdefault(number, monotonic())
        if waited < PATIENCE and at_work(frame) and _wait(number):
            return None
        _since.pop(number, None)
        return self.handler(number, frame)


# -- whose code runs -------------------------------------------------------------------------------


def at_work(frame: FrameType | None) -> bool:
    """Whether code of ours is at work at `frame`, and not code of the script's or of torch's that it went on to.

    So it counts, too, where what a handler raises would reach nobody.
    """
    if frame is not None and frame.f_code.co_filename in _DEAF:
        return True
    inner: FrameType | None = None
    while frame is not None:
        code = frame.f_code
        if code.co_name == TRAMPOLINE or code is bottom.__code__:
            return False
        if _of_the_package(code):
            return inner is None or (inner.f_code not in passed_to and _is_lent(inner.f_code.co_filename))
        inner, frame = frame, frame.f_back
    return False


def _of_the_package(code: CodeType) -> bool:
    """Whether this is code of any room of ours: records and files are at work, too."""
    return code.co_filename.startswith(_PACKAGE)


def _is_lent(file: str) -> bool:
    """Whether this file is of a library that our own code calls."""
    if file.startswith("<"):  # frozen modules, generated functions
        return True
    _, installed, path = os.path.realpath(file).replace("dist-packages", "site-packages").rpartition("site-packages")
    if installed:
        return Path(path).parts[1].removesuffix(".py") in _LENT
    return os.path.realpath(file).startswith(_LIBRARY)


def is_the_scripts(error: Exception) -> bool:
    """Whether an exception that was met in our code is none of ours: a handler raised it, or another thread sent it."""
    kind, _, _ = type(error).__module__.partition(".")
    entry = error.__traceback__
    codes = []
    while entry is not None:
        codes.append(entry.tb_frame.f_code)
        entry = entry.tb_next
    if codes and (_of_the_package(codes[-1]) or _is_lent(codes[-1].co_filename)):  # no handler's frame is innermost
        return isinstance(error, TimeoutError) or kind not in (*_LENT, "gradscope", *sys.stdlib_module_names)
    handlers = [getattr(_own(_tell(number)), "__code__", None) for number in signal.valid_signals()]
    return _Guarded.__call__.__code__ in codes or any(code in codes for code in handlers if code is not None)


# -- waiting ---------------------------------------------------------------------------------------


def _wait(number: int) -> bool:
    """Have the interpreter reminded of the signal. False where that is impossible."""
    global _reminding
    _waiting.add(number)
    if not _reminding:
        _reminding = True
        try:
            _thread.start_new_thread(_remind, ())
        except RuntimeError:  # no thread can be had
            _reminding = False
            _waiting.discard(number)
            return False
    return True


def _remind() -> None:
    """Strike again with each signal that waits, until none does any more."""
    global _reminding
    pause, idle = _PAUSES[0], 0
    while True:
        sleep(pause)
        pause = min(2 * pause, _PAUSES[1])
        idle = 0 if _waiting else idle + 1
        while _waiting:  # each is here, on its way or waiting again: never in two places, so it never strikes twice
            _thread.interrupt_main(_waiting.pop())
        if idle > 2:
            _reminding = False
            if not _waiting:  # nor since: who came in between saw that a thread was there
                return
            _reminding = True


def _strike(number: int) -> None:
    """Run the handler of a signal that waits, if there is one."""
    if number in _waiting:
        _waiting.discard(number)
        _since.pop(number, None)
        handler = _own(_tell(number))
        if callable(handler):
            handler(number, sys._getframe(2))


def _after_fork() -> None:
    """A child has neither the thread that reminds nor the signals that its parent was sent."""
    global _reminding
    _reminding = False
    _waiting.clear()
    _since.clear()


# -- what the script installs and sees -------------------------------------------------------------


def _guarded(handler: Any) -> Any:
    """What is installed for a handler. That of asyncio does nothing: its loop reads signals from a pipe."""
    plain = not callable(handler) or isinstance(handler, (signal.Handlers, _Guarded))
    return handler if plain or getattr(handler, "__module__", "") == "asyncio.unix_events" else _Guarded(handler)


def _own(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _Guarded) else handler


@wraps(_install)
def _signal(signalnum: Any, handler: Any) -> Any:
    if _opened and signalnum in _waiting:
        _strike(signalnum)
    return _own(_install(signalnum, _guarded(handler) if _opened else handler))


@wraps(_tell)
def _getsignal(signalnum: Any) -> Any:
    return _own(_tell(signalnum))


def _patch() -> None:
    global _fork_hook
    if not _fork_hook and hasattr(os, "register_at_fork"):
        _fork_hook = True
        os.register_at_fork(after_in_child=_after_fork)
    for number in signal.valid_signals():
        handler = _tell(number)
        if _guarded(handler) is not handler:
            _install(number, _guarded(handler))
    _hooks.add(_give_back)
    _hooks.patch(signal, "signal", _signal)
    _hooks.patch(signal, "getsignal", _getsignal)


def _give_back() -> None:
    """Install the script's handlers as they are."""
    if threading.current_thread() is threading.main_thread():
        for number in signal.valid_signals():
            handler = _tell(number)
            if isinstance(handler, _Guarded):
                _install(number, handler.handler)
