"""What an import costs: readers never bring torch in, and the root brings nothing in."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gradscope

PACKAGE = Path(gradscope.__file__).parent
HEAVY = ("torch", "textual", "rich", "graphviz", "IPython", "numpy")


def modules() -> list[str]:
    return sorted(info.name for info in pkgutil.walk_packages([str(PACKAGE)], "gradscope."))


def reader_modules() -> list[str]:
    """All but the room that may import torch, and the program's `__main__`, which would run."""
    return [name for name in modules() if ".capture" not in name and not name.endswith("__main__")]


def imported_after(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has imported after `code`."""
    program = f"{code}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_gradscope_does_no_work() -> None:
    assert imported_after("import gradscope").isdisjoint(HEAVY)


def test_no_reader_imports_torch() -> None:
    readers = reader_modules()
    assert {"gradscope.store", "gradscope.render", "gradscope.cli.main", "gradscope.api"} <= set(readers)
    found = imported_after("\n".join(f"import {name}" for name in readers))
    assert "gradscope" in found
    assert "torch" not in found
    assert "numpy" not in found


def test_the_guard_can_fail() -> None:
    assert "torch" in imported_after("import gradscope.capture.recorder")


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    assert imported_after("import gradscope.cli.main").isdisjoint({"torch", "textual", "IPython"})


@pytest.mark.parametrize("verb", [[], ["info"], ["graph"], ["trace"], ["view"]])
def test_help_does_not_import_torch(verb: list[str]) -> None:
    code = (
        "import sys\nfrom gradscope.cli.main import main\n"
        f"try:\n    status = main({[*verb, '--help']!r})\nexcept SystemExit as stop:\n    status = stop.code\n"
        "assert not status, status"
    )
    assert imported_after(code).isdisjoint({"torch", "textual"})
