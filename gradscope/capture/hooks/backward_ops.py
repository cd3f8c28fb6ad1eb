"""Ops that run inside a backward: those of the script's own hooks and of its custom Functions.

Our mode is off while the engine runs, as it is inside any torch call. For that time this one takes its place,
and lets through, unrecorded, what no code of the script's has called: a checkpoint that computes its part
again, compiled graphs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from ..hiding.frames import is_ours, release, trampoline
from ..hiding.torch_private import RUNS_AGAIN, all_function_modes, enter_function_mode, function_modes
from ..hiding.torch_state import transforming
from ..journal.journal import Journal
from .function_mode import OpMode


class BackwardMode(TorchFunctionMode):
    """Records what the script's code calls while a backward runs."""

    def __init__(self, journal: Journal, ops: OpMode) -> None:
        super().__init__()
        self.journal, self.ops = journal, ops

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        frame = sys._getframe(1)
        if not self._wanted(frame):
            return trampoline(frame)(func, args, kwargs)
        try:
            return self.ops.behind(frame, func, args, kwargs or {})
        except BaseException as error:
            release(error)
            del args, kwargs
            raise

    def take_over(self) -> bool:
        """Begin to see calls; False where this or the usual mode sees them already."""
        if function_modes():
            modes = all_function_modes()
            if self in modes or self.ops in modes:
                return False
        enter_function_mode(self)
        return True

    def _wanted(self, frame: FrameType) -> bool:
        journal = self.journal
        if self.ops.quiet or not journal.mine() or transforming():
            return False
        return self._users(frame)

    def _users(self, frame: FrameType | None) -> bool:
        """Whether code of the script's made the call, and torch does not run it for a second time."""
        users = False
        while frame is not None:
            code = frame.f_code
            if code.co_name == "_run" and is_ours(code):
                return users
            users = users or self.journal.frames.users(code)
            if "torch" in code.co_filename and any(part in code.co_filename for part in RUNS_AGAIN):
                return False
            frame = frame.f_back
        return False
