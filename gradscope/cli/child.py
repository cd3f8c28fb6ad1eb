"""Starting gradscope in another process."""

from __future__ import annotations

import sys
from pathlib import Path

_ENTRY = Path(__file__).parents[1] / "__main__.py"


def command(*arguments: str) -> list[str]:
    """What runs `gradscope ARGUMENTS…`, this very gradscope.

    By the path of its file: with `-m` and `-c` Python puts the current folder first, and runs what is found there.
    """
    return [sys.executable, str(_ENTRY), *arguments]
