"""Optimizers, schedulers and scalers: what a step read, measured and wrote."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING

import torch

from ...model.records import Phase
from ..hiding.no_torch_function import Unseen
from ..measure.askable import WITH_NORM, all_in_memory, dense, readable
from ..step.draft import with_gradients

if TYPE_CHECKING:
    from .journal import Journal

_GRADIENT = attrgetter("grad")


def _measurable(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """The tensor as one whose norm can be read; None where it cannot."""
    plain = dense(tensor) if tensor is not None and readable(tensor) else None
    return plain if plain is not None and plain.dtype in WITH_NORM else None


class Updates:
    """Tells the journal of updates of parameters."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def measure(self, numbers: tuple[int, ...], tensors: Sequence[torch.Tensor]) -> None:
        """Norms of parameters and of their gradients, one fused call a device."""
        every = [*tensors, *map(_GRADIENT, tensors)]
        if all_in_memory(every):
            try:
                self._norms(with_gradients(numbers), every)
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
            self._norms(tuple([number for number, _ in there]), [plain for _, plain in there])

    def _norms(self, numbers: tuple[int, ...], tensors: list[torch.Tensor]) -> None:
        draft = self.journal.tracker.draft
        cell: list[list[float]] = []
        self.journal.statistics.norms(tensors, cell.append)
        draft.norms.append((draft.length - 1, numbers, cell))

    def parameters_updated(self, optimizer: int, risen: Sequence[tuple[torch.Tensor, int, int]], stack: int) -> None:
        """`optimizer.step` raised these parameters' versions: (tensor, before, after)."""
        journal = self.journal
        draft, table = journal.tracker.draft, journal.table
        entries, mark = table.entries, draft.mark
        numbers: list[int] = []
        versions: list[tuple[int, int]] = []
        for tensor, before, after in risen:
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark:
                draft = journal.draft
                table.number(draft, tensor, stack)
                entry = entries[id(tensor)]
                entry.base_version -= after - before  # met after the update
                if entry.parameter is not None:
                    draft.versions[entry.parameter] = entry.base_version
            entry.version = after
            base = 0 if entry.parameter is None else entry.base_version
            numbers.append(entry.number)
            versions.append((before - base, after - base))
        draft.add("optimizer", Phase.OPTIMIZER_STEP, stack, tuple(numbers), (), (optimizer, tuple(versions)))
        for tensor, before, after in risen:
            parameter = entries[id(tensor)].parameter
            if parameter is not None:
                draft.bumps[parameter] = draft.bumps.get(parameter, 0) + after - before

    def scheduler_stepped(self, name: str, optimizer: int | None, stack: int | None) -> None:
        """A scheduler of the class `name` stepped."""
        self.journal.draft.add("scheduler", Phase.SCHEDULER_STEP, stack, (), (), (name, optimizer))

    def scaler_called(self, call: str, given: object, optimizer: int | None, enabled: bool, frame: FrameType) -> None:
        """`call` of a GradScaler returned. Of a loss that it scaled, the number is kept."""
        journal = self.journal
        stack = journal.sites.locate(frame)
        journal.draft.add("scaler", journal.phase_now(), stack, (), (), (call, optimizer, enabled))
        if call == "scale" and enabled and isinstance(given, torch.Tensor):
            self.scaled(given)

    def scaled(self, loss: torch.Tensor) -> None:
        """A GradScaler scaled this loss: the number is kept."""
        with Unseen():
            self.journal.loss(loss, scaled=True)

    def optimizer_changed(self, optimizer: int, group: int | None, stack: int) -> None:
        """An optimizer was built, or got the parameter group `group`."""
        journal = self.journal
        journal.draft.add("optimizer_change", Phase.OTHER, stack, (), (), (optimizer, group))
