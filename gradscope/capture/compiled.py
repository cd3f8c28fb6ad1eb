"""Compiled functions stay compiled: while one runs, the recording looks away.

Dynamo would trace through our function mode, or leave the function uncompiled because of it. Functions that
are compiled while a recording runs are wrapped; earlier ones are met where Dynamo switches itself on for a call.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from .hooks import HookSet, goes_on_to
from .journal import Journal
from .pause import Pause

_SWITCH = "_maybe_set_eval_frame"


class CompiledWatch:
    """Notes that compiled functions ran, and pauses the recording for each."""

    def __init__(self, journal: Journal, pause: Pause) -> None:
        self.journal, self.pause = journal, pause
        self._calls: list[FrameType] = []  # Dynamo's, of the compiled functions that run now

    def install(self, hooks: HookSet) -> None:
        self._install_compile(hooks)
        dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")
        if dynamo is not None and hasattr(dynamo, _SWITCH):
            hooks.patch(dynamo, _SWITCH, self._switch(getattr(dynamo, _SWITCH)))

    def _mine(self) -> bool:
        return self.journal.recording() and threading.get_ident() == self.journal.thread

    def _switch(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def switch(callback: Any) -> Any:
            """Dynamo's call of a compiled function switches it on first, and back in the end."""
            frame = sys._getframe(1)
            if self._calls and self._calls[-1] is frame:
                self._calls.pop()
                self.pause.end()
            elif frame.f_code.co_name == "compile_wrapper" and callable(callback) and self._mine():
                self.journal.compiled(frame)
                self._calls.append(frame)
                self.pause.begin()
            return original(callback)

        return switch

    def _install_compile(self, hooks: HookSet) -> None:
        original: Callable[..., Any] = torch.compile

        @functools.wraps(original)
        def compile(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if isinstance(result, torch.nn.Module) or not callable(result):
                return result  # a compiled module is met in Module.__call__
            if not args and kwargs.get("model") is None:
                return lambda model: self._aside(result(model))  # used as a decorator with options
            return self._aside(result)

        hooks.patch(torch, "compile", compile)

    def _aside(self, compiled: Any) -> Any:
        if isinstance(compiled, torch.nn.Module) or not callable(compiled):
            return compiled

        goes_on_to(compiled)

        @functools.wraps(compiled)
        def run(*args: Any, **kwargs: Any) -> Any:
            if not self._mine():
                return compiled(*args, **kwargs)
            self.journal.compiled(sys._getframe(1))
            with self.pause:
                return compiled(*args, **kwargs)

        return run
