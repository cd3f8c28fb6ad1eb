"""The norms of many small tensors, in few calls: for a few hundred numbers, a call costs more than the numbers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

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


class Copied(NamedTuple):
    """Tensors as they were: all their numbers in a row (an array of numpy's), and how many each has."""

    numbers: Any
    counts: tuple[int, ...]


class _Waiting(NamedTuple):
    """Numbers in a row whose norms are wanted, of the tensors that begin at `starts`.

    `before`: numbers that are taken from them first, one from each.
    """

    numbers: Any
    before: Any
    starts: Any
    deliver: Deliver


class SmallNorms:
    """Copies of tensors, all of a step together, whose norms are computed when somebody settles."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._count = 0  # numbers in them

    def take(self, tensors: Sequence[torch.Tensor], deliver: Deliver) -> Copied | None:
        """Copy tensors, whose norms are to be delivered. None where they are not small, or no usual ones."""
        copied = _copied(tensors)
        if copied is not None:
            self._wait(copied, None, deliver)
        return copied

    def take_distance(self, before: Copied, tensors: Sequence[torch.Tensor], deliver: Deliver) -> bool:
        """Copy tensors, whose distances from what they were are to be delivered: `before` begins with theirs.

        False where they became others.
        """
        now = _copied(tensors)
        if now is None or before.counts[: len(now.counts)] != now.counts or before.numbers.dtype != now.numbers.dtype:
            return False
        self._wait(now, before.numbers[: len(now.numbers)], deliver)
        return True

    def _wait(self, copied: Copied, before: Any, deliver: Deliver) -> None:
        starts, count = _layout(copied.counts)
        self._waiting.append(_Waiting(copied.numbers, before, starts, deliver))
        self._count += count
        if self._count > ROOM:
            self.settle()

    def settle(self) -> None:
        """Compute the norms of all that was taken."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        if waiting:
            with Unseen(), np.errstate(all="ignore"):
                for numbers, before, starts, deliver in waiting:
                    if before is not None:
                        np.subtract(numbers, before, out=numbers)
                    deliver(np.sqrt(np.add.reduceat(numbers * numbers, starts)).tolist())


def _copied(tensors: Sequence[torch.Tensor]) -> Copied | None:
    """A copy of tensors. None where they are not small, or no usual ones."""
    if not set(map(type, tensors)) <= PLAIN or dispatch_modes():
        return None
    counts = tuple(map(_numel, tensors))
    if _layout(counts)[0] is None:
        return None
    grad_mode = torch.is_grad_enabled()
    set_grad_enabled(False)
    try:
        if not all(map(data_address, tensors)):
            return None  # one was freed
        numbers = flatten(tensors) if len(tensors) > 1 else flatten(tensors).clone()  # of one alone, it makes no copy
    except RuntimeError:
        return None  # one of them has no numbers in a row
    finally:
        set_grad_enabled(grad_mode)
    return Copied(numbers.numpy(), counts) if numbers.is_cpu and numbers.dtype in _KINDS else None


@lru_cache(maxsize=256)
def _layout(counts: tuple[int, ...]) -> tuple[Any, int]:
    """Where each tensor begins among the numbers of all, and how many these are; None where they are too many."""
    total = sum(counts)
    if not all(counts) or total > SMALL * len(counts):
        return None, total
    return np.cumsum((0, *counts[:-1])), total
