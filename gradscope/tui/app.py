"""The application: themes, and the instrument as its only lasting screen."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar

from textual.app import App

from ..model.trace import Trace
from .cursor import Place
from .screens.instrument import Instrument
from .session import Session


class GradscopeApp(App[None]):
    """Shows `trace`, beginning at `start`."""

    CSS_PATH: ClassVar[str] = "gradscope.tcss"
    TITLE = "gradscope"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  # textual declares it without ClassVar

    def __init__(self, trace: Trace, start: Place | None = None, *, ascii: bool = False) -> None:
        super().__init__()
        self.session = Session(trace)
        self.instrument = Instrument(self.session, PurePath(trace.info.script).name or "trace", start, ascii=ascii)

    def get_default_screen(self) -> Instrument:
        return self.instrument
