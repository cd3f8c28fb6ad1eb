"""When a step began and ended, and its phases: which, from which moment and which time on."""

from __future__ import annotations

from time import perf_counter

from ...model.records import Phase

# Phases that no call's return ends: they end with the last that was told of them, unless one of these comes next.
_GO_ON_AS = {
    Phase.FORWARD: (Phase.LOSS, Phase.BACKWARD),
    Phase.LOSS: (Phase.BACKWARD,),
    Phase.EVAL: (),
}


class Timing:
    """The time of one step, while it goes on and after."""

    __slots__ = ("end", "marks", "phase", "start", "times", "until")

    def __init__(self, start: float) -> None:
        self.start = start
        self.end: float | None = None  # set where the rest was split off
        self.phase: Phase | None = None
        self.marks: list[tuple[Phase, int]] = []  # where phases begin
        self.times: list[float] = []  # and when
        self.until = start  # when the last op was told, or the last root's call returned

    @property
    def over(self) -> float:
        """When it ended; of a step that goes on, now."""
        return perf_counter() if self.end is None else self.end

    def enters(self, phase: Phase, index: int, now: float) -> None:
        """With the moment `index`, at the time `now`, it is `phase`, which it was not before."""
        after = _GO_ON_AS.get(self.phase) if self.phase is not None else None
        self.phase = phase
        if after is not None and phase not in after:
            self.marks.append((Phase.OTHER, index))
            self.times.append(self.until)
            if phase is Phase.OTHER:
                return
        self.marks.append((phase, index))
        self.times.append(now)

    def cut(self, at: int) -> tuple[Timing, Timing]:
        """The time before the moment `at`, and from it on.

        The second begins with its first phase, or with the next one's where that phase began in the first.
        """
        marks, times = self.marks, self.times
        first = max((place for place, mark in enumerate(marks) if mark[1] <= at), default=0)
        (phase, index), time = marks[first], times[first]
        if index < at:
            time = times[first + 1] if first + 1 < len(times) else self.end or perf_counter()
        end = first if index == at else first + 1
        head, tail = Timing(self.start), Timing(time)
        head.marks, head.times, head.end = marks[:end], times[:end], time
        tail.marks = [(phase, 0), *((phase, index - at) for phase, index in marks[first + 1 :])]
        tail.times, tail.end, tail.phase = [time, *times[first + 1 :]], self.end, self.phase
        tail.until = max(time, self.until)
        return head, tail
