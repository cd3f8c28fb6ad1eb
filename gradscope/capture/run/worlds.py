"""Two worlds of modules in one process: the script's, and gradscope's own.

Both share what both find in the same place. Where the script's path leads elsewhere (it is called `rich.py`, or has a
helper of that name beside it), the script gets its own module and gradscope the installed one: gradscope's is set
aside while the script runs, and `own_imports` puts it back, and the script's away, for as long as it is open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from types import ModuleType

from . import module_path

_SHARED = frozenset({"__main__", "torch", "numpy"})  # there is one torch, the script's, and one numpy, which is torch's

_finders = list(sys.meta_path)  # those of gradscope's own world
_aside: dict[str, ModuleType] = {}  # gradscope's own modules, while the script's names are others


def enter_script(path: list[str]) -> None:
    """From here on the process is the script's, and imports from `path`."""
    module_path.begin()
    sys.path = path
    _aside.update(_take(_led_elsewhere(_tops(sys.modules) - _tops(module_path.from_start), path)))


@contextmanager
def own_imports() -> Iterator[None]:
    """While this is open, imports are gradscope's own. Where they are so already it does nothing."""
    if not module_path.own or sys.path is module_path.own:
        yield
        return
    path, finders, before = sys.path, sys.meta_path, _tops(sys.modules)
    random = sys.modules.get("random")
    numbers = random.getstate() if random is not None and hasattr(random, "getstate") else None
    hidden = _tops(_aside)
    theirs = _take(hidden | _foreign())
    try:
        sys.path, sys.meta_path = module_path.own, _finders
        sys.modules.update(_aside)
        _aside.clear()
        yield
    finally:
        fresh = _tops(sys.modules) - before
        _aside.update(_take(hidden | _tops(theirs) | _led_elsewhere(fresh, path)))
        sys.modules.update(theirs)
        sys.path, sys.meta_path = path, finders
        if random is not None and numbers is not None:  # rich draws some when it is imported
            random.setstate(numbers)


def _tops(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def _take(tops: set[str]) -> dict[str, ModuleType]:
    """Take the modules and packages of these names, with all that is in them, out of `sys.modules`.

    Of gradscope only the name goes: what is in it is looked up there by itself, as by `typing.get_type_hints`.
    """
    names = [name for name in sys.modules if name.partition(".")[0] in tops]
    return {name: sys.modules.pop(name) for name in names if not name.startswith(f"{module_path.PACKAGE}.")}


def _led_elsewhere(tops: set[str], path: list[str]) -> set[str]:
    """Those of gradscope's modules that a script with this path does not get: it gets others of these names.

    A package called gradscope is always the one that runs: what the script asks of it is for its own recording.
    """
    front = module_path.front(path)
    found = {name: _origin(name, front) for name in tops - _SHARED}
    if (found.get(module_path.PACKAGE) or "").endswith("__init__.py"):
        del found[module_path.PACKAGE]
    return {name for name, origin in found.items() if origin is not None and origin != _loaded_from(name)}


def _foreign() -> set[str]:
    """The script's modules that have the names of others on gradscope's own path."""
    own = set(module_path.own)
    found = set()
    for name in _tops(sys.modules) - _tops(module_path.from_start) - _SHARED - {module_path.PACKAGE}:
        place = _loaded_from(name)
        folder = os.path.dirname(place or "")  # noqa: PTH120  # for each module: pathlib is slow
        if folder in own or os.path.dirname(folder) in own:  # noqa: PTH120
            continue
        if _origin(name, module_path.own) not in (None, place):
            found.add(name)
    return found


def _origin(name: str, path: list[str]) -> str | None:
    """The file that a top-level module would be loaded from; None for none, and for a folder without a file."""
    if BuiltinImporter.find_spec(name) is not None or FrozenImporter.find_spec(name) is not None:
        return None
    spec = PathFinder.find_spec(name, path)
    return spec.origin if spec is not None else None


def _loaded_from(name: str) -> str | None:
    """The file of a module that is there. A module that loads itself only when it is touched is not touched."""
    try:
        namespace = object.__getattribute__(sys.modules[name], "__dict__")
    except (KeyError, AttributeError):  # a submodule without its package; something else in a module's place
        return None
    origin = getattr(namespace.get("__spec__"), "origin", None) or namespace.get("__file__")
    return origin if isinstance(origin, str) else None
