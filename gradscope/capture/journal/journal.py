"""The journal: every part of capture tells it facts; it words them as raw moments of the current draft.

Its parts each word one kind of fact; what they share is `here`: where the script is, and the step in progress.
It never reaches into the script and never raises into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from types import FrameType
from typing import Any

import torch

from ...model.records import Phase
from ...text import elide_middle
from ..hiding.frames import told_below
from ..hiding.no_torch_function import Unseen
from ..hiding.signals import is_the_scripts
from ..measure.function_slope import Probe
from ..measure.stats import Statistics
from ..measure.tensor_facts import bytes_of, device_of, dtype_of, is_leaf, tensors_in, version_of
from ..sites.call_sites import Frames, Sites
from ..step.draft import Draft
from ..step.patterns import Patterns
from ..step.raw import Called, Failed, Moved, Noted
from ..step.segmenter import StepTracker
from ..step.tensor_registry import TensorTable
from .gradients import Gradients
from .guard import Guard
from .here import Here
from .leaves import Leaves
from .matching import Matching
from .measurements import Measurements
from .mode_switches import Switches
from .ops import Ops
from .shared_memory import Exposed
from .updates import Updates
from .writes import Versions

MAX_FAULTS = 20


class Journal:
    """Facts in, raw moments out."""

    def __init__(
        self,
        frames: Frames,
        sites: Sites,
        table: TensorTable,
        statistics: Statistics,
        tracker: StepTracker,
        thread: int,
        patterns: Patterns,
        budget: float | None,
        room: int,
    ) -> None:
        self.here = here = Here(frames, sites, table, tracker, thread)
        self.frames, self.sites, self.table, self.tracker, self.clock = frames, sites, table, tracker, here.clock
        self.thread = thread
        self.beneath = 0  # how many other recorders see a call after this one does
        self.with_optimizer = False  # one was built, or has stepped
        self.faults: list[str] = []
        self.probes: dict[int, Probe] = {}  # of custom Functions' calls, by their grad node's sequence number
        self.measurements = Measurements(here, statistics, room)
        self.switches, self.versions = Switches(here), Versions(here)
        self.ops = Ops(here, self.switches, self.versions, self.measurements)
        self.leaves, self.updates = Leaves(here), Updates(here, self.measurements)
        self.gradients = Gradients(here, self.ops, self.versions, self.measurements)
        self.exposed = Exposed(here, self.measurements)
        self.on_raised_step: Callable[[], None] = lambda: None
        self.on_compiled: Callable[[], None] = lambda: None
        self.matching = Matching(here, self.updates, patterns, budget, self.fault)

    # -- what is recorded -------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        return self.tracker.draft

    def recording(self) -> bool:
        """Whether facts of this thread are wanted now."""
        return not self.matching.on and self.here.recording()

    def follows(self) -> bool:
        """Whether a call of this thread is recorded, or may be a station of a step that is matched."""
        return get_ident() == self.thread and (self.matching.on or self.here.recording())

    def mine(self) -> bool:
        """Whether what this thread does now is recorded."""
        return self.recording() and get_ident() == self.thread

    def look_again(self) -> None:
        """Ops were not seen for a while: what modes torch is in now."""
        self.switches.look_again()
        if self.exposed.watched:
            self.exposed.refresh()

    def call_begins(self, phase: Phase, frame: FrameType) -> int:
        """A call of the script's that is a phase of its own begins. Returns the stack that made it."""
        stack, _ = self.here.locate(frame)
        self.tracker.draft.begins(phase)
        return stack

    def call_ends(self) -> None:
        """Such a call returned, or raised: what comes next is another phase."""
        self.tracker.draft.begins(Phase.BACKWARD if self.here.backwards else Phase.OTHER)

    def fault(self, what: str, error: Exception) -> None:
        """A fact could not be recorded: remember that, and go on. Raises `error` where it is the script's."""
        if is_the_scripts(error):
            raise error
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"{what}: {type(error).__name__}: {error}"[:300])

    def guard(self, what: str) -> Guard:
        """Around what is read or told of a call: `what` names it where that fails."""
        return Guard(self.fault, what)

    # -- ops -------------------------------------------------------------------------------------

    def root_begins(self, name: str, stack: int, loss: bool) -> None:
        """A model or a loss is called. At detail `steps`, its whole call is the only op."""
        grad_enabled = torch.is_grad_enabled()
        phase = Phase.EVAL if not grad_enabled else Phase.LOSS if loss else Phase.FORWARD
        self.tracker.draft.begins(phase)
        if self.draft.with_graph:
            return
        here = self.here
        called = Called(name, True, here.module, here.module_call, 0, grad_enabled, here.autocast, None, None)
        self.draft.add("op", phase, stack, (), (), called)

    def call_failed(
        self,
        name: str,
        where: int | FrameType,
        inputs: tuple[int, ...],
        error: BaseException,
        tensors: Sequence[torch.Tensor] = (),
    ) -> None:
        """A torch call raised; one that it made has told so already. Whether the script catches it is known later.

        `tensors`: those that `inputs` are the numbers of, where a step may have ended in the call.
        """
        with self.guard("a failing call"):
            if told_below(error, self.beneath):
                return
            stack = where if isinstance(where, int) else self.here.locate(where)[0]
            failed = Failed(type(error).__name__, elide_middle(str(error), 2000), name, caught=True)
            inputs = self.ops.numbers_now(tensors, inputs, stack)
            self.draft.add("failure", self.here.phase_now(), stack, inputs, (), failed)

    def returned(self, stack: int, outputs: Sequence[torch.Tensor]) -> None:
        """A module call on the user's line returned these: they carry the line's names."""
        numbers = tuple(self.table.number(self.draft, tensor, stack) for tensor in outputs)
        if numbers:
            self.draft.returns.append((stack, numbers))

    def name_arguments(self, stack: int, args: tuple[Any, ...]) -> None:
        """A tensor that was not met yet is called what the script passes it as."""
        entries, mark = self.table.entries, self.tracker.draft.mark
        for position, argument in enumerate(args):
            if isinstance(argument, torch.Tensor):
                entry = entries.get(id(argument))
                if entry is None or entry.mark is not mark or entry() is not argument:
                    with Unseen():
                        self.table.number(self.tracker.draft, argument, stack, position, False, True)

    def name_results(self, stack: int, result: Any) -> None:
        """What the call returned is called what the script assigns it to."""
        draft = self.tracker.draft
        entry = self.table.entries.get(id(result))
        if entry is not None and entry.mark is draft.mark and entry() is result:
            draft.returns.append((stack, (entry.number,)))
            return
        outputs = tensors_in((result,))
        if outputs:
            with Unseen():
                self.returned(stack, outputs)

    # -- backward --------------------------------------------------------------------------------

    def backward_done(self, leaves: Sequence[torch.Tensor]) -> None:
        """A backward returned; it accumulated into `leaves`, which the step has met."""
        if leaves:
            entries = self.table.entries
            self.tracker.gradients_ready([entries[id(leaf)] for leaf in leaves])

    # -- modes, moves, modules -------------------------------------------------------------------

    def moved(self, source: torch.Tensor, target: torch.Tensor, stack: int) -> None:
        draft = self.draft
        moved = Moved(
            device_of(source), device_of(target), dtype_of(source), dtype_of(target), bytes_of(target), is_leaf(target),
            None,
        )  # fmt: skip
        pair = (self.table.number(draft, source, stack), self.table.number(draft, target, stack))
        draft.add("move", draft.moments[-1].phase, stack, pair[:1], pair[1:], moved)

    def module_moved(self, frame: FrameType, module: int, change: tuple[str, str, str, str], nbytes: int) -> None:
        """`module.to(...)` and friends moved this many bytes of parameters."""
        stack, _ = self.here.locate(frame)
        self.draft.add("move", self.here.phase_now(), stack, (), (), Moved(*change, nbytes, True, module))

    def compiled(self, frame: FrameType) -> None:
        """A compiled region begins; its inside stays compiled, and unseen."""
        with self.guard("a compiled region"):
            self.on_compiled()
            self.note("a compiled region ran here: its ops were not recorded", frame)

    def hook_registered(self, name: str, tensor: torch.Tensor, hook: object, frame: FrameType) -> None:
        """A hook on a tensor, with the line where its function returns."""
        stack, direct = self.here.locate(frame)
        numbers = self.ops.enter_inputs([tensor], stack, True, direct, [version_of(tensor)], [tensor])
        behind = self.sites.behind(getattr(hook, "__func__", hook), stack)
        self.ops.add(name, stack, direct, [tensor], numbers, [], 0, 0, behind=behind)

    def forget_raised_step(self) -> None:
        """An optimizer's step raised and left the recording paused: go on recording."""
        self.on_raised_step()

    def note(self, text: str, frame: FrameType | None = None) -> None:
        stack = self.here.locate(frame)[0] if frame is not None else None
        self.draft.add("note", self.here.phase_now(), stack, (), (), Noted(text))
