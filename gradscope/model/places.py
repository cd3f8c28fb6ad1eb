"""Where things are: lines of the user's code, and modules by qualified path."""

from __future__ import annotations

import ntpath
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .graph import SourceLine
from .records import Module, Parameter

if TYPE_CHECKING:
    from .trace import Trace


class Lines:
    """The innermost user line of each call stack, read once."""

    def __init__(self, trace: Trace) -> None:
        self._stacks = trace.source.stacks()
        self._sites = trace.source.sites()
        self._seen: dict[int, SourceLine | None] = {}

    def line(self, stack: int | None) -> SourceLine | None:
        if stack is None:
            return None
        if stack not in self._seen:
            found = self._stacks.get(stack)
            site = (
                next((self._sites[number] for number in found.sites if number in self._sites), None) if found else None
            )
            self._seen[stack] = SourceLine(site.file, site.line, site.code) if site else None
        return self._seen[stack]

    def place(self, stack: int | None) -> str:
        """As in `train.py:12`, without the folder; "an unknown line" when the stack was not seen."""
        line = self.line(stack)
        return f"{ntpath.basename(line.file)}:{line.line}" if line else "an unknown line"


class ModulePaths:
    """Modules by the path that a reader names them by.

    With one model that is the qualified name (`encoder.fc1`). When two models have modules of the same
    name, theirs begin with the model's own name (`netD.fc1`). A root without children (a bare loss or
    layer) goes by its root's name; a root with children is the picture itself and has no path.
    """

    def __init__(self, modules: Mapping[int, Module]) -> None:
        seen = Counter(module.path for module in modules.values() if module.path)
        self._prefixed = {module.root for module in modules.values() if seen[module.path] > 1}
        parents = {module.root for module in modules.values() if module.path}
        self._paths: dict[int, str | None] = {}
        self.types: dict[str, str] = {}
        for module in modules.values():
            path = self._qualified(module.root, module.path)
            if not module.path and module.root in parents and module.root not in self._prefixed:
                path = None
            self._paths[module.id] = path
            if path is not None:
                self.types[path] = module.type

    def _qualified(self, root: str, path: str) -> str | None:
        if root in self._prefixed and path:
            return f"{root}.{path}"
        return path or root or None

    def of(self, module: int | None) -> str | None:
        """The path of a module, None for none and for the root that is the whole picture."""
        return self._paths.get(module) if module is not None else None

    def of_parameter(self, parameter: Parameter) -> str | None:
        """The path of the module that owns a parameter, if that module was seen."""
        path = self._qualified(parameter.root, parameter.name.rpartition(".")[0])
        return path if path in self.types else None
