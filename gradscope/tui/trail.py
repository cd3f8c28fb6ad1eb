"""`Trail`: where jumps began, to go back to, and forward again. Pure."""

from __future__ import annotations

from .cursor import Place

_LONGEST = 200


class Trail:
    """Two stacks: what lies behind, and, after going back, what lies ahead. A new jump forgets what lies ahead."""

    def __init__(self) -> None:
        self._behind: list[Place] = []
        self._ahead: list[Place] = []

    def leave(self, place: Place) -> None:
        """A jump leads away from `place`."""
        self._ahead.clear()
        if not self._behind or self._behind[-1] != place:
            self._behind.append(place)
            del self._behind[:-_LONGEST]

    def back(self, here: Place) -> Place | None:
        """Where the last jump led away from; None when no jump is left."""
        return self._turn(here, self._behind, self._ahead)

    def forward(self, here: Place) -> Place | None:
        """Where `back` came from; None when it is not undone by anything."""
        return self._turn(here, self._ahead, self._behind)

    @staticmethod
    def _turn(here: Place, source: list[Place], target: list[Place]) -> Place | None:
        while source and source[-1] == here:  # who walked there needs no key that leads there
            source.pop()
        if not source:
            return None
        target.append(here)
        return source.pop()
