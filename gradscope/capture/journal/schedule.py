"""Which steps to come are watched op by op: at growing distances among equal ones, within the budget among others.

A short run costs little: all of its steps are watched.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from time import thread_time

from ..step.draft import Draft
from ..step.patterns import ENOUGH, Pattern

NEAREST, FARTHEST = 8, 1024  # steps between two that are watched
IN_ANY_CASE = ENOUGH + 2  # unequal steps: what three do is a habit to the checks, which need the ones around them, too
FREE_SECONDS = 0.1  # of the thread: while the steps that were watched took no longer, each is


class Schedule:
    """Counts down the steps whose ops are not seen.

    `budget`: the share of their time that steps which equal none may take longer, all together; None: all are watched.
    """

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self.to_match = self.to_lighten = False  # the step in progress is to be, from its first station on
        self.left = 0  # so many steps are not watched, that in progress among them
        self._distance = NEAREST
        self._since = 0.0  # when the thread was last asked for its time
        self._watched, self._unwatched = 0, 0  # steps
        self._watching, self._passing = 0.0, 0.0  # seconds in watched steps, and in others
        self._running = 0  # watched steps since the last that was not
        self._others = 0  # unwatched steps whose seconds are not in `_passing` yet
        self._recent: deque[Pattern | None] = deque(maxlen=ENOUGH)  # of the last ones, all watched
        self._unequal = 0  # how many watched steps more equal none of the last ones before them than equal one

    def start(self) -> None:
        """The recording begins."""
        self._since = thread_time()

    def soon(self) -> None:
        """The step in progress is not as expected: the next one is to be watched.

        If the budget has paid for that, where steps are hardly ever as expected.
        """
        rare = self._unequal == IN_ANY_CASE and not self._others
        self._distance, self.left = NEAREST, 1 + self._to_wait() if rare else 1

    def passed(self, *, matched: bool = False) -> None:
        """A step that is not watched has closed."""
        self._others += 1
        self._running = 0
        self.left -= 1
        if matched:
            self._unequal = max(0, self._unequal - 1)

    def measured(self, finite: bool) -> None:
        """Numbers of steps became known, all of them `finite` or not: else a step to come is watched at once."""
        if not finite:
            self.left = min(self.left, 1)

    def watch(self) -> None:
        """A step begins to be watched."""
        self.left = 0
        self._count_others()

    def closed(self, draft: Draft, pattern: Pattern | None, *, kept: bool) -> None:
        """A watched or light step has closed. `kept`: it was compared with those before it."""
        self.to_match = self.to_lighten = False
        if not draft.with_graph:
            self.passed()
            self._recent.clear()
            return
        self._watched += 1
        self._running += 1
        self._watching += self._lap()
        repeats = pattern is not None and pattern.seen > 1 and pattern in self._recent
        if repeats or not draft.full:  # the first steps, which are at full, are like no later one
            self._unequal = max(0, self._unequal - 1) if repeats else min(IN_ANY_CASE, self._unequal + 1)
        self._recent.append(pattern)
        if self._watching < FREE_SECONDS:
            return
        if pattern is not None and pattern.matchable:
            self.to_match, self.left = True, self._distance
            self._distance = min(FARTHEST, 2 * self._distance)
            return
        self._distance = NEAREST
        if self._unequal == IN_ANY_CASE and kept and draft.progress.stations:
            learn = self.budget is not None and self._running >= NEAREST  # anew what a light step takes
            self.left = self._to_wait() or int(learn)
            self.to_lighten = self.left > 0

    def _to_wait(self) -> int:
        """How many steps are not to be watched until the budget has paid for those that were."""
        if self.budget is None or self._watching < FREE_SECONDS:
            return 0
        self._count_others()
        if not self._unwatched:
            return 1  # which shows how long a step takes that is not watched
        usual = self._passing / self._unwatched
        steps = self._watched + self._unwatched
        over = self._watching - self._watched * usual - self.budget * usual * steps
        return min(FARTHEST, max(0, ceil(over / (self.budget * usual))))

    def _count_others(self) -> None:
        """Note how long the unwatched steps took that have closed since the last watched one."""
        if self._others:
            spent = self._lap()
            most = self._others * self._watching / self._watched if self._watched else spent
            self._passing += min(spent, most)  # watching costs something: more was a step that did something else
            self._unwatched += self._others
            self._others = 0

    def _lap(self) -> float:
        """The thread's seconds since the last time."""
        before, self._since = self._since, thread_time()
        return self._since - before
