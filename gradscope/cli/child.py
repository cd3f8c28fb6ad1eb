"""Starting gradscope in another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_ENTRY = Path(__file__).parents[1] / "__main__.py"


def command(*arguments: str) -> list[str]:
    """What runs `gradscope ARGUMENTS…`, this very gradscope.

    By the path of its file: with `-m` and `-c` Python puts the current folder first, and runs what is found there.
    """
    return [sys.executable, str(_ENTRY), *arguments]


def stop_group(child: subprocess.Popen[bytes]) -> None:
    """End a child that has a session of its own, and all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (OSError, AttributeError):  # it has ended; there are no groups here
        child.kill()
    child.wait()
