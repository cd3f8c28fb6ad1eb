"""Checkpoints: what they run again in the backward, and whether with the random numbers that they had."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from threading import get_ident
from typing import Any

import torch
from torch.utils import checkpoint

from ..hiding.patch_set import HookSet
from ..hiding.torch_private import CHECKPOINT_ENTRY, CHECKPOINT_FUNCTION
from ..journal.journal import Journal
from ..measure.given import read_given

NAME = "checkpoint"


class CheckpointWatch:
    """Notes each checkpoint as a call, with `preserve_rng_state`.

    What runs in a reentrant one is not recorded; without `preserve_rng_state`, `draws` tells whether it took any of
    torch's random numbers on the CPU.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def install(self, hooks: HookSet) -> None:
        entry = getattr(checkpoint, CHECKPOINT_ENTRY, None)
        if entry is not None:
            hooks.patch(checkpoint, CHECKPOINT_ENTRY, self._entry(entry))
        function = getattr(checkpoint, CHECKPOINT_FUNCTION, None)
        if function is not None:
            hooks.patch(function, "forward", staticmethod(self._forward(function.forward)))

    def _entry(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def entry(function: Any, preserve: Any = True, *args: Any, **kwargs: Any) -> Any:
            if self.journal.mine() and not self.journal.matching.aside:
                self._tell(sys._getframe(1), {"preserve_rng_state": bool(preserve)})
            return original(function, preserve, *args, **kwargs)

        return entry

    def _forward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def forward(ctx: Any, function: Any, preserve: Any, *args: Any) -> Any:
            before = None if preserve else self._random()
            result = original(ctx, function, preserve, *args)
            after = None if before is None else self._random()
            if before is not None and after is not None:
                self._tell(sys._getframe(1), {"preserve_rng_state": False, "draws": before != after})
            return result

        return forward

    def _random(self) -> bytes | None:
        """The state of torch's random numbers, where the recording is of this thread."""
        journal = self.journal
        if journal.here.active and not journal.matching.aside and get_ident() == journal.thread:
            with journal.guard("the random state around a checkpoint"):
                return torch.default_generator.get_state().numpy().tobytes()
        return None

    def _tell(self, frame: Any, facts: dict[str, bool]) -> None:
        journal = self.journal
        with journal.guard("a checkpoint"):
            stack, direct = journal.here.locate(frame)
            given = read_given((), facts, ())
            journal.ops.add(NAME, stack, direct, [], (), [], 0, 0, given=given)
