"""The module path that gradscope itself uses, and the one that `python` would make for a script.

Python puts the folder of a command, or the current one, in front of what is installed, and those of PYTHONPATH next: a
`json.py` that lies there would be run by whoever imports json. On gradscope's own path what is installed comes first,
PYTHONPATH last, and the first folder is not there at all, unless gradscope is found nowhere else.

`begin` is called before anything is imported, so nothing but `sys` is imported here, `os` being there already.
"""

import sys

PACKAGE = __name__.partition(".")[0]

given: "list[str]" = []  # the path as Python made it
own: "list[str]" = []  # gradscope's own, once the program has begun
from_start: "set[str]" = set()  # the modules, but for our own, that were there when it began


def begin() -> None:
    """Make the path gradscope's own. The program does this first; doing it again changes nothing."""
    if own:
        return
    given[:] = sys.path
    from_start.update(name for name in sys.modules if name.partition(".")[0] != PACKAGE)
    own[:] = [*_installed(given), *_users(given)]
    sys.path = own
    if not any(_finds(finder) for finder in sys.meta_path):
        own.append(_home())


def python_path(first: str) -> "list[str]":
    """The path as `python` makes it for a script in the folder `first`."""
    begin()
    return [first, *given[1:]] if has_first() else list(given)


def has_first() -> bool:
    """Whether Python puts a script's folder in front of its path: not with -I or -P."""
    return not (sys.flags.isolated or getattr(sys.flags, "safe_path", False))


def front(path: "list[str]") -> "list[str]":
    """The part of `path` that is searched before the standard library."""
    import os

    library = os.path.dirname(os.__file__)  # noqa: PTH120  # pathlib is yet to be imported
    return path[: path.index(library)] if library in path else list(path)


def _users(path: "list[str]") -> "list[str]":
    return front(path)[1 if has_first() else 0 :]


def _installed(path: "list[str]") -> "list[str]":
    return path[len(front(path)) :]


def _finds(finder: object) -> bool:
    find = getattr(finder, "find_spec", None)
    return find is not None and find(PACKAGE, None) is not None


def _home() -> str:
    """The folder that this package is in."""
    import os

    home = os.path.abspath(__file__)  # noqa: PTH100
    for _ in range(__name__.count(".") + 1):
        home = os.path.dirname(home)  # noqa: PTH120
    return home
