"""Small programs in the style of published examples. What one needs beside a bare `python SCRIPT` is said here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..comparing import CHILDREN, FILES
from ..program import Program


def _arguments(program: Program) -> Program:
    return replace(program, target=(*program.target, "--lr", "0.2", "-o", "made/here", "a", "b"))


SETTINGS: dict[str, Callable[[Program], Program]] = {
    "arguments": _arguments,
    # The pipes of workers that have just ended are closed a moment later.
    "data_workers": lambda program: replace(program, aside=frozenset({FILES, CHILDREN})),
    # A pool's workers are ended by a signal, wherever they are.
    "processes": lambda program: replace(program, aside=frozenset({CHILDREN})),
    "terminal_output": lambda program: replace(program, stdin=b"me\nsecond\nthe rest\n"),
}
