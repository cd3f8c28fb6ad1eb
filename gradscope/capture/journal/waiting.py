"""Matched steps that differ from the one before in numbers only wait, to be measured and written together."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

from ..measure.stats import Statistics
from ..step.draft import FLUSH_SECONDS, Draft
from ..step.patterns import MatchedStep, Pattern

TOGETHER = 64  # steps


class WaitingSteps:
    """Steps of one pattern. `on_matched` writes them; None where each is written for itself."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._pattern: Pattern | None = None
        self._steps: list[MatchedStep] = []
        self.on_matched: Callable[[Pattern, list[MatchedStep]], None] | None = None

    def add(self, pattern: Pattern, step: MatchedStep) -> bool:
        """One more. Whether they have waited for long enough."""
        self._pattern = pattern
        self._steps.append(step)
        return len(self._steps) >= TOGETHER or step.end - self._steps[0].start > FLUSH_SECONDS

    def flush(self) -> bool:
        """Compute what else waits to be measured, and write the steps. Whether all that was measured is finite."""
        steps, self._steps = self._steps, []
        self._statistics.settle()
        if steps and self._pattern is not None and self.on_matched is not None:
            self.on_matched(self._pattern, steps)
        return all(map(finite, steps))


def finite(step: Draft | MatchedStep) -> bool:
    """Whether all that was measured in the step, as far as it is known, is finite, as its sum is."""
    total = 0.0
    for _, cell in step.losses:
        total += sum(cell)
    for _, _, measured in chain(step.norms, step.distances):
        for norms in measured:
            total += sum(norms)
    return math.isfinite(total)
