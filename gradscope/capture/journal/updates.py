"""Optimizers, schedulers and scalers: what a step read, measured and wrote."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType

import torch

from ...model.records import Phase
from ..hiding.no_torch_function import Unseen
from ..step.raw import OptimizerChanged, Scaled, Scheduled, Updated
from .here import Here
from .measurements import Measurements


class Updates:
    """Tells of updates of parameters."""

    def __init__(self, here: Here, measurements: Measurements) -> None:
        self.here, self.measurements = here, measurements

    def parameters_updated(self, optimizer: int, risen: Sequence[tuple[torch.Tensor, int, int]], stack: int) -> None:
        """`optimizer.step` raised these parameters' versions: (tensor, before, after)."""
        here = self.here
        draft, table = here.tracker.draft, here.table
        entries, mark = table.entries, draft.mark
        numbers: list[int] = []
        versions: list[tuple[int, int]] = []
        for tensor, before, after in risen:
            entry = entries.get(id(tensor))
            if entry is None or entry.mark is not mark:
                draft = here.draft
                table.number(draft, tensor, stack)
                entry = entries[id(tensor)]
                entry.base_version -= after - before  # met after the update
                if entry.parameter is not None:
                    draft.versions[entry.parameter] = entry.base_version
            entry.version = after
            base = 0 if entry.parameter is None else entry.base_version
            numbers.append(entry.number)
            versions.append((before - base, after - base))
        draft.add("optimizer", Phase.OPTIMIZER_STEP, stack, tuple(numbers), (), Updated(optimizer, tuple(versions)))
        for tensor, before, after in risen:
            parameter = entries[id(tensor)].parameter
            if parameter is not None:
                draft.bumps[parameter] = draft.bumps.get(parameter, 0) + after - before

    def scheduler_stepped(self, name: str, optimizer: int | None, stack: int | None) -> None:
        """A scheduler of the class `name` stepped."""
        self.here.draft.add("scheduler", Phase.SCHEDULER_STEP, stack, (), (), Scheduled(name, optimizer))

    def scaler_called(self, call: str, given: object, optimizer: int | None, enabled: bool, frame: FrameType) -> None:
        """`call` of a GradScaler returned. Of a loss that it scaled, the number is kept."""
        here = self.here
        stack = here.sites.locate(frame)
        here.draft.add("scaler", here.phase_now(), stack, (), (), Scaled(call, optimizer, enabled))
        if call == "scale" and enabled and isinstance(given, torch.Tensor):
            self.scaled(given)

    def scaled(self, loss: torch.Tensor) -> None:
        """A GradScaler scaled this loss: the number is kept."""
        with Unseen():
            self.measurements.loss(loss, scaled=True)

    def optimizer_changed(self, optimizer: int, group: int | None, stack: int) -> None:
        """An optimizer was built, or got the parameter group `group`."""
        here = self.here
        here.draft.add("optimizer_change", Phase.OTHER, stack, (), (), OptimizerChanged(optimizer, group))
