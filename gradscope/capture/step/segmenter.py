"""The step tracker: owns the draft, notices where steps end, and hands closed drafts on.

How a boundary is told is explained in `loop_detection`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ...model.records import Phase, StepKind
from ..sites.call_sites import Sites
from .draft import Draft
from .entry import Entry
from .loop_detection import Loop, Loops, Watch
from .passes import builds_graph, first_walked, held, kind_of, runs_model
from .raw import Noted
from .ready_gradients import ReadyGradients
from .split import pieces, split
from .tensor_registry import TensorTable

LONG = 4_000  # moments, after which a step is looked at, whether passes in it can be told to be over
TOO_LONG = 200_000  # moments, after which it is cut though it may go on, unless graphs that live hold half of it


class StepTracker:
    """Turns the stream of facts into steps.

    `open_draft(kind)` makes a draft at the right detail for a step that is probably of that kind;
    `close(draft, kind)` writes a finished one. `between_steps` is called when one is gone and the next is there.
    """

    def __init__(
        self,
        sites: Sites,
        table: TensorTable,
        open_draft: Callable[[StepKind], Draft],
        close: Callable[[Draft, StepKind], None],
        measure: Callable[[tuple[int, ...], list[torch.Tensor]], None],
        between_steps: Callable[[], None],
    ) -> None:
        self.sites, self.table = sites, table
        self._open, self._close, self._between_steps = open_draft, close, between_steps
        self.draft = open_draft(StepKind.TRAIN)
        self.watch: Watch | None = None
        self.lingering: Loop | None = None  # the step's loop is over; nothing new began yet
        self.closed = 0
        self.updating = False  # inside optimizer.step(), whose closure may run many times
        self.by_hand = False  # gradscope.step() was called: marks decide, not loops
        self._backward_at: int | None = None
        self._update_at: int | None = None
        self._loops = Loops(sites.positions)
        self._round: tuple[int, Loop | None] | None = None  # when a loop around the last root came round, or was left
        self._root_at: dict[int, int] = {}  # by stack, the root that was last called there
        self._last_update = -1
        self._settled: set[tuple[str, Loop]] = set()  # loops whose R or B makes a step each time round
        self._look_at = LONG
        self._ready = ReadyGradients(measure)

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
        if change == "again":
            self._again(watch)
        elif change == "left" and self._ends_steps(watch):
            self.lingering = watch.loop
        elif change == "left":
            self._left(watch, stack)

    def _left(self, watch: Watch, stack: int) -> None:
        """The watched loop is over, which need not be an end: a loop around a root may be one inside the pass."""
        self.watch = watch.around() if watch.kind == "R" else None
        if watch.kind == "R" and (self.watch is None or builds_graph(self.draft)):
            self._round = (self.draft.length, None)
        self.look(stack)

    def root_called(self, stack: int, module: int) -> None:
        """A root module's forward begins."""
        if self.by_hand:
            return
        draft = self.draft
        if self.lingering is not None or draft.progress.seen_update:
            loop = self._loops.around(stack)
            other = loop is not None and (self.watch is None or loop != self.watch.loop)
            if self.lingering is not None or (other and not torch.is_grad_enabled()):
                self._begin_elsewhere(loop)
        elif self._round is not None and not draft.progress.seen_backward and self._in_pass(module):
            self._pass_over(*self._round, alone=self._root_at.get(stack) == module)
        self._root_at[stack] = module
        self.draft.progress.roots[module] = self.draft.length

    def _in_pass(self, module: int) -> bool:
        """Whether the root was called since the last cut."""
        draft = self.draft
        cuts = draft.progress.cuts
        return draft.progress.roots.get(module, -1) >= (cuts[-1] if cuts else 0)

    def root_left(self, stack: int) -> None:
        """A root module's forward returned."""
        draft = self.draft
        if self.by_hand or draft.progress.seen_backward or draft.progress.seen_update:
            return
        self.watch = self._loops.watch("R", stack) or self.watch

    def backward(self, stack: int) -> None:
        """A backward begins (its moment is the last of the draft)."""
        if self.by_hand:
            return
        loop = self._loops.around(stack)
        if self.lingering is not None:
            self._begin_elsewhere(loop, backward=True)
        elif self.draft.progress.cuts:
            self._judge_cuts(loop)
        self._round = None
        self._backward_at = stack
        draft = self.draft
        if draft.progress.seen_update and self._update_at is not None:
            self._updated_first(self._update_at, stack)
        if not draft.progress.seen_update or self.watch is None:
            self.watch = self._loops.watch("B", stack)

    def _updated_first(self, update: int, stack: int) -> None:
        """A backward after an update: both may lie in a tighter loop than the backward before that update did."""
        loop = self._loops.around(update, stack)
        if loop is not None and (self.watch is None or (self.watch.kind == "U" and self.watch.loop != loop)):
            self.watch = self._loops.watch("U", update, stack)

    def gradients_ready(self, leaves: Sequence[Entry]) -> None:
        """A backward accumulated into the leaves of these entries."""
        self._ready.leaves = leaves

    def updated(self, stack: int) -> None:
        """Parameters were updated (the update's moments are the last of the draft)."""
        draft = self.draft
        draft.progress.seen_update += 1
        self._last_update = draft.length - 1
        if self.by_hand:
            return
        backward = self._backward_at if draft.progress.seen_backward else None
        loop = self._loops.around(stack, backward)
        self._round = None
        if backward is not None:
            inner = self._loops.around(backward)
            if inner is not None:
                self._settled.discard(("B", inner))
        self._end_what_ran_before(loop)
        self._update_at = stack
        self.watch = self._loops.watch("U", stack, backward)

    def _end_what_ran_before(self, loop: Loop | None) -> None:
        """Passes that ran before the step's loop began, and are no part of its graphs, are steps of their own."""
        cuts, self.draft.progress.cuts = self.draft.progress.cuts, []
        first = self.draft.first().stack
        if loop is None or (first is not None and self._loops.holds(loop, first)):
            return  # the step began inside the loop: nothing ran before
        draft = self.draft
        start, walked = self._first_in(loop, 0), first_walked(draft)
        if start >= draft.length:
            return
        before = [cut for cut in cuts if cut <= min(start, walked)]
        ran = runs_model(draft.moments[before[-1] if before else 0 : start])
        if (self.closed or before) and ran and start <= walked and start not in before:
            before.append(start)
        if before:
            self._cut(before)  # the update is among the rest
            self._last_update = self.draft.length - 1

    def updated_by_hand(self, stack: int) -> None:
        """A leaf was changed in place after a backward: an update without an optimizer."""
        if not self.draft.norms:
            self._ready.measure()
        self.updated(stack)

    def over(self, kind: StepKind) -> None:
        """The step in progress, which is matched, has closed."""
        draft = self.draft
        self.closed += 1
        self._close(draft, kind)
        self.table.sweep()
        self.draft = self._open(kind)
        self.draft.before = draft.before
        del draft
        self._between_steps()

    def begin_again(self) -> None:
        """What was told of the step in progress is thrown away: from here on it is told in another way."""
        draft = self.draft
        self.draft = self._open(StepKind.TRAIN)
        self.draft.before, self.draft.timing.start = draft.before, draft.timing.start
        self.watch = self.lingering = None
        del draft
        self._between_steps()

    def elsewhere(self, stack: int, loop: Loop) -> bool:
        """Whether a root that is called at `stack` runs without gradients in another loop than the step's."""
        around = self._loops.around(stack)
        return around is not None and around != loop and not torch.is_grad_enabled()

    def mark(self) -> None:
        """`gradscope.step()`: the step ends here."""
        self.by_hand = True
        self.watch = self.lingering = None
        if self.draft.moments:
            self._finish()

    def stop(self) -> None:
        """The script ended: what is pending becomes steps."""
        if self.draft.progress.cuts and not self.draft.progress.seen_update:
            self._cut(self.draft.progress.cuts)
        if self.draft.moments:
            self._finish()

    # -- boundaries ------------------------------------------------------------------------------

    def _ends_steps(self, watch: Watch) -> bool:
        """Whether a step ends where the watched loop comes round, and is over where the loop is."""
        if watch.kind == "U":
            return True
        return (watch.kind, watch.loop) in self._settled and not (watch.kind == "R" and builds_graph(self.draft))

    def _again(self, watch: Watch) -> None:
        if self._ends_steps(watch):
            self._finish(watch.loop)
            return
        draft, self.watch = self.draft, None
        if watch.kind == "R":
            self._round = (draft.length, watch.loop)
            if not builds_graph(draft):
                draft.begins(Phase.OTHER)  # since the last evaluation returned
            return
        draft.progress.cuts.append(draft.length)
        draft.progress.zeroed = False
        if draft.length >= self._look_at:
            self._shorten(watch.loop)

    def _pass_over(self, at: int, loop: Loop | None, alone: bool) -> None:
        """A root is called again, and at the moment `at` its `loop` came round, or all loops around it were left.

        What made no graph is a step; to what made one, a backward may come. `alone`: no other root was called
        meanwhile where this one is: the loop is none over the parts of a model.
        """
        self._round = None
        draft = self.draft
        if not builds_graph(draft):
            if alone and loop is not None:
                self._settled.add(("R", loop))
            self._cut([at])
            self.watch = None
            return
        draft.progress.cuts.append(at)
        if draft.length >= self._look_at:
            self._shorten(None)

    def _begin_elsewhere(self, loop: Loop | None, backward: bool = False) -> None:
        """A root or a `backward` runs in another loop than the step: there, after the step's own loop, the next began.

        What builds the graph that the next one uses is a part of it, whichever loop it runs in.
        """
        draft = self.draft
        over = self._after_own_loop()
        start = self._first_in(loop, over)
        if backward:
            start = min(start, first_walked(draft, over), draft.length - 1)
        elif not draft.progress.seen_update and builds_graph(draft):
            start = over
        self._cut([start])
        self.watch = self.lingering = None

    def _judge_cuts(self, loop: Loop | None) -> None:
        """A backward after cuts decides whether the pieces were parts of its step, or steps of their own."""
        draft = self.draft
        if draft.progress.zeroed and draft.progress.seen_backward > 1:
            if loop is not None:
                self._settled.add(("B", loop))
            self._cut(draft.progress.cuts, loop)  # gradients were cleared between: nothing accumulated
        elif draft.progress.seen_backward <= 1:
            cuts, draft.progress.cuts = draft.progress.cuts, []
            end = self._first_in(loop, 0) if loop is not None or self.draft.with_graph else 0
            if self.draft.with_graph and cuts[0] <= end:
                end = min(end, first_walked(draft), held(draft).first)
            self._cut([cut for cut in cuts if cut <= end])

    def _shorten(self, loop: Loop | None) -> None:
        """The step in progress has become long: passes that nothing can come back to are steps.

        `loop`: that of its backwards, where it has had any.
        """
        draft = self.draft
        living = held(draft)
        waits = not self.draft.with_graph or (loop is not None and self._ready.wait())
        cuts = [] if waits else [cut for cut in draft.progress.cuts if cut <= living.first]
        if not cuts and draft.length >= TOO_LONG and living.ops < draft.length // 2:
            cuts = list(draft.progress.cuts)
            text = f"cut after {draft.length:,} moments without an update, each pass is a step of its own"
            draft.add("note", Phase.OTHER, None, (), (), Noted(text))
        if cuts:
            if loop is not None:
                self._settled.add(("B", loop))
            self._cut(cuts, loop)
        self._look_at = max(LONG, 2 * self.draft.length)

    def _cut(self, cuts: Sequence[int], loop: Loop | None = None) -> None:
        """The step in progress ends at each of these moments, in order; what is left goes on as the next."""
        loop = self._own_loop(loop)
        if loop is not None and cuts:  # first what ran before the loop: the rest carries from the step itself
            length = self.draft.length
            shift = length - self._without_setup(loop, cuts[0]).length
            cuts = [cut - shift for cut in cuts]
        draft, watch = self.draft, self.watch
        cuts = [cut for cut in cuts if cut > 0]
        if not cuts:
            return
        draft.progress.cuts = [cut for cut in draft.progress.cuts if cut > cuts[-1]]
        parts = pieces(draft, [cut for cut in cuts if cut < draft.length])
        rest = parts.pop() if cuts[-1] < draft.length else None
        for part in parts:
            part.full = self.draft.full
            self.draft = part
            self._finish(loop)
            self.watch = watch
        if rest is not None:
            rest.full, rest.with_graph = self.draft.full, self.draft.with_graph
            rest.progress.seen_update = sum(moment.kind == "optimizer" for moment in rest.moments)
            rest.progress.seen_backward = sum(moment.kind == "backward" for moment in rest.moments)
            self.draft = rest

    def _finish(self, loop: Loop | None = None) -> None:
        """Close the draft and open the next."""
        loop = self._own_loop(loop)
        draft = self._without_setup(loop, len(self.draft.moments)) if loop is not None else self.draft
        if draft.timing.end is None and draft.timing.phase is not None:
            draft.begins(Phase.OTHER)  # since the last phase was over
        if draft.progress.seen_backward and not draft.norms:
            self._ready.measure()
        kind = kind_of(draft)
        watch = self.watch
        shown = watch is not None and (self.lingering is not None or self._ends_steps(watch))
        draft.progress.watch = watch if shown else None
        self._ready.leaves = ()
        self.watch = self.lingering = None
        self._round = None
        self._backward_at = self._update_at = None
        self._last_update = -1
        self._look_at = LONG
        self.closed += 1
        self._close(draft, kind)
        self.table.sweep()
        self.draft = self._open(kind)
        self.draft.before = draft.before + draft.length
        draft.progress.hand_on(self.draft.progress, draft.length)
        del draft
        self._between_steps()

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
            head, self.draft, _ = split(draft, start)
            self._close(head, StepKind.SETUP)
        return self.draft

    def _first_in(self, loop: Loop | None, start: int) -> int:
        """Index of the first moment from `start` on that ran inside `loop`; past the end if none did."""
        moments = self.draft.moments
        if loop is None:
            return len(moments)
        positions = self.sites.positions
        for index in range(start, len(moments)):
            stack = moments[index].stack
            if stack is not None and loop.holds(positions[stack]):
                return index
        return len(moments)

    def _after_own_loop(self) -> int:
        """Index of the first moment past all that ran in the step's own loop."""
        own = self.lingering or (self.watch.loop if self.watch is not None else None)
        moments, positions = self.draft.moments, self.sites.positions
        for index in range(len(moments) - 1, self._last_update, -1):
            stack = moments[index].stack
            if own is not None and stack is not None and own.holds(positions[stack]):
                return index + 1
        return self._last_update + 1
