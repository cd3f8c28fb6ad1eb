"""Modes: where gradients, inference mode, autocast and training are switched on and off."""

from __future__ import annotations

import inspect
from types import FrameType

import torch

from ..step.raw import Switched
from .here import Here

_DECORATING = frozenset({"func", "ctx_factory"})  # variables of torch's function around a decorated one


class Switches:
    """Tells of modes that begin and end."""

    def __init__(self, here: Here) -> None:
        self.here = here
        self._grad_mode = torch.is_grad_enabled()
        self.inference = torch.is_inference_mode_enabled()

    def look_again(self) -> None:
        """Switches were not seen for a while."""
        self._grad_mode = torch.is_grad_enabled()
        self.inference = torch.is_inference_mode_enabled()

    def grad_mode(self, frame: FrameType) -> None:
        """`_set_grad_enabled` ran: a mode began or ended, if it changed anything."""
        here = self.here
        now = torch.is_grad_enabled()
        if now is self._grad_mode:
            return
        self._grad_mode = now
        stack = self._switched_at(frame)
        here.draft.add("mode", here.phase_now(), stack, (), (), Switched("grad", "on" if now else "off", None))

    def inference_mode(self, frame: FrameType) -> None:
        """`torch.inference_mode` began or ended, if it changed anything."""
        if torch.is_inference_mode_enabled() is not self.inference:
            self.inference_changed(self._switched_at(frame))

    def switched(self, mode: str, value: str, module: int | None, frame: FrameType | None) -> None:
        """`mode` (autocast, or training of `module`) took another value."""
        here = self.here
        stack = here.locate(frame)[0] if frame is not None else None
        here.draft.add("mode", here.phase_now(), stack, (), (), Switched(mode, value, module))

    def inference_changed(self, stack: int) -> None:
        """Inference mode is not what it was at the fact before."""
        here = self.here
        self.inference = not self.inference
        value = "on" if self.inference else "off"
        here.draft.add("mode", here.phase_now(), stack, (), (), Switched("inference", value, None))

    def _switched_at(self, frame: FrameType) -> int:
        """The stack of the `with` that switches a mode, or of the decorator that does."""
        here = self.here
        stack, _ = here.locate(frame)
        torchs: FrameType | None = frame
        while torchs is not None and not here.frames.users(torchs.f_code):
            if _DECORATING.issubset(torchs.f_code.co_freevars):
                function = torchs.f_locals.get("func")
                code = inspect.unwrap(function).__code__ if inspect.isfunction(function) else None
                return stack if code is None else here.sites.decorator(stack, code)
            torchs = torchs.f_back
        return stack
