"""Looking away: while torch's own helpers run (an optimizer's inside, `zero_grad`), ops are not recorded.

Our mode is taken off the stack when it is on top, so the helper runs at full speed and sees the stack it
would see without us; below another mode it is told to be quiet instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.overrides import TorchFunctionMode

from ..hiding.torch_private import (
    enter_function_mode,
    function_mode_at,
    function_modes,
    leave_function_mode,
    pop_function_mode,
    push_function_mode,
)
from ..journal.journal import Journal


class Pause:
    """Counts nested pauses of one recording. `mode` is None where no ops are recorded at all."""

    def __init__(self, journal: Journal, mode: Any) -> None:
        self.journal, self.mode = journal, mode
        self._popped: list[bool] = []

    def begin(self) -> None:
        self.journal.here.quiet += 1
        popped = False
        if self.mode is not None:
            depth = function_modes()
            if depth and function_mode_at(depth - 1) is self.mode:
                pop_function_mode()
                popped = True
            else:
                self.mode.quiet += 1
        self._popped.append(popped)
        if self.journal.exposed.watched and len(self._popped) == 1:
            self.journal.exposed.look()  # what was written before, torch did not write

    def end(self) -> None:
        if not self._popped:
            return
        self.journal.here.quiet -= 1
        if self.journal.exposed.watched:
            self.journal.exposed.refresh()  # what was written meanwhile, torch wrote
        if self._popped.pop():
            push_function_mode(self.mode)
        elif self.mode is not None:
            self.mode.quiet -= 1

    def recover(self) -> None:
        """End pauses that an exception left open."""
        while self._popped:
            self.end()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Record again inside a pause: the script's own code runs there."""
        depth = len(self._popped)
        self.recover()
        try:
            yield
        finally:
            while len(self._popped) < depth:
                self.begin()

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *exc: object) -> None:
        self.end()


def remove_mode(mode: TorchFunctionMode) -> None:
    """Take `mode` off the stack wherever it is; modes above it stay in order."""
    above: list[TorchFunctionMode] = []
    while function_modes():
        top = leave_function_mode()
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        enter_function_mode(other)
