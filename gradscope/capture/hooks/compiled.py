"""Compiled functions stay compiled: while one runs, the recording looks away.

Dynamo would trace through our function mode, or leave the function uncompiled because of it. A compiled function is
met where Dynamo switches itself on for a call, so that nothing of the script's is wrapped.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from ..hiding.patch_set import HookSet
from ..hiding.torch_private import COMPILED_CALL, DYNAMO, DYNAMO_SWITCH
from ..journal.journal import Journal
from .pause import Pause


class CompiledWatch:
    """Notes that compiled functions ran, and pauses the recording for each."""

    def __init__(self, journal: Journal, pause: Pause) -> None:
        self.journal, self.pause = journal, pause
        self._calls: list[FrameType] = []  # Dynamo's, of the compiled functions that run now

    def install(self, hooks: HookSet) -> None:
        if not self._install_switch(hooks):
            self._install_compile(hooks)

    def _install_switch(self, hooks: HookSet) -> bool:
        """Whether Dynamo is there already."""
        dynamo: Any = sys.modules.get(DYNAMO)
        if dynamo is None or not hasattr(dynamo, DYNAMO_SWITCH):
            return False
        hooks.patch(dynamo, DYNAMO_SWITCH, self._switch(getattr(dynamo, DYNAMO_SWITCH)))
        return True

    def _switch(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def switch(callback: Any) -> Any:
            """Dynamo's call of a compiled function switches it on first, and back in the end."""
            frame = sys._getframe(1)
            if self._calls and self._calls[-1] is frame:
                self._calls.pop()
                self.pause.end()
            elif frame.f_code.co_name == COMPILED_CALL and callable(callback) and self.journal.mine():
                self.journal.compiled(frame)
                self._calls.append(frame)
                self.pause.begin()
            return original(callback)

        return switch

    def _install_compile(self, hooks: HookSet) -> None:
        """`torch.compile` brings Dynamo in at its first call."""
        original: Callable[..., Any] = torch.compile
        switched = False

        @functools.wraps(original)
        def compile(*args: Any, **kwargs: Any) -> Any:
            nonlocal switched
            result = original(*args, **kwargs)
            if not switched and self.journal.here.active:
                switched = self._install_switch(hooks)
            return result

        hooks.patch(torch, "compile", compile)
