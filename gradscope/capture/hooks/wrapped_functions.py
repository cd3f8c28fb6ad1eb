"""Torch functions that the script has wrapped: what torch was about to run when it asked our mode.

Torch tells a mode the function that it finds under the call's name. Where the script has put a wrapper there,
that is the wrapper, which is running already: the call goes on with the function that the wrapper called.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

import torch

from ..hiding.torch_private import TensorBase
from ..journal.here import HANDLE
from ..sites.call_sites import Frames


class Replaced:
    """Finds the function behind a wrapper of the script's."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._found: dict[CodeType, FunctionType | None] = {}

    def original(self, frame: FrameType, func: Callable[..., Any]) -> Callable[..., Any] | None:
        """The function that asked at `frame`, if `func` is a wrapper in its place."""
        code = getattr(func, "__code__", None)
        if (
            not self._frames.users(code)
            if code is not None
            else type(func).__module__.startswith(("builtins", "torch"))
        ):
            return None
        if frame.f_code is not HANDLE:
            return _method(func)
        if frame.f_back is None or frame.f_back.f_code is code:
            return None  # a function of the script's own that takes part in torch's protocol
        asking = frame.f_back.f_code
        if asking not in self._found:
            self._found[asking] = _function_of(asking)
        return self._found[asking]


def _method(func: Callable[..., Any]) -> Callable[..., Any] | None:
    """The tensor's own method of the name under which `func` lies; torch's C code looks it up there."""
    for name, value in vars(torch.Tensor).items():
        if value is func:
            own = getattr(TensorBase, name, None)
            return own if callable(own) else None
    return None


def _function_of(code: CodeType) -> FunctionType | None:
    for holder in gc.get_referrers(code):
        if type(holder) is FunctionType and holder.__code__ is code:
            return holder
    return None
