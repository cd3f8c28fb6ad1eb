"""Finding a program of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def find_program(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Where the program `name` is: in a folder that PATH names in full, never in the current one."""
    for folder in os.get_exec_path(environment):
        if Path(folder).is_absolute():
            found = shutil.which(name, path=folder)
            if found is not None and Path(found).parent == Path(folder):  # Windows looks in the current folder first
                return found
    return None
