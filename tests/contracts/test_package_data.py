"""Files that are not Python go into a wheel only if pyproject names them; an editable install hides a missing one."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_of_the_package_is_packaged() -> None:
    (line,) = re.findall(r'^"\*" = \[(.*)\]$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    patterns = re.findall(r'"([^"]+)"', line)
    others = [
        path.name
        for path in (ROOT / "gradscope").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    ]
    assert "graph.schema.json" in others
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []
