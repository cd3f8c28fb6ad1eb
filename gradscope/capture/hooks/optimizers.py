"""Optimizers, schedulers and gradient scalers: groups, learning rates, and what each call changed."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from operator import ne
from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...model import records
from ...model.records import Phase
from ..hiding.hook_numbers import own_numbers
from ..hiding.no_torch_function import Unseen
from ..hiding.patch_set import HookSet
from ..hiding.torch_private import INITIAL_STEP
from ..journal.journal import Journal
from ..journal.shared_memory import Sum, checksum
from ..journal.station_facts import groups_facts, versions_rose
from ..journal.stations import CHANGE, SCALER, SCHEDULER, UPDATE, UPDATED
from ..measure.askable import readable_storage
from ..measure.stats import number_of
from ..measure.tensor_facts import tensors_in, versions_of
from ..sites.call_sites import NOWHERE
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


@dataclass(slots=True)
class _Known:
    """An optimizer that was met. `record` is None until it is first used: by then its parameters have names."""

    reference: weakref.ref[Optimizer]
    number: int
    stack: int | None
    identities: tuple[int, ...] = ()
    parameters: tuple[int | None, ...] = ()  # their numbers as parameters
    numbers: tuple[int, ...] = ()  # those of them that have one
    record: records.Optimizer | None = None
    state: tuple[str, ...] | None = None
    versions: list[int | None] = field(default_factory=list)  # of its parameters, as they were left


_ELSEWHERE = "training in another thread: only the thread that starts a recording is recorded"


class OptimizerWatch:
    """Records how optimizers are built, `step`, `zero_grad`, schedulers and scalers."""

    def __init__(self, journal: Journal, pause: Pause, on_optimizer: Callable[[records.Optimizer], None]) -> None:
        self.journal, self.pause = journal, pause
        self._on_optimizer = on_optimizer
        self._known: dict[int, _Known] = {}
        self._count = 0
        self._building = 0
        self._running: list[_Running] = []
        self._scheduling = 0
        self._scaling = 0
        self._elsewhere = False

    def install(self, hooks: HookSet) -> None:
        self.journal.matching.teller.parameters = self.parameters_of
        with own_numbers():
            hooks.add(register_optimizer_step_pre_hook(self._before).remove)
            hooks.add(register_optimizer_step_post_hook(self._after).remove)
        original = Optimizer.zero_grad

        def zero_grad(optimizer: Optimizer, set_to_none: bool = True) -> None:
            self._zeroed(original, sys._getframe(1), optimizer, set_to_none)

        zero_grad.__doc__ = original.__doc__
        hooks.patch(Optimizer, "zero_grad", zero_grad)
        hooks.patch(Optimizer, "__init__", self._building_call(vars(Optimizer)["__init__"]))
        hooks.patch(Optimizer, "add_param_group", self._adding_call(vars(Optimizer)["add_param_group"]))
        for kind in vars(lr_scheduler).values():
            if isinstance(kind, type) and "step" in vars(kind):
                hooks.patch(kind, "step", self._scheduler_step(vars(kind)["step"]))
        for name in ("scale", "unscale_", "step", "update"):
            scaler = torch.amp.GradScaler
            hooks.patch(scaler, name, self._scaler_call(name, vars(scaler)[name]))

    def _mine(self) -> bool:
        return self.journal.recording() and threading.get_ident() == self.journal.thread

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
        try:
            with Unseen():
                stack, _ = journal.here.locate(sys._getframe(1))
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                versions = versions_of(parameters)
                known = self._current(optimizer, parameters)
                number = known.number
                self._measure(known, parameters)
                self._read_rates(optimizer, number)
                sums = self._sums(optimizer, parameters)
        except Exception as error:
            journal.fault("an optimizer before its step", error)
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
                known, versions = self._met(optimizer), versions_of(parameters)
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
                known = self._met(optimizer)
                before, known.versions = known.versions, versions_of(self._parameters(optimizer))
                journal.matching.ends(UPDATED, (known.number, versions_rose(before, known.versions)))
        except Exception as error:
            journal.fault("an optimizer's step", error)

    @staticmethod
    def _parameters(optimizer: Optimizer) -> list[torch.Tensor]:
        return [p for group in optimizer.param_groups for p in group["params"]]

    def parameters_of(self, number: int) -> list[torch.Tensor]:
        """The parameters of an optimizer."""
        found = (known.reference() for known in self._known.values() if known.number == number)
        return [p for optimizer in found if optimizer is not None for p in self._parameters(optimizer)]

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

    def _measure(self, known: _Known, parameters: list[torch.Tensor]) -> None:
        journal = self.journal
        numbers, tensors = known.numbers, parameters
        if len(numbers) != len(tensors):
            tensors = [tensor for number, tensor in zip(known.parameters, parameters) if number is not None]
        journal.measurements.norms(numbers, tensors)
        if journal.tracker.draft.full:
            moment = journal.tracker.draft.length - 1
            for number, tensor in zip(numbers, tensors):
                journal.measurements.sample(tensor, moment, number, True, "value")

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
        if journal.tracker.draft.full:
            moment = journal.tracker.draft.length - 1
            entries = journal.table.entries  # each has its entry since the update was told
            for tensor, _, _ in risen:
                parameter = entries[id(tensor)].parameter
                if parameter is not None:
                    journal.measurements.sample(tensor, moment, parameter, True, "value")
        journal.tracker.updated(stack)
        journal.clock.updated()
        self._remember(run.optimizer)

    # -- building ----------------------------------------------------------------------------------

    def _building_call(self, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def build(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            self._building += 1
            try:
                original(optimizer, *args, **kwargs)
            finally:
                self._building -= 1
            self._changed(optimizer, None, sys._getframe(1))

        return build

    def _adding_call(self, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def add_param_group(optimizer: Optimizer, param_group: dict[str, Any]) -> None:
            try:
                self.journal.matching.passes(CHANGE, sys._getframe(1), ("group",))
                original(optimizer, param_group)
            except (TypeError, ValueError) as error:
                if self._mine():
                    self._refused(sys._getframe(1), param_group, error)
                raise
            if not self._building:
                self._changed(optimizer, len(optimizer.param_groups) - 1, sys._getframe(1))

        return add_param_group

    def _refused(self, frame: Any, group: Any, error: BaseException) -> None:
        journal = self.journal
        try:
            with Unseen():
                stack, _ = journal.here.locate(frame)
                given = tensors_in((group.get("params"),)) if isinstance(group, dict) else []
                wrong = [tensor for tensor in given if not (tensor.is_leaf or tensor.retains_grad)] or given
                numbers = tuple(journal.table.number(journal.draft, tensor, stack, NOWHERE) for tensor in wrong)
                journal.call_failed("add_param_group", stack, numbers, error)
        except Exception as fault:
            journal.fault("an optimizer's parameters", fault)

    def _changed(self, optimizer: Optimizer, group: int | None, frame: Any) -> None:
        """An optimizer was built, or got a group."""
        if self._building or not self._mine():
            return
        try:
            with Unseen():
                stack, _ = self.journal.here.locate(frame)
                self.journal.with_optimizer = True
                known = self._met(optimizer, stack)
                self._record(known, optimizer)
                self.journal.updates.optimizer_changed(known.number, group, stack)
        except Exception as error:
            self.journal.fault("an optimizer being built", error)

    def _met(self, optimizer: Optimizer, stack: int | None = None) -> _Known:
        known = self._known.get(id(optimizer))
        if known is None or known.reference() is not optimizer:
            known = self._known[id(optimizer)] = _Known(weakref.ref(optimizer), self._count, stack)
            self._count += 1
            self.journal.with_optimizer = True
        return known

    def _number(self, optimizer: Optimizer) -> int:
        """The optimizer's number; its groups are recorded when they are new or changed."""
        return self._current(optimizer, [p for group in optimizer.param_groups for p in group["params"]]).number

    def _current(self, optimizer: Optimizer, parameters: list[torch.Tensor]) -> _Known:
        """What is known of the optimizer, whose parameters are these now."""
        known = self._met(optimizer)
        identities = tuple(map(id, parameters))
        if known.identities != identities:
            known.identities = identities
            for tensor in parameters:
                if self.journal.table.entry(tensor).parameter is None:
                    self.journal.leaves.adopt(tensor, "parameter")
            known.parameters = tuple([self.journal.table.entry(tensor).parameter for tensor in parameters])
            known.numbers = tuple([number for number in known.parameters if number is not None])
            self._record(known, optimizer)
        return known

    def _record(self, known: _Known, optimizer: Optimizer) -> None:
        """Write what is known of the optimizer: its parameters as far as they are known as such."""
        table = self.journal.table
        groups: list[tuple[int, ...]] = []
        for group in optimizer.param_groups:
            members = []
            for tensor in group["params"]:
                entry = table.find(tensor)
                if entry is not None and entry.parameter is None and entry.mark is self.journal.draft.mark:
                    self.journal.leaves.adopt(tensor, "parameter")
                if entry is None or entry.parameter is None:
                    continue
                members.append(entry.parameter)
                record = table.parameters[entry.parameter]
                if known.number not in record.optimizers:
                    table.update(replace(record, optimizers=(*record.optimizers, known.number)))
            groups.append(tuple(members))
        kind, number = type(optimizer).__name__, known.number
        made = records.Optimizer(
            number, f"{kind} {number}" if number else kind, kind, tuple(groups), known.stack,
            _settings(optimizer.defaults), known.state or (),
        )  # fmt: skip
        if made != known.record:
            known.record = made
            self._on_optimizer(made)

    def _remember(self, optimizer: Optimizer) -> None:
        """After an optimizer's first step: what it keeps of each parameter."""
        known = self._known.get(id(optimizer))
        if known is not None and known.state is None:
            kept: Any = next(iter(optimizer.state.values()), None)
            known.state = tuple(sorted(map(str, kept))) if isinstance(kept, dict) else ()
            self._record(known, optimizer)

    # -- zero_grad, schedulers, scalers ------------------------------------------------------------

    def _zeroed(self, original: Callable[..., None], frame: Any, optimizer: Optimizer, set_to_none: bool) -> None:
        journal = self.journal
        if journal.here.quiet and threading.get_ident() == journal.thread:
            self.abandon()
        if not journal.matching.on and not self._mine():
            original(optimizer, set_to_none)
            return

        def parameters() -> list[torch.Tensor]:
            return [p for group in optimizer.param_groups for p in group["params"]]

        def owner() -> tuple[str, int]:
            return type(optimizer).__name__, self._met(optimizer).number

        zero_grad(journal, self.pause, frame, parameters, owner, lambda: original(optimizer, set_to_none))

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
            if self._scheduling or not self._mine() or frame.f_code.co_name == INITIAL_STEP:
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
        try:
            with Unseen():
                return self.journal.call_begins(Phase.SCHEDULER_STEP, frame)
        except Exception as error:
            self.journal.fault("a scheduler before its step", error)
            return None

    def _scheduled(self, scheduler: Any, stack: int | None) -> None:
        try:
            optimizer = getattr(scheduler, "optimizer", None)
            number = self._number(optimizer) if isinstance(optimizer, Optimizer) else None
            self.journal.updates.scheduler_stepped(type(scheduler).__name__, number, stack)
        except Exception as error:
            self.journal.fault("a scheduler's step", error)

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
            if self._mine() and not self._scaling:  # `step` calls `unscale_` itself
                try:
                    optimizer = args[0] if args and isinstance(args[0], Optimizer) else None
                    number = self._number(optimizer) if optimizer is not None else None
                    self.journal.updates.scaler_called(
                        name, args[0] if args else None, number, bool(scaler.is_enabled()), sys._getframe(1)
                    )
                except Exception as error:
                    self.journal.fault("a GradScaler call", error)
            return result

        call.__name__, call.__doc__ = name, original.__doc__
        return call


def _settings(defaults: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """An optimizer's defaults as text, those that are plain numbers or words."""
    return tuple((name, str(value)) for name, value in defaults.items() if type(value) in (bool, int, float, str))
