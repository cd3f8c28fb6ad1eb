"""`Following`: going on with a trace that is still being written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from textual import work

from ...errors import GradscopeError
from ...model.findings import Finding
from ...model.trace import Trace
from ...render.summary import ended
from ...text import printable
from .. import cursor
from ..cursor import Place
from ..follow import Follower, News
from ..session import Session
from .traveller import Traveller


class Following(Traveller):
    """Looks at the file now and then, and shows what was added."""

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

    def first_place(self) -> Place:
        """The newest step where the script still runs."""
        return super().first_place() if self._follower is None else Place(self.steps[-1], cursor.LAST)

    @work(thread=True, exclusive=True, group="follow")
    def look(self) -> None:
        """Look whether the running script has written more."""
        assert self._follower is not None
        try:
            news = self._follower.look()
        except GradscopeError as error:
            self.tell(self._lost, error)
            return
        if news is not None:
            self.tell(self._grown, news)

    def _lost(self, error: GradscopeError) -> None:
        """The file cannot be read any more: what was read stays."""
        self.stop_following()
        self.complain(error)

    def _grown(self, news: News) -> None:
        before, self.steps = self.steps, news.steps
        self.session.renew(news.trace)
        if not news.runs:
            self.stop_following()
            self.notify(f"{printable(news.info.script)} {ended(news.info)}", markup=False)
        if not self.steps:
            return
        if self.aim is None:
            self.opened(self.steps)
        elif not before or self.aim.step >= before[-1]:  # at the end: go on with it
            self.travel(Place(self.steps[-1], cursor.LAST))
        elif self.scene is not None:
            self.display_scene(replace(self.scene, step_numbers=self.steps))

    def stop_following(self) -> None:
        """The script has ended, or its file is gone."""
