"""The step tracker: owns the draft, notices where steps end, and hands closed drafts on.

How a boundary is told is explained in `steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType

import torch

from ..model.records import Phase, StepKind
from .draft import Draft, RawMoment
from .entry import Entry
from .source import Sites
from .split import split
from .steps import MAX_CUTS, Loop, Watch, innermost_loop
from .tensors import TensorTable

LoopKey = tuple[CodeType, int]


class StepTracker:
    """Turns the stream of facts into steps.

    `open_draft(kind)` makes a draft at the right detail for a step that is probably of that kind;
    `close(draft, kind)` writes a finished one.
    """

    def __init__(
        self,
        sites: Sites,
        table: TensorTable,
        open_draft: Callable[[StepKind], Draft],
        close: Callable[[Draft, StepKind], None],
        measure: Callable[[tuple[int, ...], list[torch.Tensor]], None],
    ) -> None:
        self.sites, self.table = sites, table
        self._open, self._close, self._measure = open_draft, close, measure
        self.ahead = open_draft(StepKind.TRAIN)  # the draft, whose lists may be behind
        self.watch: Watch | None = None
        self.lingering: Loop | None = None  # the step's loop is over; nothing new began yet
        self.closed = 0
        self.updating = False  # inside optimizer.step(), whose closure may run many times
        self.by_hand = False  # gradscope.step() was called: marks decide, not loops
        self._backward_at: int | None = None
        self._update_at: int | None = None
        self._loops: dict[tuple[int, int | None], Loop | None] = {}
        self._inside: dict[tuple[int, int], bool] = {}
        self._watches: dict[tuple[str, int, int | None], Watch | None] = {}
        self._round_at: int | None = None
        self._root_loop: Loop | None = None
        self._last_update = -1
        self._settled: set[LoopKey] = set()  # loops known to make a step each time round
        self._ready: Sequence[Entry] = ()

    @property
    def draft(self) -> Draft:
        """The step in progress, as far as it has got."""
        draft = self.ahead
        if draft.behind:
            draft.catch_up()
        return draft

    # -- what capture tells ------------------------------------------------------------------------

    def look(self, stack: int) -> None:
        """An event happens at `stack` while a loop is watched."""
        watch = self.watch
        if watch is None or self.by_hand or self.updating:
            return
        positions = self.sites.positions[stack]
        if self.lingering is not None:
            if self.lingering.holds(positions):
                self._finish()
            return
        change = watch.judge(stack, positions)
        if change == "left":
            self.watch = watch if watch.kind == "U" else None
            self.lingering = watch.loop if watch.kind == "U" else None
        elif change == "again":
            self._again(watch)

    def _loop(self, stack: int, other: int | None = None) -> Loop | None:
        """The innermost loop that holds both stacks."""
        key = (stack, other)
        if key not in self._loops:
            positions = self.sites.positions
            self._loops[key] = innermost_loop(positions[stack], None if other is None else positions[other])
        return self._loops[key]

    def _holds(self, loop: Loop, stack: int) -> bool:
        """Whether the stack runs inside the loop. Loops are asked for by identity: each is made once."""
        key = (id(loop), stack)
        if key not in self._inside:
            self._inside[key] = loop.holds(self.sites.positions[stack])
        return self._inside[key]

    def _watch(self, kind: str, stack: int, other: int | None = None) -> Watch | None:
        key = (kind, stack, other)
        if key not in self._watches:
            loop = self._loop(stack, other)
            self._watches[key] = Watch(kind, loop, self.sites.positions[stack]) if loop is not None else None
        return self._watches[key]

    def root_called(self, stack: int, module: int) -> None:
        """A root module's forward begins."""
        if self.by_hand:
            return
        evaluating = not torch.is_grad_enabled()
        draft = self.ahead
        if draft.seen_update:
            loop = self._loop(stack)
            other = loop is not None and (self.watch is None or loop != self.watch.loop)
            if self.lingering is not None or (evaluating and other):
                self._cut_and_close(self._first_in(loop, self._after_own_loop()))
                self.watch = None
        elif self._round_at is not None and module in draft.roots:
            at, self._round_at = self._round_at, None
            if draft.seen_backward:
                pass
            elif evaluating:
                self._settle(self._root_loop)
                self._cut_and_close(at)
                self.watch = None
            else:
                draft.cuts.append(at)
                if len(draft.cuts) >= MAX_CUTS:
                    self._realize_cuts()
        self.ahead.roots.add(module)

    def root_left(self, stack: int) -> None:
        """A root module's forward returned."""
        draft = self.ahead
        if self.by_hand or draft.seen_backward or draft.seen_update:
            return
        watch = self._watch("R", stack)
        if watch is not None:
            self._root_loop = watch.loop
            self.watch = watch

    def backward(self, stack: int) -> None:
        """A backward begins (its moment is the last of the draft)."""
        if self.by_hand:
            return
        loop = self._loop(stack)
        draft = self.ahead
        if self.lingering is not None:
            start = self._first_in(loop, self._after_own_loop())
            self._cut_and_close(min(start, draft.length - 1))
            self.watch = None
        elif draft.cuts:
            self._judge_cuts(loop)
        self._round_at = None
        self._backward_at = stack
        draft = self.ahead
        if draft.seen_update and self._update_at is not None:
            self._updated_first(self._update_at, stack)
        if not draft.seen_update or self.watch is None:
            self.watch = self._watch("B", stack)

    def _updated_first(self, update: int, stack: int) -> None:
        """A backward after an update: both may lie in a tighter loop than the backward before that update did."""
        loop = self._loop(update, stack)
        if loop is not None and (self.watch is None or (self.watch.kind == "U" and self.watch.loop != loop)):
            self.watch = self._watch("U", update, stack)

    def gradients_ready(self, leaves: Sequence[Entry]) -> None:
        """A backward accumulated into the leaves of these entries."""
        self._ready = leaves

    def updated(self, stack: int) -> None:
        """Parameters were updated (the update's moments are the last of the draft)."""
        draft = self.ahead
        draft.seen_update += 1
        self._last_update = draft.length - 1
        if self.by_hand:
            return
        self._update_at = stack
        other = self._backward_at if draft.seen_backward else None
        loop = self._loop(stack, other)
        draft.cuts.clear()
        self._round_at = None
        if self.closed and loop is not None:
            self._close_evaluation_before(loop)
        self.watch = self._watch("U", stack, other)

    def _close_evaluation_before(self, loop: Loop) -> None:
        """An evaluation that ran before the step's loop began, and in no loop of its own, is a step."""
        first = self.ahead.first()[2]
        if first is not None and self._holds(loop, first):
            return  # the step began inside the loop: nothing ran before
        start = self._first_in(loop, 0)
        before = self.draft.moments[:start]
        if before and start < len(self.draft.moments) and _evaluates(before):
            self._cut_and_close(start)
            self._last_update = len(self.draft.moments) - 1

    def updated_by_hand(self, stack: int) -> None:
        """A leaf was changed in place after a backward: an update without an optimizer."""
        if not self.ahead.norms:
            self.measure_ready()
        self.updated(stack)

    def mark(self) -> None:
        """`gradscope.step()`: the step ends here."""
        self.by_hand = True
        self.watch = self.lingering = None
        if self.draft.moments:
            self._finish()

    def stop(self) -> None:
        """The script ended: what is pending becomes steps."""
        if self.draft.cuts and not self.draft.seen_update:
            self._realize_cuts()
        if self.draft.moments:
            self._finish()

    # -- boundaries ------------------------------------------------------------------------------

    def _again(self, watch: Watch) -> None:
        draft = self.ahead
        if watch.kind == "U" or (watch.loop.code, watch.loop.first) in self._settled:
            self._finish(watch.loop)
            return
        self.watch = None
        if watch.kind == "R":
            self._round_at = draft.length
            return
        draft.cuts.append(draft.length)
        draft.zeroed = False
        if len(draft.cuts) >= MAX_CUTS:
            self._settle(watch.loop)
            self._realize_cuts(watch.loop)

    def _judge_cuts(self, loop: Loop | None) -> None:
        """A backward after cuts decides whether the pieces were parts of its step, or steps of their own."""
        draft = self.draft
        if draft.zeroed and draft.seen_backward > 1:
            if loop is not None:
                self._settle(loop)
            self._realize_cuts(loop)  # gradients were cleared between: nothing accumulated
        elif draft.seen_backward <= 1:
            inside = loop is None or self._first_in(loop, 0) <= draft.cuts[0]
            if inside:
                draft.cuts.clear()
            else:
                self._realize_cuts()

    def _settle(self, loop: Loop | None) -> None:
        if loop is not None:
            self._settled.add((loop.code, loop.first))

    def _realize_cuts(self, loop: Loop | None = None) -> None:
        cuts, self.draft.cuts = self.draft.cuts, []
        done = 0
        for cut in cuts:
            done += self._cut_and_close(cut - done, loop)

    def _cut_and_close(self, at: int, loop: Loop | None = None) -> int:
        """Close the draft's first `at` moments; the rest goes on. Returns how many moments went."""
        before = len(self.draft.moments)
        if at >= before:
            self._finish(loop)
            return before
        if at <= 0:
            return 0
        loop = self._own_loop(loop)
        if loop is not None:  # first what ran before the loop: what the tail carries is carried from the step itself
            self._without_setup(loop, at)
        old = self.draft.mark
        head, tail, mapping = split(self.draft, at - before + len(self.draft.moments))
        self.table.renumbered(old, tail, mapping)
        self.ahead = head
        watch = self.watch
        self._finish(loop)
        tail.full = self.draft.full
        tail.seen_update = sum(moment[0] == "optimizer" for moment in tail.moments)
        tail.seen_backward = sum(moment[0] == "backward" for moment in tail.moments)
        self.ahead, self.watch = tail, watch
        return at

    def _finish(self, loop: Loop | None = None) -> None:
        """Close the draft and open the next."""
        loop = self._own_loop(loop)
        draft = self._without_setup(loop, len(self.draft.moments)) if loop is not None else self.ahead
        if draft.seen_backward and not draft.norms:
            self.measure_ready()
        if draft.complete():
            draft.repeats = draft.expected
            kind: StepKind = draft.repeats.kind
        else:
            kind = kind_of(self.draft)
        self._ready = ()
        self.watch = self.lingering = None
        self._round_at = None
        self._backward_at = self._update_at = None
        self._last_update = -1
        self.closed += 1
        self._close(draft, kind)
        self.table.sweep()
        self.ahead = self._open(kind)
        self.ahead.before = draft.before + draft.length

    def _own_loop(self, loop: Loop | None) -> Loop | None:
        """The loop of the first step, which a setup may come before; None for later steps."""
        if self.closed or self.by_hand:
            return None
        return loop if loop is not None or self.watch is None else self.watch.loop

    def _without_setup(self, loop: Loop, end: int) -> Draft:
        """Before the first step closes, with its first `end` moments: what ran before its loop becomes the setup."""
        draft = self.draft
        start = self._first_in(loop, 0)
        if 0 < start < end:
            old = draft.mark
            head, tail, mapping = split(draft, start)
            self.table.renumbered(old, tail, mapping)
            self._close(head, StepKind.SETUP)
            self.ahead = tail
        return self.draft

    def _first_in(self, loop: Loop | None, start: int) -> int:
        """Index of the first moment from `start` on that ran inside `loop`; past the end if none did."""
        moments = self.draft.moments
        if loop is None:
            return len(moments)
        positions = self.sites.positions
        for index in range(start, len(moments)):
            stack = moments[index][2]
            if stack is not None and loop.holds(positions[stack]):
                return index
        return len(moments)

    def _after_own_loop(self) -> int:
        """Index of the first moment past all that ran in the step's own loop."""
        own = self.lingering or (self.watch.loop if self.watch is not None else None)
        moments, positions = self.draft.moments, self.sites.positions
        for index in range(len(moments) - 1, self._last_update, -1):
            stack = moments[index][2]
            if own is not None and stack is not None and own.holds(positions[stack]):
                return index + 1
        return self._last_update + 1

    def measure_ready(self) -> None:
        """Norms of the leaves that the last backward filled and that still have a gradient."""
        numbers: list[int] = []
        tensors: list[torch.Tensor] = []
        for entry in self._ready:
            tensor = entry()
            if tensor is not None and entry.parameter is not None:
                numbers.append(entry.parameter)
                tensors.append(tensor)
        if tensors:
            self._measure(tuple(numbers), tensors)


def kind_of(draft: Draft) -> StepKind:
    """Train if gradients or updates were made, else eval if a model ran."""
    kinds = {moment[0] for moment in draft.moments}
    if kinds & {"backward", "optimizer"}:
        return StepKind.TRAIN
    return StepKind.EVAL if draft.roots or _evaluates(draft.moments) else StepKind.OTHER


def kind_so_far(draft: Draft) -> StepKind:
    """The same of a step that goes on, without looking at what it did one by one."""
    if draft.seen_backward or draft.seen_update:
        return StepKind.TRAIN
    looks = draft.roots or any(phase is Phase.EVAL for phase, _ in draft.marks)
    return StepKind.EVAL if looks else StepKind.OTHER


def _evaluates(moments: Sequence[RawMoment]) -> bool:
    return any(moment[0] == "op" and moment[1] is Phase.EVAL for moment in moments)
