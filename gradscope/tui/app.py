"""The application: themes, the command palette, and the instrument as its only lasting screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import PurePath
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.filter import LineFilter
from textual.screen import Screen

from ..model.findings import Finding
from ..model.trace import Trace
from .cursor import Place
from .keys import KEYS
from .plain import AsciiFilter
from .screens.instrument import Instrument
from .session import Session
from .themes import THEMES

Findings = Callable[[Trace], Sequence[Finding]]


class GradscopeApp(App[None]):
    """Shows `trace`, beginning at `start` (the first step's start where it is None).

    `findings` is called once, in a worker thread, and may raise ValueError or GradscopeError; its method `close`,
    if it has one, when the application ends. `reopen` opens a newer reading of a trace that is to be followed.
    """

    CSS_PATH: ClassVar[str] = "gradscope.tcss"
    TITLE = "gradscope"
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        trace: Trace,
        start: Place | None = None,
        *,
        ascii: bool = False,
        theme: str = "dark",
        findings: Findings | None = None,
        reopen: Callable[[], Trace] | None = None,
    ) -> None:
        self._ascii = AsciiFilter() if ascii else None
        super().__init__()
        for one in THEMES:
            self.register_theme(one)
        self.theme = f"gradscope-{theme}"
        self.session = Session(trace)
        name = PurePath(trace.info.script or trace.path or "trace").name
        self.instrument = Instrument(self.session, name, start, ascii=ascii, findings=findings, reopen=reopen)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every line passes on its way to the screen."""
        filters = super().get_line_filters()
        return [*filters, self._ascii] if self._ascii is not None else filters

    def get_default_screen(self) -> Instrument:
        return self.instrument

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key by name, and the choice of all themes."""
        yield SystemCommand("Change the colours", "Pick one of all themes", self.action_change_theme)
        for group, keys in KEYS.items():
            for key in keys:
                if key.action != "app.command_palette":
                    about = f"{group}  ({key.shown})"
                    yield SystemCommand(key.about, about, partial(screen.run_action, key.action))
