"""The stations of a step that proved to be none of its pattern, told as the moments of a step at detail `steps`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...model.records import Phase
from ..measure.tensor_facts import version_of
from ..step.raw import BackwardRan, Called, Passed, RawMoment, Scheduled, Zeroed
from .here import Here
from .updates import Updates

# What stations are: calls that begin, and their ends.
CALL, BACKWARD, UPDATE, ZERO_GRAD = "call", "backward", "update", "zero_grad"
RETURNED, DONE, UPDATED, ZEROED = "returned", "done", "updated", "zeroed"
MODE, SCHEDULER, SCALER, CLIP, HOOK, CHANGE = "mode", "scheduler", "scaler", "clip", "hook", "change"
ENDS = frozenset({RETURNED, DONE, UPDATED, ZEROED})

Losses = list[tuple[int, list[float]]]


class Teller:
    """Tells stations in order. `parameters`: those of an optimizer, by its number."""

    def __init__(self, here: Here, updates: Updates) -> None:
        self._here, self._updates = here, updates
        self.parameters: Callable[[int], Sequence[torch.Tensor]] = lambda _: ()
        self._root: tuple[int, bool] = (-1, False)  # told last: its stack, and whether it is a loss
        self._update = -1  # the stack of the update told last
        self._losses: Losses = []  # of the backwards that are still to be told
        self._by_kind: dict[str, Callable[..., None]] = {
            CALL: self._called,
            RETURNED: self._returned,
            BACKWARD: self._backward,
            UPDATE: self._update_begins,
            UPDATED: self._updated,
            ZERO_GRAD: self._zero_grad,
            SCHEDULER: self._scheduler,
        }

    def tell(self, stations: Sequence[Passed], times: Sequence[float], losses: Losses) -> None:
        """Tell the stations that were passed at these times, and what the backwards among them began at."""
        self._losses = list(losses)
        for (kind, stack, _, facts), when in zip(stations, times):
            tell = self._by_kind.get(kind)
            if tell is not None:
                tell(stack, when, *facts)
            if kind in ENDS and kind != RETURNED:
                self._here.draft.begins(Phase.OTHER, when)

    def _called(
        self,
        stack: int,
        when: float,
        number: int,
        name: str,
        loss: bool,
        grad_enabled: bool,
        autocast: str | None,
        *_facts: Any,
    ) -> None:
        here = self._here
        if not loss:
            here.tracker.root_called(stack, number)
        here.clock.enter(loss)
        self._root = (stack, loss)
        phase = Phase.EVAL if not grad_enabled else Phase.LOSS if loss else Phase.FORWARD
        called = Called(name, True, number, 0, 0, grad_enabled, autocast, None, None)
        here.draft.append(RawMoment("op", phase, stack, (), (), called), phase, when)

    def _returned(self, _stack: int, when: float, *_facts: Any) -> None:
        stack, loss = self._root
        self._here.clock.leave(loss)
        if not loss:
            self._here.tracker.root_left(stack)
        self._here.draft.timing.until = when

    def call_failed(self) -> None:
        """The root that was told last raised."""
        self._here.clock.leave(self._root[1])

    def _backward(
        self, stack: int, when: float, call: str, retain: bool, create: bool, accumulates: bool, *_facts: Any
    ) -> None:
        draft = self._here.draft
        moment = RawMoment("backward", Phase.BACKWARD, stack, (), (), BackwardRan(None, call, retain, create, None))
        index = draft.append(moment, Phase.BACKWARD, when)
        if accumulates and self._losses:
            draft.losses.append((index, self._losses.pop(0)[1]))
        self._here.backward_called(stack, accumulates or not create)

    def _update_begins(self, stack: int, when: float, *_facts: Any) -> None:
        self._here.tracker.updating = True
        self._update = stack
        self._here.draft.begins(Phase.OPTIMIZER_STEP, when)

    def _updated(self, _stack: int, _when: float, optimizer: int, rises: Sequence[int]) -> None:
        here = self._here
        here.tracker.updating = False
        risen: list[tuple[torch.Tensor, int, int]] = []
        for tensor, rise in zip(self.parameters(optimizer), rises):
            version = version_of(tensor)
            if rise and version is not None:
                risen.append((tensor, version - rise, version))
        self._updates.parameters_updated(optimizer, risen, self._update)
        here.tracker.updated(self._update)
        here.clock.updated()

    def _zero_grad(
        self, stack: int, when: float, owner: str, number: int | None, set_to_none: bool, *_facts: Any
    ) -> None:
        draft = self._here.draft
        draft.progress.zeroed = True
        moment = RawMoment("zero_grad", Phase.ZERO_GRAD, stack, (), (), Zeroed(owner, set_to_none, number))
        draft.append(moment, Phase.ZERO_GRAD, when)

    def _scheduler(self, stack: int, when: float, name: str) -> None:
        moment = RawMoment("scheduler", Phase.SCHEDULER_STEP, stack, (), (), Scheduled(name, None))
        self._here.draft.append(moment, Phase.SCHEDULER_STEP, when)
