"""Optimizers, schedulers and scalers: what a step read, measured and wrote."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

import torch

from ..model.records import Phase
from .stats import READABLE_DEVICES
from .tensors import PLAIN

if TYPE_CHECKING:
    from .journal import Journal


class Updates:
    """Tells the journal of updates of parameters."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def measure(self, pairs: Sequence[tuple[int, torch.Tensor]]) -> None:
        """Norms of parameters and of their gradients, one fused call a device."""
        journal = self.journal
        if torch._C._len_torch_dispatch_stack():
            return  # a dispatch mode of the script's would see the call
        draft, strided = journal.draft, torch.strided
        found = [
            (number, tensor)
            for number, tensor in pairs
            if type(tensor) in PLAIN and tensor.layout is strided and tensor.is_floating_point()
        ]
        gradients = [(-1 - number, tensor.grad) for number, tensor in found]
        found += [
            (n, grad) for n, grad in gradients if grad is not None and type(grad) in PLAIN and grad.layout is strided
        ]
        groups: dict[torch.device, list[tuple[int, torch.Tensor]]] = {}
        for one in found:
            groups.setdefault(one[1].device, []).append(one)
        for device, group in groups.items():
            if device.type in READABLE_DEVICES:
                cell: list[list[float]] = []
                numbers, tensors = zip(*group)
                draft.norms.append((len(draft.moments) - 1, numbers, cell))
                journal.statistics.norms(list(tensors), cell.append)

    def parameters_updated(self, optimizer: int, risen: Sequence[tuple[torch.Tensor, int, int]], stack: int) -> None:
        """`optimizer.step` raised these parameters' versions: (tensor, before, after)."""
        journal = self.journal
        draft, table = journal.draft, journal.table
        bumps, entries = draft.bumps, table.entries
        numbers: list[int] = []
        versions: list[tuple[int, int]] = []
        for tensor, before, after in risen:
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not draft.mark:
                table.number(draft, tensor, stack)
                entry = entries[id(tensor)]
                entry.base_version -= after - before  # met after the update
                if entry.parameter is not None:
                    draft.versions[entry.parameter] = entry.base_version
            numbers.append(entry.number)
            entry.version = after
            base = 0
            if entry.parameter is not None:
                base = entry.base_version
                bumps[entry.parameter] = bumps.get(entry.parameter, 0) + after - before
            versions.append((before - base, after - base))
        draft.add("optimizer", Phase.OPTIMIZER_STEP, stack, tuple(numbers), (), (optimizer, tuple(versions)))

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
