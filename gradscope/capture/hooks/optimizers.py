"""Optimizers at work: what a step changed, its learning rates, and `zero_grad`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial, wraps
from operator import ne
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...model.records import Phase
from ..hiding.hook_numbers import own_numbers
from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..journal.journal import Journal
from ..journal.shared_memory import Sum, checksum
from ..journal.station_facts import groups_facts, versions_rose
from ..journal.stations import UPDATE, UPDATED
from ..measure.askable import readable_storage
from ..measure.stats import number_of
from ..measure.tensor_facts import versions_of
from .optimizer_groups import KnownOptimizer, OptimizerGroups, parameters_in
from .pause import Pause
from .zero_grad import zero_grad


class _Running(NamedTuple):
    """A step that began: what to compare with when it ends."""

    optimizer: Optimizer
    number: int
    stack: int
    parameters: list[torch.Tensor]
    versions: list[int | None]
    sums: list[Sum | None]  # checksums, where the optimizer may write past the version counter


_ELSEWHERE = "training in another thread: only the thread that starts a recording is recorded"


class OptimizerWatch:
    """Records `step` and `zero_grad`."""

    def __init__(self, journal: Journal, pause: Pause, groups: OptimizerGroups) -> None:
        self.journal, self.pause, self.groups = journal, pause, groups
        self._running: list[_Running] = []
        self._elsewhere = False

    def install(self, hooks: HookSet) -> None:
        with own_numbers():
            hooks.add(register_optimizer_step_pre_hook(self._before).remove)
            hooks.add(register_optimizer_step_post_hook(self._after).remove)
        original = Optimizer.zero_grad

        def zero_grad(optimizer: Optimizer, set_to_none: bool = True) -> None:
            self._zeroed(original, sys._getframe(1), optimizer, set_to_none)

        zero_grad.__doc__ = original.__doc__
        hooks.patch(Optimizer, "zero_grad", zero_grad)

    def raised(self) -> bool:
        """Whether a step that began never ended: it raised, and its post hook was skipped."""
        return bool(self._running)

    def abandon(self) -> None:
        """Forget steps that raised: nothing else runs while the recording is paused for a step."""
        while self._running:
            self._running.pop()
            self.pause.end()
            self.journal.call_ends()
        self.journal.tracker.updating = False

    # -- step ------------------------------------------------------------------------------------

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        journal = self.journal
        if not journal.here.active:
            return None
        if threading.get_ident() != journal.thread:
            self._stepped_elsewhere()
            return None
        if self.raised() and not any(run.optimizer is optimizer for run in self._running):
            self.abandon()
        if journal.matching.listening and self._passed(optimizer):
            return None
        if not journal.recording():
            return None
        self.pause.begin()
        parameters: list[torch.Tensor] = []
        versions: list[int | None] = []
        sums: list[Sum | None] = []
        number = stack = -1
        with journal.guard("an optimizer before its step"):
            stack, _ = journal.here.locate(sys._getframe(1))
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            versions = versions_of(parameters)
            known = self.groups.current(optimizer, parameters)
            number = known.number
            self._measure(known, parameters)
            self._read_rates(optimizer, number)
            sums = self._sums(optimizer, parameters)
        self._running.append(_Running(optimizer, number, stack, parameters, versions, sums))
        journal.tracker.draft.begins(Phase.OPTIMIZER_STEP)
        journal.tracker.updating = True
        return self._with_open_closures(args, kwargs)

    def _passed(self, optimizer: Optimizer) -> bool:
        """An update begins, which is a station. Whether only its numbers are recorded, and where it is."""
        journal = self.journal
        try:
            with Unseen():
                frame = sys._getframe(2)
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                known, versions = self.groups.met(optimizer), versions_of(parameters)
                same = known.identities == tuple(map(id, parameters))
                before = () if versions == known.versions else versions_rose(known.versions, versions)
                known.versions = versions
                facts = (known.number, same, groups_facts(optimizer.param_groups), before)
                if not journal.matching.passes(UPDATE, frame, facts):
                    return False
                self._measure(known, parameters)
                self._read_rates(optimizer, known.number)
                return True
        except Exception as error:
            journal.fault("an optimizer before its step", error)
            return False

    def _updated(self, optimizer: Optimizer) -> None:
        """An update is over."""
        journal = self.journal
        try:
            with Unseen():
                known = self.groups.met(optimizer)
                before, known.versions = known.versions, versions_of(parameters_in(optimizer))
                self._moved(known)
                journal.matching.ends(UPDATED, (known.number, versions_rose(before, known.versions)))
        except Exception as error:
            journal.fault("an optimizer's step", error)

    def _stepped_elsewhere(self) -> None:
        """Another thread trains: only this is told of it, once."""
        if not self._elsewhere:
            self._elsewhere = True
            self.journal.faults.append(_ELSEWHERE)

    def _sums(self, optimizer: Optimizer, parameters: list[torch.Tensor]) -> list[Sum | None]:
        """Checksums of what an optimizer of the script's own is about to update; none for torch's."""
        if not self.journal.tracker.draft.full or type(optimizer).__module__.startswith("torch."):
            return []
        storages = [readable_storage(parameter) for parameter in parameters]
        return [None if storage is None else checksum(storage) for storage in storages]

    def _read_rates(self, optimizer: Optimizer, number: int) -> None:
        rates = self.journal.tracker.draft.learning_rates
        for index, group in enumerate(optimizer.param_groups):
            rate = group.get("lr")
            if isinstance(rate, torch.Tensor):
                rate = number_of(rate)
            if rate is not None:
                rates[number, index] = float(rate)

    def _with_open_closures(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The step's arguments, its closure wrapped so that what the script does in it is recorded."""
        if (len(args) == 1 and not kwargs) or not any(map(callable, (*args[1:], *kwargs.values()))):
            return None
        opened = (args[0], *(self._opened(a) for a in args[1:]))
        return opened, {name: self._opened(value) for name, value in kwargs.items()}

    def _opened(self, closure: Any) -> Any:
        if not callable(closure):
            return closure

        @wraps(closure)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.pause.lifted():
                try:
                    return closure(*args, **kwargs)
                finally:
                    self.journal.tracker.draft.begins(Phase.OPTIMIZER_STEP)

        return run

    def _measure(self, known: KnownOptimizer, parameters: list[torch.Tensor]) -> None:
        journal = self.journal
        numbers, tensors = known.numbers, parameters
        if len(numbers) != len(tensors):
            tensors = [tensor for number, tensor in zip(known.parameters, parameters) if number is not None]
        known.before = journal.measurements.norms(numbers, tensors, updated=True)
        if journal.tracker.draft.full:
            moment = journal.tracker.draft.length - 1
            for number, tensor in zip(numbers, tensors):
                journal.measurements.sample(tensor, moment, number, True, "value")

    def _moved(self, known: KnownOptimizer) -> None:
        """Its step is over: how far it moved each parameter."""
        before, known.before = known.before, []
        self.journal.measurements.distances(before)

    def _after(self, optimizer: Optimizer, *_arguments: Any) -> None:
        journal = self.journal
        if journal.matching.on and threading.get_ident() == journal.thread:
            self._updated(optimizer)
            return
        if not self._running or self._running[-1].optimizer is not optimizer:
            return
        run = self._running.pop()
        journal.tracker.updating = bool(self._running)
        try:
            with Unseen():
                self._stepped(run, run.stack if run.stack >= 0 else journal.here.locate(sys._getframe(1))[0])
        except Exception as error:
            journal.fault("an optimizer's step", error)
        finally:
            journal.call_ends()
            self.pause.end()
        if journal.matching.listening:
            self._updated(optimizer)

    def _stepped(self, run: _Running, stack: int) -> None:
        """A step ended: what it changed."""
        journal = self.journal
        after = versions_of(run.parameters)
        risen: list[Any] = list(zip(run.parameters, run.versions, after))
        if None in run.versions or None in after or not all(map(ne, run.versions, after)):
            risen = [one for one in risen if one[1] != one[2] and None not in one[1:]]
        for tensor, before, now, was in zip(run.parameters, run.versions, after, run.sums):  # none for torch's own
            storage = readable_storage(tensor) if now == before and now is not None and was is not None else None
            if storage is not None and now is not None and was is not None and checksum(storage).written(was):
                risen.append((tensor, now, now))
        journal.updates.parameters_updated(run.number, risen, stack)
        self._moved(self.groups.met(run.optimizer))
        if journal.tracker.draft.full:
            moment = journal.tracker.draft.length - 1
            entries = journal.table.entries  # each has its entry since the update was told
            for tensor, _, _ in risen:
                parameter = entries[id(tensor)].parameter
                if parameter is not None:
                    journal.measurements.sample(tensor, moment, parameter, True, "value")
        journal.tracker.updated(stack)
        journal.clock.updated()
        self.groups.remember(run.optimizer)

    # -- zero_grad ---------------------------------------------------------------------------------

    def _zeroed(self, original: Callable[..., None], frame: Any, optimizer: Optimizer, set_to_none: bool) -> None:
        journal = self.journal
        if journal.here.quiet and threading.get_ident() == journal.thread:
            self.abandon()
        if not journal.follows():
            original(optimizer, set_to_none)
            return

        def owner() -> tuple[str, int]:
            return type(optimizer).__name__, self.groups.met(optimizer).number

        parameters = partial(parameters_in, optimizer)
        zero_grad(journal, self.pause, frame, parameters, owner, partial(original, optimizer), set_to_none)
