"""Optimizers, schedulers and scalers: what a step read, measured and wrote."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING

import torch

from ..model.records import Phase
from .draft import with_gradients
from .facts import PLAIN
from .stats import READABLE_DEVICES

if TYPE_CHECKING:
    from .journal import Journal

_GRADIENT, _IS_CPU = attrgetter("grad"), attrgetter("is_cpu")


def _has_norm(tensor: torch.Tensor) -> bool:
    return type(tensor) in PLAIN and tensor.layout is torch.strided and tensor.is_floating_point()


class Updates:
    """Tells the journal of updates of parameters."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def measure(self, numbers: tuple[int, ...], tensors: Sequence[torch.Tensor]) -> None:
        """Norms of parameters and of their gradients, one fused call a device."""
        if torch._C._len_torch_dispatch_stack():
            return  # a dispatch mode of the script's would see the call
        gradients = list(map(_GRADIENT, tensors))
        every = [*tensors, *gradients]
        if set(map(type, every)) <= PLAIN and all(map(_IS_CPU, every)):
            try:
                self._norms(with_gradients(numbers), every)
                return
            except (RuntimeError, NotImplementedError):
                pass  # one of them has no norm: they are told apart below
        kept = [(number, tensor) for number, tensor in zip(numbers, tensors) if _has_norm(tensor)]
        graded = [(-1 - number, tensor.grad) for number, tensor in kept]
        kept += [(number, grad) for number, grad in graded if grad is not None and _has_norm(grad)]
        for device in {tensor.device for _, tensor in kept}:
            if device.type in READABLE_DEVICES:
                there = [(number, tensor) for number, tensor in kept if tensor.device == device]
                self._norms(tuple([number for number, _ in there]), [tensor for _, tensor in there])

    def _norms(self, numbers: tuple[int, ...], tensors: list[torch.Tensor]) -> None:
        draft = self.journal.tracker.ahead
        cell: list[list[float]] = []
        self.journal.statistics.norms(tensors, cell.append)
        draft.norms.append((draft.length - 1, numbers, cell))

    def parameters_updated(self, optimizer: int, risen: Sequence[tuple[torch.Tensor, int, int]], stack: int) -> None:
        """`optimizer.step` raised these parameters' versions: (tensor, before, after)."""
        journal = self.journal
        draft, table = journal.tracker.ahead, journal.table
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
        if not draft.followed:
            for tensor, before, after in risen:
                parameter = entries[id(tensor)].parameter
                if parameter is not None:
                    draft.bumps[parameter] = draft.bumps.get(parameter, 0) + after - before

    def scheduler_stepped(self, name: str, optimizer: int | None, stack: int | None) -> None:
        """A scheduler of the class `name` stepped."""
        self.journal.draft.add("scheduler", Phase.SCHEDULER_STEP, stack, (), (), (name, optimizer))

    def scaler_called(self, call: str, optimizer: int | None, enabled: bool, frame: FrameType) -> None:
        """`call` of a GradScaler returned."""
        journal = self.journal
        stack = journal.sites.locate(frame)
        journal.draft.add("scaler", journal.phase_now(), stack, (), (), (call, optimizer, enabled))

    def optimizer_changed(self, optimizer: int, group: int | None, stack: int) -> None:
        """An optimizer was built, or got the parameter group `group`."""
        journal = self.journal
        journal.draft.add("optimizer_change", journal.phase_now(), stack, (), (), (optimizer, group))
