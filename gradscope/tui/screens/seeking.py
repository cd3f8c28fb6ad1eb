"""`Seeking`: the keys that jump to what is sought, over all steps, in worker threads."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual import on, work
from textual.worker import get_current_worker

from ...errors import GradscopeError
from .. import bad_numbers, jumps
from ..cursor import Place
from ..finding_lines import CodeLine
from ..jumps import Goal
from ..messages import ToLine
from ..session import Loaded
from ..words import step_word, tensor_word
from .following import Following

_TOLD_EVERY = 0.2  # seconds


class Seeking(Following):
    """Jumps to goals of a kind, and along the life of the selected tensor."""

    def action_seek(self, what: str, by: int) -> None:
        """Jump to the nearest goal of a kind; across steps this reads them, in a worker."""
        here = self.here()
        goal = self._goal(what)
        if what == "finding" and not self.found:
            self.notify(self.no_findings, markup=False)
        elif here is not None and goal is not None:
            self.say(f"looking for the {'next' if by > 0 else 'previous'} {goal.word}…")
            self._seek(goal, here[0], by)

    def _goal(self, what: str) -> Goal | None:
        if what == "change":
            tensor = self.tensor()
            if self.scene is None or tensor is None:
                self.notify("Select a tensor first: up and down in the graph, or a click on it.", severity="warning")
                return None
            return jumps.changes(self.scene.step.tensors[tensor])
        makers: dict[str, Callable[[], Goal]] = {
            "mutation": jumps.mutations,
            "move": jumps.moves,
            "bad": jumps.BadNumbers,
            "finding": lambda: jumps.FindingPlaces(self.found),
        }
        return makers[what]()

    @work(thread=True, exclusive=True, group="read")
    def _seek(self, goal: Goal, here: Place, by: int) -> None:
        worker = get_current_worker()
        try:
            place = jumps.seek(self.session, goal, here, by, lambda: worker.is_cancelled, self._progress(goal, by))
        except GradscopeError as error:
            self.tell(self._failed, error)
            return
        bad = place is not None and isinstance(goal, jumps.BadNumbers)
        told = bad_numbers.told(self.session.load(place.step).step) if bad and place is not None else ""
        self.tell(self._sought, goal, place, by, told)

    def _progress(self, goal: Goal, by: int) -> Callable[[int], None]:
        """Tells now and then which step is being looked at. For the worker that looks."""
        last, told_at = self.steps[-1 if by > 0 else 0], time.monotonic()

        def tell(step: int) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at >= _TOLD_EVERY:
                told_at = now
                self.tell(self.say, f"looking for the {goal.word}: step {step:,}, up to {last:,}; esc ends it")

        return tell

    def _sought(self, goal: Goal, place: Place | None, by: int, told: str) -> None:
        self.say("")
        if place is None:
            told = f"There is no {goal.word} {'after' if by > 0 else 'before'} this moment."
        else:
            self.jump(place, unfold=True)
        if told:
            self.notify(told, timeout=10 if place else 5, markup=False)

    @on(ToLine)
    def _to_line(self, message: ToLine) -> None:
        if self.scene is not None:
            self.to_line(CodeLine(message.file, message.line), Place(self.scene.step.number, self.scene.moment))

    def to_line(self, line: CodeLine, here: Place) -> None:
        """Go to what a line did: the next moment of it after `here`, in this step or else in another one."""
        self.say(f"looking for {line}…")
        self._seek_line(line, here)

    @work(thread=True, exclusive=True, group="read", description="line")
    def _seek_line(self, line: CodeLine, here: Place) -> None:
        worker = get_current_worker()
        goal = jumps.line_moments(self.session.trace.source, line)
        try:
            place = jumps.seek_around(self.session, goal, here, lambda: worker.is_cancelled, self._progress(goal, 1))
        except GradscopeError as error:
            self.tell(self._failed, error)
            return
        self.tell(self._at_line, line, here, place)

    def _at_line(self, line: CodeLine, here: Place, place: Place | None) -> None:
        self.say("")
        if place is None:
            self.notify(f"No recorded moment is of {line}.", markup=False)
            return
        self.jump(place, unfold=True)
        if place.step != here.step:
            told = f"{line} did not run in {step_word(here.step)}: this is {step_word(place.step)}."
            self.notify(told, markup=False)

    def action_origin(self) -> None:
        tensor, here = self.tensor(), self.here()
        if tensor is None or here is None:
            self.notify("Select a tensor first.", severity="warning")
            return
        place = jumps.origin(here[1], tensor)
        if place is None:
            self._carried(here[1], tensor)
        else:
            self.jump(place)

    @work(thread=True, exclusive=True, group="read", description="carried")  # else the step's repr
    def _carried(self, loaded: Loaded, tensor: int) -> None:
        name = tensor_word(loaded.step.tensors[tensor])
        try:
            place = jumps.carried_from(self.session, loaded, tensor)
        except GradscopeError as error:
            self.tell(self.complain, error)
            return
        if place is None:
            self.tell(self.notify, f"{name} was there before this step; where it was made is unknown.")
        else:
            self.tell(self.jump, place)

    def action_first_use(self) -> None:
        tensor, here = self.tensor(), self.here()
        place = jumps.first_use(here[1], tensor) if tensor is not None and here is not None else None
        if place is None:
            self.notify("Nothing of this step uses it." if tensor is not None else "Select a tensor first.")
        else:
            self.jump(place)
