"""Steps that are matched instead of watched: the same stations, so as an earlier step; its single ops are not seen.

A step's stations are what is called of the script's own accord whichever way it is watched: root modules, backwards,
updates, `zero_grad`, and the rarer calls that change what training does. When a pattern was seen often enough, the
function mode is taken off the stack and the next steps are only compared at their stations: where they are, how many
grad nodes were made in between, the graph of each backward, modes, arguments' shapes, optimizer groups, version
counters, hooks. The first difference ends it: what had passed is told as in a step at detail `steps`, and the step
after it is watched again. So are steps at growing distances, and the one after a number that is not finite.

Steps that equal none, and cost more than the budget, are *light*: told at detail `steps` from their beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from types import FrameType
from typing import Any

import torch

from ..hiding.no_torch_function import Unseen
from ..hiding.torch_private import sequence_number
from ..hiding.torch_state import transforming
from ..step.draft import Draft
from ..step.patterns import MatchedStep, Pattern, Patterns
from ..step.raw import Passed, Station
from .here import Here
from .place_of_mode import PlaceOfMode
from .schedule import Schedule
from .station_facts import Results
from .stations import BACKWARD, CALL, ENDS, UPDATED, Teller
from .updates import Updates
from .waiting import WaitingSteps, finite

_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call


class Matching:
    """Which steps are watched, matched or light, and the stations of the step in progress. `budget`: see `Schedule`."""

    def __init__(
        self,
        here: Here,
        updates: Updates,
        patterns: Patterns,
        budget: float | None,
        fault: Callable[[str, Exception], None],
    ) -> None:
        self.here, self.patterns, self.schedule, self._fault = here, patterns, Schedule(budget), fault
        self.teller = Teller(here, updates)
        self.waiting = WaitingSteps(updates.measurements.statistics)
        self.mode = PlaceOfMode(None)
        self.listening = False  # stations are noted or compared: not in light steps but the last before a watched one
        self._allowed = False  # steps may be matched, or light
        self.on = False  # the step in progress is being matched
        self.aside = False  # ops that the mode sees are not recorded: it is matched, or light
        self.inside = 0  # calls that are stations themselves
        self.generation = 0  # of what modules there are
        self.on_return: list[Callable[[], None]] = []  # what to bring up to date when ops are seen again
        self._returning = False  # it is the last of its kind: the mode is there to see where it ends
        self._expected: Pattern | None = None
        self._last: Pattern | None = None  # of the step that was matched last, or seen to do what one before did
        self._passed: list[Passed] = []
        self._times: list[float] = []
        self._count = 0
        self._steady = False  # steps that differ from the one before in numbers only wait, to be written together
        self.results = Results()  # of the roots since the last backward

    def start(self, mode: Any) -> None:
        """Begin to note stations; `mode` sees the ops."""
        self.mode = PlaceOfMode(mode)
        self.listening = self._allowed = mode is not None and self.schedule.budget is not None
        self.schedule.start()

    def fails(self) -> None:
        """The call that the step passed last raised: the step is told as far as it got."""
        last = self._passed[-1] if self.on and self._passed else None
        if last is not None:
            self._give_up()
            if last[0] == CALL:
                self.teller.call_failed()

    def stop(self, failed: bool) -> None:
        """The script is over, or the recording: what has passed is told. `failed`: an error ended it."""
        self.mode.leave()
        self._settle(whole=not failed)
        self.leave()

    def watch_all(self) -> None:
        """From now on each step is watched: the script itself says where they end."""
        self._settle(whole=True)
        if self._allowed and self.mode.put_back():
            self._see_again()
        self.listening = self._allowed = False

    def _settle(self, whole: bool) -> None:
        """What is being matched is over: it is one of its pattern, if it may be `whole`, or told as far as it got."""
        complete = self._complete() if whole else None
        if self.on and complete is not None and complete.holds():
            self._close(perf_counter())
        elif self.on:
            self._give_up()
        self.flush()

    def leave(self) -> None:
        """At once, and without telling anything: this is another process."""
        self.on = self.aside = self.listening = self._allowed = False

    # -- stations --------------------------------------------------------------------------------

    def passes(self, kind: str, frame: FrameType, facts: tuple[Any, ...]) -> bool:
        """A call begins that is a station. Whether that is all that is recorded of it."""
        if not self.listening or get_ident() != self.here.thread:
            return False
        try:
            if not self.on:
                return self._notes(kind, frame, facts)
            if self.inside or transforming():
                return True
            stack = self.here.sites.locate(frame)
            if self._at(kind, stack, facts):
                return True
            if not self.aside:  # a step that is watched begins with it
                self._note(self.here.tracker.draft, kind, stack, facts)
        except Exception as error:
            self._fault("a station", error)
        return False

    def _notes(self, kind: str, frame: FrameType, facts: tuple[Any, ...]) -> bool:
        """The same in a step that is not being matched: it may be from here on."""
        here = self.here
        if here.clock.depth or here.backwards or not here.recording():
            return False
        stack, _ = here.locate(frame)  # where a new step may begin
        if self.aside:
            return False
        draft = here.tracker.draft
        if not draft.progress.stations:
            station = _new_tuple(Station, (kind, stack, sequence_number() - self._count, facts))
            if self.schedule.to_match and self.patterns.began(draft, lambda first: first == station) and self._begin():
                return self._at(kind, stack, facts)
            if self.schedule.to_lighten and self._be_light():
                return False
        self._note(draft, kind, stack, facts)
        return False

    def begins_at(self, frame: FrameType) -> bool:
        """A backward is called at `frame`, with the mode still on the stack. Whether the step is matched from here."""
        here = self.here
        if not self.schedule.to_match or get_ident() != here.thread or not here.recording():
            return False
        here.locate(frame)
        draft = here.tracker.draft
        if draft.progress.stations or not self.patterns.began(draft, lambda first: first.kind == BACKWARD):
            return False
        return self._begin()

    def expects(self, kind: str) -> tuple[Any, ...] | None:
        """The facts of the next station of the step that is being matched, if one of this kind is expected."""
        expected, place = self._expected, len(self._passed)
        if not self.on or expected is None or place >= len(expected.stations):
            return None
        station = expected.stations[place]
        return station.facts if station.kind == kind else None

    def ends(self, kind: str, facts: tuple[Any, ...] = (), result: Any = None) -> None:
        """A call that is a station is over. `result`: what it gave the script."""
        if not self.listening or self.inside or get_ident() != self.here.thread:
            return
        if isinstance(result, torch.Tensor):
            self.results.add(result)
        try:
            if self.on:
                self._at(kind, -1, facts)
                return
            here = self.here
            if self.aside:
                if kind == UPDATED and self.schedule.left <= 1:
                    self.mode.put_back()  # what comes until the next step begins may be of that
            elif here.tracker.draft.progress.stations and not (here.clock.depth or here.backwards):
                self._note(here.tracker.draft, kind, -1, facts)
        except Exception as error:
            self._fault("the end of a station", error)

    def _note(self, draft: Draft, kind: str, stack: int, facts: tuple[Any, ...]) -> None:
        count = sequence_number()
        nodes, self._count = count - self._count, count
        station = _new_tuple(Station, (kind, stack, nodes, facts))
        draft.progress.passes(station, perf_counter(), draft.length, self.here.tracker.watch)

    def _at(self, kind: str, stack: int, facts: tuple[Any, ...]) -> bool:
        """The step that is being matched passes a station. Whether it still is one that is matched."""
        now, count = perf_counter(), sequence_number()
        passed, expected = self._passed, self._expected
        if expected is not None and len(passed) == len(expected.stations):
            if not self._ended(stack, kind):
                self._give_up()
                return False
            if not expected.holds():
                self._give_up()
                self.here.tracker.look(stack)
                return False
            self._close(now)
            if not self.on:
                return False
            passed = self._passed
        place = len(passed)
        nodes, self._count = count - self._count, count
        station = (kind, stack, nodes, facts)
        passed.append(station)
        self._times.append(now)
        if expected is None or expected.stations[place] != station:
            expected = self._expected = self.patterns.beginning(passed, self._last)
            if expected is None:
                if kind not in ENDS:
                    passed.pop()
                    self._times.pop()
                    self._count = count - nodes
                self._give_up()
                return False
        if place + 1 == len(expected.stations) and not self._returning:
            self._completed()
        return True

    def _complete(self) -> Pattern | None:
        """The pattern whose last station the step has passed."""
        expected = self._expected
        return expected if expected is not None and len(self._passed) == len(expected.stations) else None

    def _ended(self, stack: int, kind: str = "") -> bool:
        """Whether a call at `stack`, after the last station, is of the next step.

        After the step's own loop, only a root or a backward begins another step.
        """
        assert self._expected is not None
        watch, here = self._expected.ends, self.here
        if watch is None:
            return False
        change = watch.judge(stack, here.sites.positions[stack])
        if change == "again" or (change == "left" and kind in (CALL, BACKWARD)):
            return True
        return kind == CALL and watch.kind == "U" and here.tracker.elsewhere(stack, watch.loop)

    # -- from watching to matching, and back -------------------------------------------------------

    def closed(self, draft: Draft, pattern: Pattern | None, *, kept: bool) -> None:
        """A watched or light step has closed. `kept`: it was compared with those before it."""
        self._steady = False
        self.results.forget()
        if self._allowed:
            self.schedule.closed(draft, pattern, kept=kept)
            if self.schedule.to_match:
                self._last = pattern

    def opens(self) -> bool:
        """A step begins. Whether its ops are seen."""
        if not self.aside or self.on:
            return True
        if self.schedule.left > 0:
            self.listening = self.schedule.left == 1
            return False
        if self.mode.put_back():
            self._see_again()
            return True
        return False

    def _begin(self) -> bool:
        """From this station on, which is the first of its step, compare stations only."""
        if not self.schedule.to_match:
            return False
        self.schedule.to_match = False
        if not self._take_off():
            return False
        self.on = True
        self._returning = False
        self._forget()
        tracker = self.here.tracker
        tracker.begin_again()
        return True

    def _be_light(self) -> bool:
        """From this station on, which is the first of its step, record no ops. False where that cannot be."""
        self.schedule.to_lighten = False
        if not self._take_off():
            return False
        self.aside, self.listening = True, self.schedule.left <= 1
        self.here.tracker.begin_again()
        self.here.tracker.draft.with_graph = False
        return True

    def _take_off(self) -> bool:
        """Stop seeing ops, where nothing is paused and no other recording sees them through us."""
        if self.here.nested or self.here.quiet or not self.mode.take_off():
            return False
        self.aside = True
        return True

    def _completed(self) -> None:
        """The last station was passed: if the next step is to be watched, its ops are seen from where it begins."""
        if self.schedule.left <= 1 or not finite(self.here.tracker.draft):
            self._returning = self.mode.put_back()

    def sees(self, frame: FrameType) -> bool:
        """The mode sees an op of a step that is not watched. Whether it is the first of one that is."""
        here = self.here
        if self.on:
            complete = self._complete()
            if self.inside or complete is None:
                return False
            stack = here.sites.locate(frame)
            if complete.ends is None or not complete.ends.judge(stack, here.sites.positions[stack]):
                return False
            if not self._ended(stack) or not complete.holds():
                self._give_up()
                here.locate(frame)
            else:
                self._close(perf_counter())
        else:
            here.locate(frame)
        return not self.aside

    def _see_again(self) -> None:
        """Ops are recorded again from now on."""
        self.on = self.aside = self._returning = False
        self.schedule.watch()
        self.listening = self._allowed
        self._count = sequence_number()
        for bring_up_to_date in self.on_return:
            bring_up_to_date()

    def _forget(self) -> None:
        self._passed, self._times, self._expected = [], [], None
        self.results.forget()

    # -- the end of a step -------------------------------------------------------------------------

    def _close(self, now: float) -> None:
        """The step is one of its pattern; the next begins."""
        pattern, tracker = self._expected, self.here.tracker
        assert pattern is not None
        draft = tracker.draft
        numbers = (draft.losses, draft.norms, draft.distances, draft.learning_rates)
        step = MatchedStep(draft.timing.start, now, self._times, *numbers)
        self.schedule.passed(matched=True)
        if self._steady and pattern is self._last and not self._returning:
            draft.losses, draft.norms, draft.distances, draft.learning_rates = [], [], [], {}
            pattern.step_is_over()
            if self.waiting.add(pattern, step):
                self.flush()
        else:
            self._write(draft, pattern, step)
        tracker.draft.timing.start = now
        self._passed, self._times = [], []  # the next is expected to be one of the same
        self.results.forget()

    def _write(self, draft: Draft, pattern: Pattern, step: MatchedStep) -> None:
        self.flush()
        self.schedule.measured(finite(step))
        step.fill(draft, pattern)
        draft.scaled = [(place, cell) for place, (_, cell) in zip(pattern.scaled, draft.scaled)]
        draft.shifts = tuple([shift for one in pattern.shifts if (shift := one.now()) is not None])
        pattern.step_is_over()
        before = self.patterns.before
        draft.carried += pattern.carried_after(before)
        alone = self.waiting.on_matched is None or torch.cuda.is_initialized()  # which has a memory each step
        again = before is not None and before.template == pattern.template  # so the next has the numbers of this one
        self._last, self._steady = pattern, pattern.steady and again and not alone
        if self._returning:
            self._see_again()
        self.here.tracker.over(pattern.kind)

    def flush(self) -> None:
        """Write the steps that wait."""
        self.schedule.measured(self.waiting.flush())

    def _give_up(self) -> None:
        """The step is none of those that were seen: tell what it has passed, as a step whose ops are not recorded."""
        self.flush()
        passed, times = self._passed, self._times
        draft, tracker = self.here.tracker.draft, self.here.tracker
        self._forget()
        self.on = self._returning = False
        self.schedule.soon()
        if not passed and self.mode.put_back():
            self._see_again()
            return
        draft.with_graph = False
        losses, draft.losses = draft.losses, []
        norms, draft.norms = draft.norms, []
        distances, draft.distances = draft.distances, []
        draft.scaled = []
        with Unseen():
            self.teller.tell(passed, times, losses)
        last, told = max(0, draft.length - 1), tracker.draft
        told.norms += [(last, numbers, cell) for _, numbers, cell in norms]
        told.distances += [(last, numbers, cell) for _, numbers, cell in distances]
