"""Numbers of the moment: statistics of tensors, losses, norms of parameters and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import torch

from ..measure.askable import WITH_NORM, all_in_memory, dense, is_number, is_plain, readable
from ..measure.reading import Reading
from ..measure.stats import Statistics
from ..measure.tensor_facts import count_of
from ..step.draft import with_gradients
from .here import Here

_GRADIENT = attrgetter("grad")
_UNINITIALIZED = ("empty", "new_empty")  # their memory holds whatever was there


class Measurements:
    """Measures tensors for the step in progress."""

    def __init__(self, here: Here, statistics: Statistics) -> None:
        self.here, self.statistics = here, statistics

    def value(self, moment: int, number: int, name: str, tensor: torch.Tensor) -> None:
        """The value that the op `name` gave a tensor."""
        if name.startswith(_UNINITIALIZED):
            return
        if tensor.is_floating_point() or (count_of(tensor) or 0) <= 16:
            self.sample(tensor, moment, number, False, "value")

    def sample(self, tensor: torch.Tensor, moment: int, subject: int, of_parameter: bool, what: str) -> Reading | None:
        """Record the statistics of `tensor`, which may still be on their way from a device."""
        reading = self.statistics.read(tensor)
        if reading is not None:
            self.here.tracker.draft.samples.append((moment, subject, of_parameter, what, reading))
        return reading

    def loss(self, root: torch.Tensor, scaled: bool = False) -> None:
        """The number that the last moment, a backward, begins at, or that a scaler `scaled` there.

        None where it is more than a number, or cannot be read.
        """
        if not is_number(root):
            if not readable(root):
                return
            if not is_plain(root):
                root = dense(root)
            if root.numel() != 1 or not root.is_floating_point():
                return
        cell: list[float] = []
        draft = self.here.tracker.draft
        (draft.scaled if scaled else draft.losses).append((draft.length - 1, cell))
        self.statistics.scalar(root, cell.append)

    def norms(self, numbers: tuple[int, ...], tensors: Sequence[torch.Tensor], later: bool = False) -> None:
        """Norms of parameters and of their gradients, one fused call a device. `later`: when statistics settle."""
        every = [*tensors, *map(_GRADIENT, tensors)]
        cell: list[list[float]] = []
        small = self.statistics.small_norms
        if small.take(every, cell.append):
            draft = self.here.tracker.draft
            draft.norms.append((len(draft.moments) - 1, with_gradients(numbers), cell))
            if not later:
                small.settle()
            return
        if all_in_memory(every):
            try:
                self._fused_norms(with_gradients(numbers), every)
                return
            except RuntimeError:
                pass  # one of them has no norm: they are told apart below
        kept: list[tuple[int, torch.Tensor]] = []
        graded: list[tuple[int, torch.Tensor]] = []
        for number, tensor in zip(numbers, tensors):
            plain = _measurable(tensor)
            if plain is not None:
                kept.append((number, plain))
                gradient = _measurable(tensor.grad)
                if gradient is not None:
                    graded.append((-1 - number, gradient))
        kept += graded
        for device in {plain.device for _, plain in kept}:
            there = [(number, plain) for number, plain in kept if plain.device == device]
            self._fused_norms(tuple([number for number, _ in there]), [plain for _, plain in there])

    def _fused_norms(self, numbers: tuple[int, ...], tensors: list[torch.Tensor]) -> None:
        draft = self.here.tracker.draft
        cell: list[list[float]] = []
        self.statistics.norms(tensors, cell.append)
        draft.norms.append((draft.length - 1, numbers, cell))


def _measurable(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """The tensor as one whose norm can be read; None where it cannot."""
    plain = dense(tensor) if tensor is not None and readable(tensor) else None
    return plain if plain is not None and plain.dtype in WITH_NORM else None
