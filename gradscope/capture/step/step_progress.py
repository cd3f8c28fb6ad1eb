"""How far a step has come: the stations it passed, and the signs that tell where it ends."""

from __future__ import annotations

from .loop_detection import Watch
from .raw import Station


class StepProgress:
    """What the segmenter and the matching of steps go by; what the step did is the draft's."""

    __slots__ = (
        "cuts", "passed_at", "places", "roots", "seen_backward", "seen_update", "station_watch", "stations", "watch",
        "zeroed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.stations: list[Station] = []
        self.passed_at: list[float] = []  # when it passed each
        self.places: list[int] = []  # and how many moments there were before
        self.watch: Watch | None = None  # what showed that it is over
        self.station_watch: Watch | None = None  # what would have, after its last station
        self.cuts: list[int] = []  # moments at which it may turn out to have ended
        self.roots: dict[int, int] = {}  # the root modules that ran, and the moment before which each did last
        self.seen_backward = 0
        self.seen_update = 0
        self.zeroed = False

    def passes(self, station: Station, now: float, place: int, watch: Watch | None) -> None:
        """It passes a station after `place` moments; `watch` tells from then on whether it is over."""
        self.stations.append(station)
        self.passed_at.append(now)
        self.places.append(place)
        self.station_watch = watch

    def hand_on(self, following: StepProgress, length: int) -> None:
        """The call that showed that this step is over, where it was noted as a station of it, is of the next.

        `length`: how many moments this step has.
        """
        if self.stations and self.stations[-1].kind in ("call", "backward") and self.places[-1] == length:
            following.passes(self.stations.pop(), self.passed_at.pop(), 0, following.station_watch)
            self.places.pop()

    def cut(self, at: int) -> tuple[StepProgress, StepProgress]:
        """The part before the moment `at`, and that from it on, which has seen all that was seen."""
        head, tail = StepProgress(), StepProgress()
        for station, when, place in zip(self.stations, self.passed_at, self.places):
            part, start = (head, 0) if place < at else (tail, at)
            part.passes(station, when, place - start, None)
        head.roots = {module: last for module, last in self.roots.items() if last < at}
        tail.roots = {module: last - at for module, last in self.roots.items() if last >= at}
        tail.cuts = [cut - at for cut in self.cuts if cut > at]
        tail.seen_backward, tail.seen_update, tail.zeroed = self.seen_backward, self.seen_update, self.zeroed
        return head, tail
