"""When steps are watched, told by a clock that the tests move."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gradscope.capture.journal import schedule
from gradscope.capture.journal.schedule import ENOUGH, FREE_SECONDS, IN_ANY_CASE, Schedule

PLAIN, WATCHED = 0.01, 0.1  # seconds of a step


class Loop:
    """Steps of which `pattern_of` tells the pattern, closed one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, budget: float | None) -> None:
        self.now = 0.0
        monkeypatch.setattr(schedule, "thread_time", lambda: self.now)
        self.schedule = Schedule(budget)
        self.schedule.start()
        self.watched: list[bool] = []

    def run(self, patterns: Iterator[Any], seconds: float = WATCHED) -> None:
        """A step for each pattern; light where the schedule says so."""
        for pattern in patterns:
            light = self.schedule.left > 0
            if not light and self.watched and not self.watched[-1]:
                self.schedule.watch()
            self.now += PLAIN if light else seconds
            draft: Any = SimpleNamespace(
                with_graph=not light, full=False, progress=SimpleNamespace(stations=["a call"])
            )
            self.schedule.closed(draft, pattern, kept=True)
            self.watched.append(not light)


def unequal(count: int) -> Iterator[Any]:
    return (SimpleNamespace(seen=1, matchable=False) for _ in range(count))


def test_the_budget_counts_what_the_first_steps_took(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, 0.25)
    loop.run(unequal(400))
    plain = PLAIN * len(loop.watched)
    assert loop.now <= 1.25 * plain + WATCHED
    assert loop.now >= 1.15 * plain  # what is allowed is used
    assert loop.watched[: IN_ANY_CASE + 2] == [True] * IN_ANY_CASE + [False, True]


def test_while_watching_has_taken_little_each_step_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, 0.25)
    loop.run(unequal(20), seconds=FREE_SECONDS / 21)
    assert all(loop.watched)


def test_without_a_budget_all_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, None)
    loop.run(unequal(50))
    assert all(loop.watched)


def test_steps_that_come_again_soon_are_watched_until_they_can_be_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, 0.25)
    one = SimpleNamespace(seen=0, matchable=False)
    for _ in range(ENOUGH):
        one.seen += 1
        one.matchable = one.seen == ENOUGH
        loop.run(iter([one]))
    assert loop.schedule.to_match
    assert loop.schedule.left > 0


def test_steps_that_come_again_late_do_not_exceed_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, 0.25)
    cycle = [SimpleNamespace(seen=1, matchable=False) for _ in range(ENOUGH + 2)]
    loop.run(iter(cycle))
    for one in cycle:
        one.seen = 2
    loop.run(iter(cycle * 60))
    assert loop.now <= 1.25 * PLAIN * len(loop.watched) + WATCHED


def test_a_surprise_is_watched_at_once_unless_it_is_no_surprise_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, 0.25)
    loop.run(unequal(IN_ANY_CASE + 1))
    loop.schedule.watch()
    loop.schedule.soon()
    assert loop.schedule.left > 1  # nothing has passed unwatched since the last one: that is not paid for
    loop.schedule.passed()
    loop.schedule.soon()
    assert loop.schedule.left == 1


def test_one_slow_light_step_does_not_make_all_later_ones_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, 0.01)
    loop.run(unequal(IN_ANY_CASE))
    assert loop.schedule.left == 1
    loop.now += 1000 * WATCHED
    loop.run(unequal(60))
    loop.run(unequal(60), seconds=1.01 * WATCHED)
    assert loop.watched[-60:].count(True) < 30
