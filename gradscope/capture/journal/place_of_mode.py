"""Where the function mode that sees the ops is: on torch's stack, or taken off it."""

from __future__ import annotations

from typing import Any

from ..hiding.torch_private import function_mode_at, function_modes, pop_function_mode, push_function_mode


class PlaceOfMode:
    """Takes the mode off the stack and puts it back, where that disturbs no other mode."""

    def __init__(self, mode: Any) -> None:
        self._mode = mode
        self._there = True  # it is on the stack, or torch has taken it off while it handles a call

    def take_off(self) -> bool:
        """Take it off, where it is alone there. Whether it is off now."""
        if function_modes() != 1 or function_mode_at(0) is not self._mode or self._mode.quiet:
            return False
        pop_function_mode()
        self._there = False
        return True

    def put_back(self) -> bool:
        """Put it back, where no other has come. Whether it is there now."""
        if not self._there and not function_modes():
            push_function_mode(self._mode)
            self._there = True
        return self._there

    def leave(self) -> None:
        """It is not to be put back any more."""
        self._there = True
