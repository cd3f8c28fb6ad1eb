"""Optimizers: how they are built, which groups they have, and what they are called in the trace."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import torch
from torch.optim import Optimizer

from ...model import records
from ..hiding.patch_set import HookSet
from ..journal.journal import Journal
from ..journal.measurements import Before
from ..journal.stations import CHANGE
from ..measure.tensor_facts import tensors_in
from ..sites.call_sites import NOWHERE


@dataclass(slots=True)
class KnownOptimizer:
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
    before: list[Before] = field(default_factory=list)  # its parameters, as they were when its step began


def parameters_in(optimizer: Optimizer) -> list[torch.Tensor]:
    """The parameters of all groups, in their order."""
    return [p for group in optimizer.param_groups for p in group["params"]]


class OptimizerGroups:
    """Records how optimizers are built, and knows those that were met."""

    def __init__(self, journal: Journal, on_optimizer: Callable[[records.Optimizer], None]) -> None:
        self.journal = journal
        self._on_optimizer = on_optimizer
        self._known: dict[int, KnownOptimizer] = {}
        self._count = 0
        self._building = 0

    def install(self, hooks: HookSet) -> None:
        self.journal.matching.teller.parameters = self.parameters_of
        hooks.patch(Optimizer, "__init__", self._building_call(vars(Optimizer)["__init__"]))
        hooks.patch(Optimizer, "add_param_group", self._adding_call(vars(Optimizer)["add_param_group"]))

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
                if self.journal.mine():
                    self._refused(sys._getframe(1), param_group, error)
                raise
            if not self._building:
                self._changed(optimizer, len(optimizer.param_groups) - 1, sys._getframe(1))

        return add_param_group

    def _refused(self, frame: Any, group: Any, error: BaseException) -> None:
        journal = self.journal
        with journal.guard("an optimizer's parameters"):
            stack, _ = journal.here.locate(frame)
            given = tensors_in((group.get("params"),)) if isinstance(group, dict) else []
            wrong = [tensor for tensor in given if not (tensor.is_leaf or tensor.retains_grad)] or given
            numbers = tuple(journal.table.number(journal.draft, tensor, stack, NOWHERE) for tensor in wrong)
            journal.call_failed("add_param_group", stack, numbers, error)

    def _changed(self, optimizer: Optimizer, group: int | None, frame: Any) -> None:
        """An optimizer was built, or got a group."""
        if self._building or not self.journal.mine():
            return
        with self.journal.guard("an optimizer being built"):
            stack, _ = self.journal.here.locate(frame)
            self.journal.with_optimizer = True
            known = self.met(optimizer, stack)
            self._record(known, optimizer)
            self.journal.updates.optimizer_changed(known.number, group, stack)

    def met(self, optimizer: Optimizer, stack: int | None = None) -> KnownOptimizer:
        """What is known of the optimizer, which is new where it was not met before."""
        known = self._known.get(id(optimizer))
        if known is None or known.reference() is not optimizer:
            known = self._known[id(optimizer)] = KnownOptimizer(weakref.ref(optimizer), self._count, stack)
            self._count += 1
            self.journal.with_optimizer = True
        return known

    def number(self, optimizer: Optimizer) -> int:
        """The optimizer's number; its groups are recorded when they are new or changed."""
        return self.current(optimizer, parameters_in(optimizer)).number

    def current(self, optimizer: Optimizer, parameters: list[torch.Tensor]) -> KnownOptimizer:
        """What is known of the optimizer, whose parameters are these now."""
        known = self.met(optimizer)
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

    def _record(self, known: KnownOptimizer, optimizer: Optimizer) -> None:
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

    def remember(self, optimizer: Optimizer) -> None:
        """After an optimizer's first step: what it keeps of each parameter."""
        known = self._known.get(id(optimizer))
        if known is not None and known.state is None:
            kept: Any = next(iter(optimizer.state.values()), None)
            known.state = tuple(sorted(map(str, kept))) if isinstance(kept, dict) else ()
            self._record(known, optimizer)

    def parameters_of(self, number: int) -> list[torch.Tensor]:
        """The parameters of an optimizer."""
        found = (known.reference() for known in self._known.values() if known.number == number)
        return [p for optimizer in found if optimizer is not None for p in parameters_in(optimizer)]


def _settings(defaults: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """An optimizer's defaults as text, those that are plain numbers or words."""
    return tuple((name, str(value)) for name, value in defaults.items() if type(value) in (bool, int, float, str))
