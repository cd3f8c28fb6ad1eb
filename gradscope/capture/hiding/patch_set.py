"""`HookSet`: owns every patch that recording makes, and takes all of them back.

A patch replaces one attribute. Closing restores it only where our value is still in place, so a script
that patched the same attribute after us keeps its own patch (which then calls ours, now idle). A module that
was imported meanwhile may have taken our value as a name of its own (`from warnings import warn`): it gets
what it would have taken without us.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any, NamedTuple

passed_to: set[CodeType] = set()  # code of torch's and of the script's that patches of ours go on to


class _Patch(NamedTuple):
    """One attribute: what was there, if anything, and what is there instead."""

    owner: Any
    name: str
    had: bool
    original: Any
    placed: Any

    def put(self) -> None:
        setattr(self.owner, self.name, self.placed)

    def is_undone(self) -> bool:
        found = vars(self.owner)
        return found.get(self.name) is self.original if self.had else self.name not in found

    def undo(self) -> bool:
        """Put back what was there. Returns whether ours was still in place."""
        if vars(self.owner).get(self.name) is not self.placed:
            return False
        if self.had:
            setattr(self.owner, self.name, self.original)
        else:
            delattr(self.owner, self.name)
        return True


class HookSet:
    """Patches and handles, undone in reverse order by `close()`."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._patches: list[_Patch] = []
        self._modules: frozenset[str] = frozenset()  # that were imported before the first patch

    def patch(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace `owner.name`. Class attributes are restored as they were stored (static, class methods)."""
        if not self._patches:
            self._modules = frozenset(sys.modules)
        namespace = vars(owner)
        had = name in namespace
        original = namespace.get(name)
        goes_on_to(original)
        setattr(owner, name, replacement)
        patch = _Patch(owner, name, had, original, vars(owner)[name])
        self._patches.append(patch)
        self._undo.append(patch.undo)

    def add(self, undo: Callable[[], None]) -> None:
        """Run `undo` when the set is closed."""
        self._undo.append(undo)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Within the block, patches that are still in place are not."""
        lifted = [patch for patch in reversed(self._patches) if patch.undo()]
        try:
            yield
        finally:
            for patch in reversed(lifted):
                if self._patches and patch.is_undone():
                    patch.put()

    def close(self) -> None:
        """Undo everything, last first; every undo runs even when another fails, then the first error is raised."""
        originals = {id(patch.placed): patch for patch in self._patches}
        self._patches.clear()
        first: Exception | None = None
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:
                first = first or error
        for module in _imported_since(self._modules):
            for name, value in list(vars(module).items()):
                patch = originals.get(id(value))
                if patch is not None and patch.placed is value:
                    setattr(module, name, patch.original)
        if first is not None:
            raise first


def _imported_since(known: frozenset[str]) -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name not in known and isinstance(module, ModuleType):
            yield module


def goes_on_to(function: object) -> None:
    """Note that a frame of ours that calls `function` only stands between it and the script."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if isinstance(code, CodeType):
        passed_to.add(code)
