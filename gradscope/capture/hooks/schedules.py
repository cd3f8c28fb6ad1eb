"""Schedulers and gradient scalers: what each call is told as."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

from ...model.records import Phase
from ..hiding.patch_set import HookSet
from ..hiding.torch_private import INITIAL_STEP
from ..journal.journal import Journal
from ..journal.stations import SCALER, SCHEDULER
from .optimizer_groups import OptimizerGroups
from .pause import Pause


class ScheduleWatch:
    """Records the calls of schedulers and scalers."""

    def __init__(self, journal: Journal, pause: Pause, groups: OptimizerGroups) -> None:
        self.journal, self.pause, self.groups = journal, pause, groups
        self._scheduling = 0
        self._scaling = 0

    def install(self, hooks: HookSet) -> None:
        for kind in vars(lr_scheduler).values():
            if isinstance(kind, type) and "step" in vars(kind):
                hooks.patch(kind, "step", self._scheduler_step(vars(kind)["step"]))
        for name in ("scale", "unscale_", "step", "update"):
            scaler = torch.amp.GradScaler
            hooks.patch(scaler, name, self._scaler_call(name, vars(scaler)[name]))

    def _scheduler_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            frame = sys._getframe(1)
            matching = self.journal.matching
            called = matching.listening and not self._scheduling and frame.f_code.co_name != INITIAL_STEP
            if called and matching.passes(SCHEDULER, frame, (type(scheduler).__name__,)):
                self._scheduling += 1
                try:
                    return original(scheduler, *args, **kwargs)
                finally:
                    self._scheduling -= 1
            if self._scheduling or not self.journal.mine() or frame.f_code.co_name == INITIAL_STEP:
                return original(scheduler, *args, **kwargs)
            self._scheduling += 1
            stack = self._scheduling_begins(frame)
            try:
                with self.pause:
                    result = original(scheduler, *args, **kwargs)
                self._scheduled(scheduler, stack)
            finally:
                self._scheduling -= 1
                self.journal.call_ends()
            return result

        step.__doc__ = original.__doc__
        step.__wrapped__ = original  # type: ignore[attr-defined]
        return step

    def _scheduling_begins(self, frame: Any) -> int | None:
        with self.journal.guard("a scheduler before its step"):
            return self.journal.call_begins(Phase.SCHEDULER_STEP, frame)
        return None

    def _scheduled(self, scheduler: Any, stack: int | None) -> None:
        with self.journal.guard("a scheduler's step"):
            optimizer = getattr(scheduler, "optimizer", None)
            number = self.groups.number(optimizer) if isinstance(optimizer, Optimizer) else None
            self.journal.updates.scheduler_stepped(type(scheduler).__name__, number, stack)

    def _scaler_call(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            matching = self.journal.matching
            if matching.listening and not self._scaling and matching.passes(SCALER, sys._getframe(1), (name,)):
                self._scaling += 1
                try:
                    result = original(scaler, *args, **kwargs)
                finally:
                    self._scaling -= 1
                if name == "scale" and scaler.is_enabled() and args and isinstance(args[0], torch.Tensor):
                    self.journal.updates.scaled(args[0])
                return result
            self._scaling += 1
            try:
                result = original(scaler, *args, **kwargs)
            finally:
                self._scaling -= 1
            if self.journal.mine() and not self._scaling:  # `step` calls `unscale_` itself
                with self.journal.guard("a GradScaler call"):
                    optimizer = args[0] if args and isinstance(args[0], Optimizer) else None
                    number = self.groups.number(optimizer) if optimizer is not None else None
                    self.journal.updates.scaler_called(
                        name, args[0] if args else None, number, bool(scaler.is_enabled()), sys._getframe(1)
                    )
            return result

        call.__name__, call.__doc__ = name, original.__doc__
        return call
