"""Backward hooks of modules: they can replace gradients, as those of tensors can."""

from __future__ import annotations

import functools
import sys
from types import FrameType
from typing import Any

from torch import nn

from ..hiding.patch_set import HookSet
from ..journal.journal import Journal
from ..journal.stations import HOOK
from .module_names import ModuleNames

_NAME = "register_full_backward_hook"


class ModuleHookWatch:
    """Notes each registration as a call that belongs to the module, with the line where the hook returns."""

    def __init__(self, journal: Journal, names: ModuleNames) -> None:
        self.journal, self.names = journal, names

    def install(self, hooks: HookSet) -> None:
        original = nn.Module.register_full_backward_hook

        @functools.wraps(original)
        def register_full_backward_hook(module: nn.Module, hook: Any, *args: Any, **kwargs: Any) -> Any:
            journal = self.journal
            journal.matching.passes(HOOK, sys._getframe(1), ())
            if journal.mine():
                with journal.guard("a module's hook"):
                    self._registered(module, hook, sys._getframe(1))
            return original(module, hook, *args, **kwargs)

        hooks.patch(nn.Module, _NAME, register_full_backward_hook)

    def _registered(self, module: nn.Module, hook: Any, frame: FrameType) -> None:
        journal = self.journal
        stack, direct = journal.here.locate(frame)
        behind = journal.sites.behind(getattr(hook, "__func__", hook), stack)
        around = journal.here.module, journal.here.module_call
        journal.here.module, journal.here.module_call = self.names.number(module), None
        try:
            journal.ops.add(_NAME, stack, direct, [], (), [], 0, 0, behind=behind)
        finally:
            journal.here.module, journal.here.module_call = around
