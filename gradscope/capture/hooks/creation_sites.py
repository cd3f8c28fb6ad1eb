"""Where objects that run later were made: modules and DataLoaders."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..hiding.patch_set import HookSet
from ..journal.journal import Journal


class Births:
    """Remembers, for as long as an object lives and without keeping it alive, the stack in which it was made."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._made: dict[int, tuple[weakref.ref[Any], int]] = {}

    def install(self, hooks: HookSet) -> None:
        for kind in (nn.Module, DataLoader):
            self._install(hooks, kind)

    def _install(self, hooks: HookSet, kind: type) -> None:
        original = vars(kind)["__init__"]

        @functools.wraps(original)
        def init(made: Any, *args: Any, **kwargs: Any) -> None:
            if not torch.compiler.is_compiling():
                self._remember(made, sys._getframe(1))
            original(made, *args, **kwargs)

        hooks.patch(kind, "__init__", init)

    def _remember(self, made: Any, frame: Any) -> None:
        journal = self.journal
        if not journal.mine():
            return
        with journal.guard("where an object was made"):
            self.put(made, journal.here.locate(_maker(made, frame))[0])

    def put(self, made: Any, stack: int) -> None:
        number = id(made)
        self._made[number] = (weakref.ref(made, lambda _: self._made.pop(number, None)), stack)

    def of(self, made: Any) -> int | None:
        """The stack in which `made` was made, if that was seen."""
        known = self._made.get(id(made))
        return known[1] if known is not None and known[0]() is made else None


def _maker(made: Any, frame: Any) -> Any:
    """The innermost frame that is no `__init__` of the object's own classes: the one that makes it."""
    own = {getattr(vars(kind).get("__init__"), "__code__", None) for kind in type(made).__mro__}
    while frame is not None and frame.f_code in own:
        own.discard(frame.f_code)  # one that comes again is of an object that makes another of its class
        frame = frame.f_back
    return frame
