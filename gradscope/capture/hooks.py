"""`HookSet`: owns every patch that recording makes, and takes all of them back.

A patch replaces one attribute. Closing restores it only where our value is still in place, so a script
that patched the same attribute after us keeps its own patch (which then calls ours, now idle).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class HookSet:
    """Patches and handles, undone in reverse order by `close()`."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def patch(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace `owner.name`. Class attributes are restored as they were stored (static, class methods)."""
        namespace = vars(owner)
        had = name in namespace
        original = namespace.get(name)
        setattr(owner, name, replacement)
        placed = vars(owner)[name]

        def undo() -> None:
            if vars(owner).get(name) is not placed:
                return
            if had:
                setattr(owner, name, original)
            else:
                delattr(owner, name)

        self._undo.append(undo)

    def add(self, undo: Callable[[], None]) -> None:
        """Run `undo` when the set is closed."""
        self._undo.append(undo)

    def close(self) -> None:
        """Undo everything, last first; every undo runs even when another fails, then the first error is raised."""
        first: BaseException | None = None
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:
                first = first or error
        if first is not None:
            raise first
