"""`Recorder`: starts and stops a recording, and numbers its steps.

It composes the parts of capture and owns their hooks. It has no output methods: what it records goes to
a sink, and readers take it from there.
"""

from __future__ import annotations

import math
import os
import threading
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ..errors import AlreadyRecording
from ..model.collector import wake_in_child
from ..model.growth import Growth
from ..model.records import Detail, StepKind, StepRow, TraceInfo
from ..model.source import TraceSink
from ..options import CaptureOptions
from ..text import elide_middle, raised
from .emit.progress import Progress
from .emit.step_rows import Rows
from .emit.step_writer import StepWriter
from .environment.launch import own_rank
from .environment.program import about
from .hiding import late_collections
from .hiding.frames import strip_traceback
from .hiding.no_torch_function import Unseen
from .hiding.patch_set import HookSet
from .hiding.recursion_depth import RecursionDepth
from .hiding.signals import Signals
from .hiding.torch_private import enter_function_mode
from .hiding.transparency import Transparency
from .hooks.function_mode import OpMode
from .hooks.watches import Watches
from .journal.journal import Journal
from .journal.measurements import COPIED_AT_MOST, COPIED_FREELY
from .measure.stats import Statistics
from .sites.call_sites import Frames, Sites
from .sites.failing_frames import behind_failure, uncopied
from .step.draft import FLUSH_SECONDS, Draft, StepMark
from .step.patterns import MatchedStep, Pattern, Patterns
from .step.raw import Failed, Noted
from .step.retained_graphs import Survivors
from .step.segmenter import StepTracker
from .step.tensor_registry import TensorTable

LONG_STEP = 5.0  # seconds, after which the collector waits no longer for a step to be over
FULL_STEPS = 3  # of each kind, at detail `auto`

_started: list[Recorder] = []  # whose hooks are in place, in the order in which they went there
_hooking = threading.RLock()
_fork_hook = False


def active_recorders() -> list[Recorder]:
    """The recorders that run now, the outermost first."""
    return [recorder for recorder in _started if recorder.running]


class Recorder:
    """Records this thread between `start()` and `stop()`. Also a context manager.

    Recorders nest: one that starts while others run records beside them. `start` raises AlreadyRecording
    when this one is running already.
    """

    def __init__(self, sink: TraceSink, options: CaptureOptions | None = None, info: TraceInfo | None = None) -> None:
        self.sink = sink
        self.options = options or CaptureOptions()
        self.detail = Detail(self.options.detail)
        self.info = info or about("", (), str(torch.__version__), self.detail, own_rank())
        self._hooks = HookSet()
        self._signals = Signals()
        self._counts: dict[str, int] = {}  # steps so far, by kind
        self._patterns = Patterns(matching=self._budget() is not None)
        self._seen: tuple[Any, ...] = ()  # how far the step had got when the sink asked
        self._told = False  # and whether it was told that already
        self._ask_again = 0.0  # when reading it is affordable again
        self._next = 0
        frames = Frames(str(Path(torch.__file__).parent))
        self.sites = Sites(frames, sink.put_site, sink.put_stack)
        self.table = TensorTable(sink.put_parameter, self._operand)
        self.survivors = Survivors(self.sites, self.table)
        self.statistics = Statistics()
        self._started_at = perf_counter()
        self.writer = StepWriter(
            sink,
            Rows(self._started_at, sink.put_repeats, with_ops=self.detail is not Detail.STEPS),
            Progress(self.sites, self.table, sink),
            self._patterns,
            self.statistics,
            self.options.last,
        )
        self.tracker = StepTracker(
            self.sites, self.table, self._open_draft, self._close_step, self._measure, self._between_steps
        )
        self.journal = Journal(
            frames,
            self.sites,
            self.table,
            self.statistics,
            self.tracker,
            threading.get_ident(),
            self._patterns,
            self._budget(),
            COPIED_AT_MOST if self._budget() is None else COPIED_FREELY,
        )
        self.mode = OpMode(self.journal) if self.detail is not Detail.STEPS else None
        self._watches = Watches(self.journal, sink, self.mode)
        self.running = False

    def _budget(self) -> float | None:
        """The share of its time that a step may cost more; None where each is recorded in the same way."""
        budget = self.options.budget
        return None if self.detail is not Detail.AUTO or math.isinf(budget) else budget / 100

    def _operand(self, stack: int | None, position: int, method: bool, direct: bool) -> str:
        return self.sites.operand_name(stack, position, method) if direct and stack is not None else ""

    # -- lifecycle -------------------------------------------------------------------------------

    def start(self) -> Recorder:
        """Begin recording."""
        if self.running:
            raise AlreadyRecording("this recorder is running already: stop it before it is started again")
        self.sink.put_info(self.info)
        self.sink.ask(self._standing)
        _install_fork_hook()
        self._signals.__enter__()
        with _hooking:
            around = active_recorders()
            for recorder in around:
                recorder.journal.here.nested = True
            self.journal.here.nested = bool(around)
            self.journal.beneath = sum(
                recorder.mode is not None and recorder.journal.thread == self.journal.thread for recorder in around
            )
            _started.append(self)
            self.running = True
            try:
                self._install()
            except BaseException:
                self._detach()
                self._signals.close()
                raise
        if self.mode is not None:
            enter_function_mode(self.mode)
            matching = self.journal.matching
            if self.options.last is None and self.options.every == 1 and self.options.steps == (None, None):
                matching.waiting.on_matched = self._close_matched
            matching.start(self.mode)
        return self

    def stop(self, error: BaseException | None = None, exit_status: int | None = None) -> None:
        """End the recording, keep what there is, undo every hook. `error`: what ended the script.

        Raises what the handler of a signal raises that came meanwhile.
        """
        if not self.running:
            return
        try:
            self._end(error, exit_status)
        finally:
            self._signals.close()

    def _end(self, error: BaseException | None, exit_status: int | None) -> None:
        self._detach()
        with self.journal.guard("the end of the recording"):
            failed = error is not None and not isinstance(error, SystemExit)
            self.journal.matching.stop(failed)
            if error is not None and failed:
                self._record_failure(error)
            self.tracker.stop()
            self.statistics.collect(wait=True)
            self.writer.settle()
        self.info = replace(
            self.info,
            status="failed" if self.info.error else "done",
            exit_status=exit_status,
            duration=perf_counter() - self._started_at,
            faults=tuple(self.journal.faults),
        )
        self.sink.put_info(self.info)
        self.sink.close()

    def _install(self) -> None:
        for hiding in (Transparency(), RecursionDepth()):
            hiding.__enter__()
            self._hooks.add(hiding.close)
        self._watches.install(self._hooks)
        late_collections.install(self._hooks)
        if self.detail is not Detail.STEPS:
            late_collections.wait()

    def _detach(self) -> None:
        self.running = False
        self.journal.here.active = False
        self._watches.let_go()
        late_collections.let_go()
        with _hooking:
            while _started and not _started[-1].running:  # hooks over those of a later recorder's go with that one's
                _started.pop()._hooks.close()

    def __enter__(self) -> Recorder:
        return self.start()

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        self.stop(error)

    def mark_step(self) -> None:
        """End the current step by hand (`gradscope.step()`)."""
        with Unseen():
            self.journal.matching.watch_all()
            self.tracker.mark()

    def _record_failure(self, error: BaseException) -> None:
        strip_traceback(error)
        tb = error.__traceback__
        while tb is not None and tb.tb_next is not None:
            tb = tb.tb_next
        # the outermost frames first in a traceback; the stack is read from where it struck
        stack = self.sites.locate(tb.tb_frame) if tb is not None else None
        behind = behind_failure(self.sites, error.__traceback__)
        failed = Failed(type(error).__name__, elide_middle(str(error), 2000), "", False, behind)
        copied = uncopied(error.__traceback__)
        inputs = () if copied is None or stack is None else (self.table.number(self.tracker.draft, copied, stack),)
        del copied
        self.tracker.draft.add("failure", self.journal.here.phase_now(), stack, inputs, (), failed)
        if not self.tracker.draft.with_graph and self.detail is not Detail.STEPS:
            steps = f"--steps {self._next}:{self._next + 1}"
            note = Noted(f"the ops of this step were not recorded; {steps} --detail full records them")
            self.tracker.draft.add("note", self.journal.here.phase_now(), stack, (), (), note)
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.info = replace(self.info, error=raised(type(error).__name__, error)[:2000], traceback=text[-20_000:])

    # -- steps -----------------------------------------------------------------------------------

    def _open_draft(self, kind: StepKind) -> Draft:
        early = self._counts.get(kind._value_, 0) < FULL_STEPS
        full = self.detail is Detail.FULL or (early and self.detail is Detail.AUTO)
        if hasattr(self, "journal"):
            self.journal.clock.new_step()
        seen = not hasattr(self, "journal") or self.journal.matching.opens()
        return Draft(full, self._flush, with_graph=self.detail is not Detail.STEPS and seen)

    def _between_steps(self) -> None:
        """A step is gone, and the next is there, to be watched or not."""
        if self.running:
            late_collections.catch_up()
            if self.tracker.draft.with_graph and not self.journal.matching.on:
                late_collections.wait()
            else:
                late_collections.let_go()

    def _flush(self, draft: Draft) -> None:
        """Write the step as far as it got, so that it is there if the program is killed."""
        begin = perf_counter()
        if self.running and draft is self.tracker.draft:
            self.writer.so_far(draft, self._next)
            if begin - draft.timing.start > LONG_STEP:
                late_collections.catch_up()
        now = perf_counter()
        draft.flush_at = now + max(FLUSH_SECONDS, now - begin)

    def _standing(self) -> tuple[Growth, StepRow] | None:
        """The step as far as it got, where nothing has happened since the last call; told once.

        The sink's thread asks. While it reads, the program may go on: then what was read is thrown away.
        """
        try:
            draft, number = self.tracker.draft, self._next
            extent = draft.extent()
            if extent != self._seen:
                self._seen, self._told = extent, False
                return None
            begin = perf_counter()
            if self._told or not self.running or not draft.length or not self.options.keeps(number):
                return None
            if begin < self._ask_again:
                return None
            grown = self.writer.grown(draft, number)
            now = perf_counter()
            self._ask_again = now + 20 * (now - begin)
            if draft is not self.tracker.draft or draft.extent() != extent or self._next != number:
                return None
            self._told = True
            return grown
        except Exception as error:
            self.journal.fault("a step that stands still", error)
            return None

    def place_of(self, tensor: torch.Tensor) -> tuple[int, int] | None:
        """The step that met `tensor` last and its number there, once that step is written as far as it got.

        None for a tensor that was not met.
        """
        draft, entry = self.tracker.draft, self.table.find(tensor)
        if entry is None or entry.mark is None:
            return None
        if entry.mark is not draft.mark:
            return None if entry.mark.number is None else (entry.mark.number, entry.number)
        self._flush(draft)
        return self._next, entry.number

    def _close_step(self, draft: Draft, kind: StepKind) -> None:
        with Unseen():  # whatever showed that it has ended
            self._close(draft, kind)

    def _close(self, draft: Draft, kind: StepKind) -> None:
        if kind is StepKind.SETUP:
            number = -1
        else:
            number = self._next
            self._next += 1
            self._counts[kind._value_] = self._counts.get(kind._value_, 0) + 1
        pattern = draft.matched
        draft.mark.number = number
        kept = number < 0 or self.options.keeps(number)
        self._memory(draft)
        if self.detail is Detail.FULL:
            self._look_for_survivors(draft)
        if not draft.with_graph and self.detail is not Detail.STEPS:
            self.table.count_unseen(draft)
        if kept:
            pattern = self.writer.write(draft, kind, number)
        else:
            self.writer.leave_out(number)
        self.statistics.collect()
        self.writer.settle()
        if pattern is not None and draft.with_graph:
            draft.mark.template = pattern.template
        self._patterns.closed(draft.mark)
        if draft.matched is None and number >= 0:
            self.journal.matching.closed(draft, pattern, kept=kept)

    def _close_matched(self, pattern: Pattern, steps: Sequence[MatchedStep]) -> None:
        """Steps of a pattern, one after the other, have closed."""
        with Unseen():
            for step in steps:
                number, self._next = self._next, self._next + 1
                if not self.writer.rows.repeats(pattern, step, number):
                    draft = Draft(full=False)
                    step.fill(draft, pattern)
                    draft.mark.number = number
                    draft.carried = list(pattern.carried_after(StepMark(number - 1, pattern.template)))
                    self.writer.write(draft, pattern.kind, number)
            kind = pattern.kind._value_
            self._counts[kind] = self._counts.get(kind, 0) + len(steps)
            self._patterns.closed(StepMark(self._next - 1, pattern.template))
            self.statistics.collect()
            self.writer.settle()

    def _look_for_survivors(self, draft: Draft) -> None:
        with self.journal.guard("what outlives its step"):
            draft.kept, draft.alive = self.survivors.look(draft)

    def _memory(self, draft: Draft) -> None:
        if torch.cuda.is_initialized():
            draft.memory = (torch.cuda.memory_allocated(), torch.cuda.memory_reserved())

    def _measure(self, numbers: tuple[int, ...], tensors: list[torch.Tensor]) -> None:
        with Unseen():
            self.journal.measurements.norms(numbers, tensors)


def _install_fork_hook() -> None:
    """A forked child (a DataLoader worker) inherits our hooks: there they go quiet at once."""
    global _fork_hook
    if not _fork_hook and hasattr(os, "register_at_fork"):
        _fork_hook = True
        os.register_at_fork(after_in_child=_silence_child)


def _silence_child() -> None:
    wake_in_child()
    for recorder in reversed(active_recorders()):
        recorder.journal.matching.leave()
        recorder._detach()
        recorder._signals.close()
