"""Which steps to come are watched op by op: at growing distances among equal ones, within the budget among others.

A short run costs little: all of its steps are watched.
"""

from __future__ import annotations

from time import thread_time

from ..step.draft import Draft
from ..step.patterns import ENOUGH, Pattern

NEAREST, FARTHEST = 8, 1024  # steps between two that are watched
FREE_SECONDS = 0.1  # of the thread: while the steps that were watched took no longer, each is
_GROWTH = 1.02  # of what is usual, with each step that took longer: one may have waited for something else


class Schedule:
    """Counts down the steps whose ops are not seen.

    `budget`: the share of a light step's time that watching may cost more, over all steps; None: all are watched.
    """

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self.to_match = self.to_lighten = False  # the step in progress is to be, from its first station on
        self.left = 0  # so many steps are not watched, that in progress among them
        self._distance = NEAREST
        self._cpu = 0.0  # when the last step closed
        self._spent = 0.0  # seconds in watched steps, without the first of each kind
        self._unequal = 0  # watched steps in a row that equal none before them
        self._usual: dict[str, float] = {}  # seconds of a light step, by kind

    def start(self) -> None:
        """The recording begins."""
        self._cpu = thread_time()

    def soon(self) -> None:
        """The next step is to be watched: something was not as expected."""
        self._distance, self.left = NEAREST, 0

    def closed(self, draft: Draft, pattern: Pattern | None, kind: str, *, kept: bool) -> None:
        """A watched or light step has closed. `kept`: it was compared with those before it."""
        self.to_match = self.to_lighten = False
        spent, self._cpu = thread_time() - self._cpu, thread_time()
        usual = self._usual.get(kind)
        if not draft.with_graph:
            self._usual[kind] = spent if usual is None else min(spent, _GROWTH * usual)
            self.left -= 1
            return
        if draft.full:
            return
        self._spent += spent
        repeats = pattern is not None and pattern.seen > 1
        self._unequal = 0 if repeats else self._unequal + 1
        if self._spent < FREE_SECONDS:
            return
        if pattern is not None and pattern.matchable:
            self.to_match, self.left = True, self._distance
            self._distance = min(FARTHEST, 2 * self._distance)
            return
        self._distance = NEAREST
        if self._unequal < ENOUGH or not kept or not draft.progress.stations or self.budget is None:
            return
        beyond = max(0.0, spent - (usual or 0.0))
        self.left = 1 if usual is None else min(FARTHEST, int(beyond / (self.budget * usual)))
        self.to_lighten = self.left > 0
