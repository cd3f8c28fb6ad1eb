"""The norms of many small tensors, in few calls: for a few hundred numbers, a call costs more than the numbers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..hiding.no_torch_function import Unseen
from ..hiding.torch_private import TensorBase, data_address, dispatch_modes, flatten, set_grad_enabled
from .askable import PLAIN

Deliver = Callable[[list[float]], None]
SMALL = 2048  # numbers in a tensor, on average, up to which a copy of all of them is quicker
ROOM = 1 << 18  # numbers that wait
_numel = TensorBase.numel
_KINDS = (torch.float32, torch.float64)


class SmallNorms:
    """Copies of tensors, all of a step together, whose norms are computed when somebody settles."""

    def __init__(self) -> None:
        self._copies: list[tuple[torch.Tensor, Any, Deliver]] = []
        self._count = 0  # numbers in them

    def take(self, tensors: Sequence[torch.Tensor], deliver: Deliver) -> bool:
        """Copy tensors, which must not be written to meanwhile. False where they are not small, or no usual ones."""
        if len(tensors) < 2 or not set(map(type, tensors)) <= PLAIN or dispatch_modes():
            return False  # of one alone, torch makes no copy
        starts, count = _layout(tuple(map(_numel, tensors)))
        if starts is None:
            return False
        grad_mode = torch.is_grad_enabled()
        set_grad_enabled(False)
        try:
            if not all(map(data_address, tensors)):
                return False  # one was freed
            numbers = flatten(tensors)
        except RuntimeError:
            return False  # one of them has no numbers in a row
        finally:
            set_grad_enabled(grad_mode)
        if not numbers.is_cpu or numbers.dtype not in _KINDS:
            return False
        self._copies.append((numbers, starts, deliver))
        self._count += count
        if self._count > ROOM:
            self.settle()
        return True

    def settle(self) -> None:
        """Compute the norms of all that was taken."""
        copies, self._copies, self._count = self._copies, [], 0
        if copies:
            with Unseen(), np.errstate(all="ignore"):
                for copy, starts, deliver in copies:
                    numbers = copy.numpy()
                    np.multiply(numbers, numbers, out=numbers)
                    deliver(np.sqrt(np.add.reduceat(numbers, starts)).tolist())


@lru_cache(maxsize=256)
def _layout(counts: tuple[int, ...]) -> tuple[Any, int]:
    """Where each tensor begins among the numbers of all, and how many these are; None where they are too many."""
    total = sum(counts)
    if not all(counts) or total > SMALL * len(counts):
        return None, total
    return np.cumsum((0, *counts[:-1])), total
