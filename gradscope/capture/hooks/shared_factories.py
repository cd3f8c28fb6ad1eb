"""Factories of tensors that share memory with something outside torch, which torch's function modes do not see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from ..hiding.frames import trampoline
from ..hiding.patch_set import HookSet
from ..journal.journal import Journal

_FACTORIES = ("from_numpy", "frombuffer", "from_dlpack")


class FactoryWatch:
    """Records each call of such a factory as an op, and what it exposes."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def install(self, hooks: HookSet) -> None:
        for name in _FACTORIES:
            hooks.patch(torch, name, self._factory(name, getattr(torch, name)))

    def _factory(self, name: str, original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        journal = self.journal

        def make(*args: Any, **kwargs: Any) -> torch.Tensor:
            if torch.compiler.is_compiling():
                return original(*args, **kwargs)
            if not journal.mine() or not journal.draft.with_graph:
                return original(*args, **kwargs)
            frame = sys._getframe(1)
            tensor: torch.Tensor = trampoline(frame)(original, args, kwargs)
            with journal.guard(f"the result of {name}"):
                stack, direct = journal.here.locate(frame)
                journal.ops.add(name, stack, direct, [], (), [tensor], 0, 0)
                journal.exposed.expose([tensor], name, stack)
            return tensor

        make.__name__, make.__doc__ = name, original.__doc__
        return make
