"""`torch.jit.trace` keeps the Python stack, its lines and its local names: while it runs, nothing of ours is on it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from ..hiding.patch_set import HookSet
from ..hiding.torch_private import TRACERS, TRACING
from ..journal.journal import Journal
from .pause import Pause


class TracingWatch:
    """Takes patches and mode away for each trace, and notes that it ran."""

    def __init__(self, journal: Journal, pause: Pause) -> None:
        self.journal, self.pause = journal, pause

    def install(self, hooks: HookSet) -> None:
        tracers: Any = sys.modules[TRACING]
        for name in TRACERS:
            if hasattr(tracers, name):
                run = self._aside(getattr(tracers, name), hooks)
                for owner in (tracers, torch.jit):
                    if hasattr(owner, name):
                        hooks.patch(owner, name, run)

    def _aside(self, original: Callable[..., Any], hooks: HookSet) -> Callable[..., Any]:
        @wraps(original)
        def run(*args: Any, **kwargs: Any) -> Any:
            journal = self.journal
            if not journal.mine():
                return original(*args, **kwargs)
            with journal.guard("a trace by torch.jit"):
                journal.note(f"torch.jit.{original.__name__} ran here: its ops were not recorded", sys._getframe(1))
            with self.pause, hooks.lifted():
                return original(*args, **kwargs)

        return run
