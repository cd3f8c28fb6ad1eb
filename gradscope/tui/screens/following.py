"""`Following`: going on with a trace that is still being written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from textual import work
from textual.timer import Timer

from ...errors import GradscopeError
from ...model.findings import Finding
from ...model.trace import Trace
from ...render.summary import ended
from ...text import printable
from .. import cursor
from ..cursor import Place
from ..follow import INTERVAL, Follower, News
from ..session import Session
from ..words import step_word
from .traveller import Traveller


class Following(Traveller):
    """Looks at the file now and then. `follows`: the cursor goes on with the newest step; else it stays where it is."""

    def __init__(
        self,
        session: Session,
        start: Place | None,
        *,
        ascii: bool,
        findings: Callable[[Trace], Sequence[Finding]] | None,
        reopen: Callable[[], Trace] | None,
    ) -> None:
        super().__init__(session, start, ascii=ascii, findings=findings)
        self._follower = Follower(reopen) if reopen is not None else None
        self._one_look = threading.Lock()
        self._looking: Timer | None = None
        self.follows = reopen is not None and start is None

    @property
    def grows(self) -> bool:
        """Whether the trace may still grow."""
        return self._looking is not None

    def begin_following(self) -> None:
        """Look at the file from now on, if it is to be followed."""
        if self._follower is not None:
            self._looking = self.set_interval(INTERVAL, self._look_again)
            self.look()

    def end_following(self) -> None:
        """The script has ended, or its file is gone."""
        if self._looking is not None:
            self._looking.stop()
            self._looking = None
        self.tell_following()

    def tell_following(self) -> None:
        """Show whether the cursor goes on with the newest step."""

    def named(self, script: str) -> None:
        """The name of the script is known."""

    def first_place(self) -> Place:
        """The newest step where the script still runs."""
        return super().first_place() if self._follower is None else Place(self.steps[-1], cursor.LAST)

    def opened(self, steps: Sequence[int]) -> None:
        """Wait for the first step, or for the one that was asked for."""
        if self.grows and self.aim is not None and self.aim.step not in steps:
            self.steps = steps
            self.say(f"waiting for {step_word(self.aim.step)}…")
        else:
            super().opened(steps)

    def _look_again(self) -> None:
        if not any(worker.group == "follow" and not worker.is_finished for worker in self.app.workers):
            self.look()

    @work(thread=True, group="follow")
    def look(self) -> None:
        """Look whether the running script has written more."""
        with self._one_look:  # news are told in order, and none is dropped for a later look
            self._look()

    def _look(self) -> None:
        assert self._follower is not None
        try:
            news = self._follower.look()
        except GradscopeError as error:
            self.tell(self._lost, error)
            return
        if news is not None:
            self.tell(self._grown, news)
        elif self._follower.missing:
            self.tell(
                self.say,
                f"waiting for {printable(self.session.trace.path or 'the file')}, which is not there yet: q leaves",
            )

    def _lost(self, error: GradscopeError) -> None:
        """The file cannot be read any more: what was read stays."""
        self.end_following()
        self.complain(error)

    def _grown(self, news: News) -> None:
        self.steps = news.steps
        self.session.renew(news.trace)
        self.named(news.info.script)
        if not news.runs:
            self.end_following()
            self.notify(f"{printable(news.info.script)} {ended(news.info)}", markup=False)
        if self.scene is None or self.aim is None:
            self.opened(self.steps)
            return
        if not news.runs:
            self.judge()
        if self.follows:
            self.go(Place(self.steps[-1], cursor.LAST))
        elif self.session.step(self.aim.step) is None and not self.reading:
            self.go(self.aim)  # its step has grown, and is read anew
        else:
            self.display_scene(replace(self.scene, step_numbers=self.steps))

    def travel(self, place: Place, *, unfold: bool = False) -> None:
        """Who moves does not want to be moved: following waits until it is asked for again."""
        if self.follows and place != self.aim:
            self.follows = False
            self.tell_following()
        super().travel(place, unfold=unfold)

    def action_follow(self) -> None:
        """Go on with the newest step; again: stay."""
        if not self.grows:
            ended = "the script has ended" if self._follower is not None else "gradscope view --follow would"
            self.notify(f"This trace does not grow: {ended}.")
            return
        self.follows = not self.follows
        if self.follows and self.steps:
            self.go(Place(self.steps[-1], cursor.LAST))
        self.tell_following()
