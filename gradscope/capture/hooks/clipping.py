"""Gradient clipping: `clip_grad_norm_` and `clip_grad_value_`, each one op whatever runs inside.

They are patched where torch keeps them. A script that imported the bare function before the recording
began calls torch's own, whose inner ops are then recorded as any others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from types import GeneratorType
from typing import Any

import torch
from torch.nn.utils import clip_grad

from ..hiding.patch_set import HookSet
from ..journal.journal import Journal
from ..journal.stations import CLIP
from ..measure.given import read_given
from ..measure.tensor_facts import versions_of
from .pause import Pause

_CLIPS = ("clip_grad_norm_", "clip_grad_value_")


class ClipWatch:
    """Records clipping as one op: its inputs are the parameters, whether or not they have a gradient."""

    def __init__(self, journal: Journal, pause: Pause) -> None:
        self.journal, self.pause = journal, pause

    def install(self, hooks: HookSet) -> None:
        for name in _CLIPS:
            clip = self._clip(name, getattr(clip_grad, name))
            for module in (clip_grad, torch.nn.utils):
                hooks.patch(module, name, clip)

    def _clip(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        journal = self.journal

        @wraps(original)
        def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            if journal.matching.listening and journal.matching.passes(CLIP, sys._getframe(1), (name,)):
                return original(parameters, *args, **kwargs)
            if not journal.mine() or not journal.draft.with_graph:
                return original(parameters, *args, **kwargs)
            tensors = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
            if isinstance(parameters, GeneratorType):
                parameters = (tensor for tensor in tensors)  # torch tells an empty generator from an empty list
            elif not isinstance(parameters, torch.Tensor):
                parameters = tensors
            kept, before = self._gradients(tensors)
            frame = sys._getframe(1)
            try:
                with self.pause:
                    result = original(parameters, *args, **kwargs)
            except BaseException as error:
                journal.call_failed(name, frame, (), error)
                del parameters, tensors, kept  # this frame lives as long as the traceback does, they must not
                raise
            with journal.guard("gradient clipping"):
                after = versions_of([grad for _, grad in kept])
                written = [(*pair, old, new) for pair, old, new in zip(kept, before, after) if old != new]
                given = read_given((tensors, *args), kwargs, tensors)
                journal.gradients.clipped(name, tensors, written, result, given, frame)
            return result

        return clip

    def _gradients(
        self, tensors: Sequence[torch.Tensor]
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[int | None]]:
        """The tensors that have a gradient, with it, and the versions of the gradients."""
        with self.journal.guard("gradients before clipping"):
            kept = [(tensor, tensor.grad) for tensor in tensors if tensor.grad is not None]
            return kept, versions_of([grad for _, grad in kept])
        return [], []
