"""`Curves`: the loss and the norm of all gradients over a trace's steps, read in a worker as they come."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import islice

from ..model.trace import Trace
from .plots import buckets

_CHUNK = 2_000  # steps read between two looks at whether anybody still wants them


class Curves:
    """Steps and their numbers, in parallel lists. `read` goes on where it stopped."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float | None] = []
        self.gradients: list[float | None] = []
        self._drawn: dict[tuple[str, int, int], list[float | None]] = {}

    def read(self, trace: Trace, goes_on: Callable[[], bool]) -> None:
        """Read the steps that are not read yet, while `goes_on` says so. Raises TraceFileError.

        The last one is read again: it may have been running.
        """
        kept = max(len(self.steps) - 1, 0) if self.steps[:1] == list(trace.source.step_numbers()[:1]) else 0
        for values in (self.steps, self.losses, self.gradients):
            del values[kept:]
        source = iter(trace.source.curve(self.steps[-1] if self.steps else None))
        while goes_on() and (found := list(islice(source, _CHUNK))):
            self.losses += [loss for _, loss, _ in found]
            self.gradients += [gradient for _, _, gradient in found]
            self.steps += [step for step, _, _ in found]
        self._drawn = {}

    def __len__(self) -> int:
        return len(self.steps)

    def drawn(self, which: str, width: int) -> list[float | None]:
        """`losses` or `gradients` in at most `width` parts; worked out once for each length and width."""
        key = (which, len(self), width)
        if key not in self._drawn:
            if len(self._drawn) > 8:
                self._drawn.clear()
            values = self.losses if which == "losses" else self.gradients
            self._drawn[key] = buckets(values[: len(self)], width)
        return self._drawn[key]

    def at(self, step: int) -> tuple[float | None, float | None]:
        """(loss, norm of all gradients) of a step."""
        place = bisect_left(self.steps, step)
        if place < len(self.steps) and self.steps[place] == step:
            return self.losses[place], self.gradients[place]
        return None, None
