"""The life of every `.grad`: which backward filled it, which update used it, who cleared it.

A parameter's `.grad` is a slot. The trace is walked once, step by step; steps that do the same to slots in
the same state are walked once, so the cost grows with what differs, not with the length of the training.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from ...model import op_kinds
from ...model.moments import GradChange, Moment, Mutation, OpCall, OptimizerStep, ScalerCall
from ...model.trace import Step
from .arguments import arguments
from .index import Case, once_a_case
from .writes import op_before

FILLS = ("created", "accumulated")
CLEARS = ("cleared", "zeroed")


class Slot(NamedTuple):
    """One parameter's `.grad`. Stacks say where; `here` is whether that was in the step at hand.

    `filled`: the backward that filled it last, `sources` all since it was empty, each once, `fills` how many.
    `used`: the update that read what is in it; `stale`: that backward then added to what an update had read.
    `cleared` and `lost`: the clearing that threw away what no update had read, and the backward that it came from,
    since the last update; `losses` how many backwards were lost so. `read`: the script looked at it, or the backward
    also served other leaves; `looked`: the script itself did since it was filled; `clipped`: the clipping since the
    last backward, `between` one after which a backward added more; `rescaled`: the script changed it itself;
    `scaled`: it is multiplied by a GradScaler's scale.
    `unseen`: what it holds is not known, since backwards of light steps are not seen to fill anything.
    """

    fills: int = 0
    sources: tuple[int | None, ...] = ()
    filled: int | None = None
    used: int | None = None
    stale: int | None = None
    cleared: int | None = None
    lost: int | None = None
    losses: int = 0
    here: bool = False
    read: bool = False
    looked: bool = False
    clipped: int | None = None
    between: int | None = None
    rescaled: bool = False
    scaled: bool = False
    unseen: bool = False

    @property
    def empty(self) -> bool:
        return not self.fills

    @property
    def emptied(self) -> Slot:
        """The same without a gradient: what was lost before is still known."""
        return Slot(cleared=self.cleared, lost=self.lost, losses=self.losses, here=self.here)

    @property
    def fresh(self) -> bool:
        """It holds a gradient that no update has read."""
        return self.fills > 0 and self.used is None


class Use(NamedTuple):
    """A moment that reads gradients: an update or a clipping. `slots` are as they were right before it.

    `optimizer` is None for an update by hand. `times`: in how many steps the same happened.
    """

    step: Step
    position: int
    number: int
    optimizer: int | None
    slots: Mapping[int, Slot]
    times: int = 1

    @property
    def stack(self) -> int | None:
        return self.step.moments[self.position].stack


class Waste(NamedTuple):
    """A clearing that threw away all that a backward had given, before anything read it."""

    step: Step
    position: int
    number: int
    lost: int
    slots: Mapping[int, Slot]


State = dict[int, Slot]
EMPTY = Slot()
UNSEEN = Slot(fills=1, read=True, unseen=True)  # nothing can be held against it


class GradLifetimes:
    """The lives of all slots of a case: what its updates, clippings and clearings met."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.updates: list[Use] = []
        self.clips: list[Use] = []
        self.wastes: list[Waste] = []
        self.vain_clips: set[int] = set()  # the clippings whose result was cleared unused
        self._plans: dict[int, list[tuple[int, Moment]]] = {}
        self._walk()

    @staticmethod
    @once_a_case
    def of(case: Case) -> GradLifetimes:
        """The slots of a case, walked once."""
        return GradLifetimes(case)

    @cached_property
    def trained(self) -> frozenset[int]:
        """Parameters that an update has changed by a gradient."""
        return frozenset(
            one for use in self.updates for one, slot in use.slots.items() if not slot.empty and not slot.unseen
        )

    def of_optimizer(self, optimizer: int) -> Sequence[Use]:
        return [use for use in self.updates if use.optimizer == optimizer]

    # -- the walk ------------------------------------------------------------------------------------

    def _walk(self) -> None:
        state: State = {}
        known: dict[tuple[int, frozenset[tuple[int, Slot]]], tuple[State, slice]] = {}
        for row in self.case.rows:
            state = {one: slot._replace(here=False) for one, slot in state.items()}
            key = (row.template, frozenset(state.items()))
            found = known.get(key)
            if found is None:
                step = self.case.like(row.number)
                if step is None:
                    continue
                before = len(self.updates)
                state = (self._light if step.row.light else self._step)(step, row.number, dict(state))
                known[key] = (state, slice(before, len(self.updates)))
            else:
                state, again = found
                self.updates[again] = [use._replace(times=use.times + 1) for use in self.updates[again]]

    def _plan(self, step: Step) -> list[tuple[int, Moment]]:
        """The moments of a step that matter to slots."""
        plan = self._plans.get(step.row.template)
        if plan is None:
            gradients = {tensor.number for tensor in step.tensors if tensor.gradient_of is not None}
            plan = self._plans[step.row.template] = [
                (index, moment) for index, moment in enumerate(step.moments) if _matters(moment, gradients)
            ]
        return plan

    def _light(self, step: Step, number: int, state: State) -> State:
        """A step whose ops were not recorded: its updates are there, and what they read is not known."""
        for event in self.case.events(OptimizerStep, step):
            members = self.case.members.get(event.moment.optimizer, ())
            slots = dict.fromkeys(members, UNSEEN)
            self.updates.append(Use(step, event.position, number, event.moment.optimizer, slots))
        return dict.fromkeys((*self.case.parameters, *state), UNSEEN)

    def _step(self, step: Step, number: int, state: State) -> State:
        scaled = False
        for index, moment in self._plan(step):
            if isinstance(moment, GradChange):
                self._changed(step, number, index, moment, state, scaled)
            elif isinstance(moment, OptimizerStep):
                members = self.case.members.get(moment.optimizer, ())
                self._update(Use(step, index, number, moment.optimizer, _slots(state, members)), state, moment.stack)
            elif isinstance(moment, ScalerCall):
                scaled = self._scaler(moment, state, scaled)
            elif isinstance(moment, Mutation):
                self._by_hand(step, number, index, moment, state)
            elif isinstance(moment, OpCall) and moment.name in op_kinds.CLIPS:
                clip = Use(step, index, number, None, _slots(state, step.parameters_of(moment.inputs)))
                self.clips.append(clip)
                if not only_measures(moment):
                    state.update({one: slot._replace(clipped=moment.stack) for one, slot in clip.slots.items()})
            elif isinstance(moment, OpCall):
                _read(step, moment, state)
        return state

    def _changed(self, step: Step, number: int, index: int, change: GradChange, state: State, scaled: bool) -> None:
        members = step.parameters_of(change.tensors)
        aside = change.change in FILLS and _fills_others(step, index)
        if change.change in CLEARS:
            self._cleared(step, number, index, members, state)
            return
        for one in members:
            slot = state.get(one, EMPTY)
            if change.change in FILLS:
                state[one] = _filled(slot, change, scaled, aside)
            elif change.change == "assigned":
                state[one] = EMPTY._replace(fills=1, sources=(change.stack,), filled=change.stack, here=True, read=True)
            elif not _by_clipping(step, index):
                stale = slot.stale if slot.used is None else None  # what an update read may be taken out of it here
                state[one] = slot._replace(rescaled=True, read=True, used=None, stale=stale)

    def _cleared(self, step: Step, number: int, index: int, members: Sequence[int], state: State) -> None:
        gone = {one: state.get(one, EMPTY) for one in members}
        lost = {one: slot for one, slot in gone.items() if slot.fresh}
        for backward in dict.fromkeys(slot.filled for slot in lost.values()):
            together = {one for one, slot in state.items() if slot.filled == backward and not slot.empty}
            whole = together <= lost.keys() and not any(lost[one].read for one in together)
            if whole and backward is not None:
                self.wastes.append(Waste(step, index, number, backward, {one: lost[one] for one in together}))
        stack = step.moments[index].stack
        for one, slot in gone.items():
            if slot.fresh:
                if slot.clipped is not None:
                    self.vain_clips.add(slot.clipped)
                losses = slot.losses + (0 if slot.read else slot.fills)
                state[one] = EMPTY._replace(cleared=stack, lost=slot.filled, losses=losses, here=slot.here)
            else:
                state[one] = slot.emptied

    def _update(self, use: Use, state: State, stack: int | None) -> None:
        self.updates.append(use)
        served = {backward for slot in use.slots.values() for backward in slot.sources}
        for one, slot in state.items():
            if slot.fresh and slot.filled in served and one not in use.slots:
                state[one] = slot._replace(read=True)  # its backward was not in vain
        for one, slot in use.slots.items():
            used = stack if not slot.empty else None
            state[one] = slot._replace(used=used, stale=None, between=None, cleared=None, lost=None, losses=0)

    def _by_hand(self, step: Step, number: int, index: int, write: Mutation, state: State) -> None:
        """A parameter that no optimizer has was written to once its gradient was read: an update by hand."""
        sharing = step.lasting.get(step.tensors[write.tensor].storage, ())
        one = next((tensor.parameter for tensor in reversed(sharing) if tensor.requires_grad), None)
        slot = state.get(one, EMPTY) if one is not None else EMPTY
        if one is None or slot.empty or not slot.looked or self.case.parameters[one].optimizers:
            return  # what nobody looked at, a write of other values (load_state_dict) does not use
        last = self.updates[-1] if self.updates else None
        if last is not None and (last.number, last.optimizer, last.stack) == (number, None, write.stack):
            self.updates[-1] = last._replace(slots={**last.slots, one: slot})
            state[one] = slot._replace(used=write.stack, stale=None, cleared=None, lost=None, losses=0)
        else:
            self._update(Use(step, index, number, None, {one: slot}), state, write.stack)

    def _scaler(self, call: ScalerCall, state: State, scaled: bool) -> bool:
        if call.call == "unscale_" and call.optimizer is not None:
            for one in self.case.members.get(call.optimizer, ()):
                if one in state:
                    state[one] = state[one]._replace(scaled=False)
        return call.enabled if call.call == "scale" else scaled and call.call != "update"


@once_a_case
def backward_reach(case: Case) -> Mapping[int | None, frozenset[int]]:
    """The parameters that the backwards of each stack gave a gradient, over the whole trace."""
    found: dict[int | None, set[int]] = defaultdict(set)
    for event in case.events(GradChange):
        if event.moment.change in FILLS:
            found[event.moment.stack].update(event.step.parameters_of(event.moment.tensors))
    return {stack: frozenset(parameters) for stack, parameters in found.items()}


def starved_optimizer(case: Case) -> int | None:
    """The one optimizer whose parameters no backward ever reached; None if there is none, or several."""
    reached = {one for parameters in backward_reach(case).values() for one in parameters}
    starved = [number for number, members in case.members.items() if reached.isdisjoint(members)]
    return starved[0] if len(starved) == 1 else None


def only_measures(clip: OpCall) -> bool:
    """Whether a clipping has no limit: it is called for the norm that it returns."""
    return arguments(clip).number("max_norm", 0) == math.inf


def _matters(moment: Moment, gradients: Iterable[int]) -> bool:
    if isinstance(moment, OpCall):
        return moment.name in op_kinds.CLIPS or not set(moment.inputs).isdisjoint(gradients)
    return isinstance(moment, (GradChange, OptimizerStep, ScalerCall, Mutation))


def _filled(slot: Slot, change: GradChange, scaled: bool, aside: bool) -> Slot:
    """The slot after a backward. `aside`: it also filled leaves that are no parameters."""
    if change.change == "created" or slot.empty:
        return slot.emptied._replace(
            fills=1, sources=(change.stack,), filled=change.stack, here=True, read=aside, scaled=scaled
        )
    stale = slot.used if slot.used is not None else slot.stale
    sources = slot.sources if change.stack in slot.sources else (*slot.sources, change.stack)
    between = slot.clipped if slot.fresh and slot.clipped is not None else slot.between
    return slot._replace(
        fills=slot.fills + 1, sources=sources, filled=change.stack, used=None, stale=stale, here=True,
        read=slot.read or aside, looked=False, clipped=None, between=between, scaled=scaled,
    )  # fmt: skip


def _fills_others(step: Step, index: int) -> bool:
    """Whether the backward that fills at moment `index` also fills leaves that are no parameters, such as an input."""
    begin, end = index, index + 1
    while begin and isinstance(step.moments[begin - 1], GradChange):
        begin -= 1
    while end < len(step.moments) and isinstance(step.moments[end], GradChange):
        end += 1
    changes = [moment for moment in step.moments[begin:end] if isinstance(moment, GradChange)]
    return any(step.tensors[tensor].parameter is None for change in changes for tensor in change.tensors)


def _by_clipping(step: Step, index: int) -> bool:
    """Whether torch's clipping changed the gradients at moment `index`: then it is the op before."""
    op = step.op(op_before(step, index))
    return op is not None and op.name in op_kinds.CLIPS and op.stack == step.stack(index)


def _read(step: Step, call: OpCall, state: State) -> None:
    """The script looked at gradients."""
    for number in call.inputs:
        leaf = step.tensors[number].gradient_of
        one = step.tensors[leaf].parameter if leaf is not None else None
        if one is not None and one in state:
            state[one] = state[one]._replace(read=True, looked=True)


def _slots(state: State, members: Iterable[int]) -> Mapping[int, Slot]:
    return {one: state.get(one, EMPTY) for one in members}
