"""Acts once, right after a module's first successful import, without importing it earlier."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def when_imported(name: str, act: Callable[[], None]) -> Iterator[None]:
    """Within the block, `act` runs when module `name` has been imported: now, if it has been already."""
    if name in sys.modules:
        act()
        yield
        return
    watch = _Watch(name, act)
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        watch.done()


def import_first(name: str) -> None:
    """Import module `name` before modules of ours that need it: what waits for it may need the same ones, whole."""
    importlib.import_module(name)


class _Watch:
    """A finder that finds what the others find, and wraps the execution of one module."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self.name = name
        self.act = act
        self._searching = False

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name != self.name or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        loader = spec.loader if spec is not None else None
        if loader is None or not hasattr(loader, "__dict__"):
            return spec

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)  # the loader's own method shows again
            loader.exec_module(module)
            self.done()
            self.act()

        vars(loader)["exec_module"] = exec_module
        return spec

    def done(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
