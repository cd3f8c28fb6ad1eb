"""No module imports itself through others: imports in functions and those for type checkers count."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import grimp
import pytest


def imports_of(package: str) -> dict[str, set[str]]:
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """The modules that reach each other, for each such group: what two walks, there and back, leave together."""
    backwards: dict[str, set[str]] = {module: set() for module in imports}
    for module, imported in imports.items():
        for other in imported:
            backwards[other].add(module)
    left, found = [], []
    seen: set[str] = set()
    for module in sorted(imports):
        left += _reached(module, imports, seen)
    seen = set()
    for module in reversed(left):
        group = _reached(module, backwards, seen)
        if len(group) > 1:
            found.append(sorted(group))
    return found


def _reached(start: str, edges: Mapping[str, set[str]], seen: set[str]) -> list[str]:
    """What is reached from `start` and not `seen` yet, each after what it leads to."""
    order: list[str] = []
    waiting = [] if start in seen else [(start, iter(sorted(edges[start])))]
    seen.add(start)
    while waiting:
        module, rest = waiting[-1]
        step = next((other for other in rest if other not in seen), None)
        if step is None:
            order.append(module)
            waiting.pop()
        else:
            seen.add(step)
            waiting.append((step, iter(sorted(edges[step]))))
    return order


def test_no_module_imports_itself_through_others() -> None:
    imports = imports_of("gradscope")
    assert "gradscope.model.graph" in imports["gradscope"]  # where only type checkers look
    assert circles(imports) == []


def test_a_circle_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "roundabout"
    package.mkdir()
    for module, lines in {
        "__init__": "from .one import A",
        "one": "A = 1\n\n\ndef f():\n    from .two import B\n    return B",
        "two": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .three import C\nB = 2",
        "three": "from .one import A\nC = 3",
        "four": "from .one import A",
    }.items():
        (package / f"{module}.py").write_text(lines + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = circles(imports_of("roundabout"))
    finally:
        sys.modules.pop("roundabout", None)
    assert found == [["roundabout.one", "roundabout.three", "roundabout.two"]]
