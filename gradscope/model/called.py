"""Which call of a module each op of a step lies in. A module called twice is two boxes of a picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from .graph import Called
from .moments import Template
from .names import Names


class Calls:
    """The calls of a step's modules, by keys that tell several calls of one module apart: `relu:2`.

    A model that is the whole picture has no box, so what it calls lies in none.
    """

    def __init__(self, template: Template, names: Names) -> None:
        self._keys: dict[tuple[int, int], str] = {}
        self._first: dict[int, str] = {}
        self.table: dict[str, Called] = {}
        paths = [names.box(call.module) for call in template.calls]
        times = Counter(paths)
        around: list[str] = []
        seen: Counter[str] = Counter()
        inside: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for place, (call, path) in enumerate(zip(template.calls, paths)):
            parent = around[call.parent] if call.parent is not None and call.parent < place else ""
            if path is None:
                around.append(parent)
                continue
            seen[path] += 1
            key = f"{path}:{seen[path]}" if times[path] > 1 else path
            around.append(key)
            inside[parent, path].append(key)
            self.table[key] = Called(path, parent)
            self._keys[call.module, call.call] = key
            self._first.setdefault(call.module, key)
        for (parent, path), keys in inside.items():
            if len(keys) > 1:
                self.table.update({key: Called(path, parent, number) for number, key in enumerate(keys, 1)})

    def key(self, module: int | None, call: int | None) -> str | None:
        """The key of a module's call; of the first one where it is not known which."""
        if module is None:
            return None
        return self._keys.get((module, call or 0)) or self._first.get(module)

    def taking_part(self, keys: set[str]) -> Mapping[str, Called]:
        """These calls and those around them."""
        found: dict[str, Called] = {}
        for key in keys:
            while key and key not in found:
                found[key] = self.table[key]
                key = found[key].parent
        return found
