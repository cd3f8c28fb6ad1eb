"""What happens outside the terminal UI: the user's editor."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from ..programs import find_program

_GOTO = ("code", "codium", "cursor", "windsurf")  # these take --goto FILE:LINE
_COLON = ("subl", "atom", "hx", "helix", "zed")  # these take FILE:LINE


def editor_command(file: Path, line: int, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command that opens `file` at `line` in $VISUAL or $EDITOR. Raises ValueError when neither is set."""
    wanted = environment.get("VISUAL") or environment.get("EDITOR")
    if not wanted:
        raise ValueError("set $EDITOR to the editor to open")
    command = shlex.split(wanted)
    if not command:
        raise ValueError("set $EDITOR to the editor to open")
    name = Path(command[0]).stem.lower()
    if name in _GOTO:
        return [*command, "--wait", "--goto", f"{file}:{line}"]
    if name in _COLON:
        return [*command, f"{file}:{line}"]
    if name == "notepad":
        return [*command, str(file)]
    return [*command, f"+{line}", str(file)]


def startable(command: list[str]) -> list[str]:
    """`command` with the full path of its program. Raises ValueError for one that is not on the PATH."""
    program, *arguments = command
    if os.path.dirname(program):  # noqa: PTH120  # pathlib takes ./vim for vim
        return command
    found = find_program(program)
    if found is None:
        raise ValueError(f"there is no {program} on the PATH")
    return [found, *arguments]
