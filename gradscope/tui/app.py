"""The application: themes, the command palette, and the instrument as its only lasting screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import PurePath
from typing import ClassVar

from textual import events
from textual.app import ScreenStackError, SystemCommand
from textual.filter import LineFilter
from textual.screen import Screen

from ..model.findings import Finding
from ..model.trace import Trace
from .cursor import Place
from .keys import rebound
from .palette import TraceProvider, pane_commands
from .pin import Pin
from .plain import AsciiFilter
from .screens.instrument import Instrument, pane_keys
from .session import Session
from .settings import Settings, read_settings, settings_path
from .themes import themes
from .typeahead import TypeAhead

Findings = Callable[[Trace], Sequence[Finding]]


def users_settings() -> Settings:
    """What the user's own file says."""
    return read_settings(settings_path(), pane_keys())


class GradscopeApp(TypeAhead):
    """Shows `trace`, beginning at `start` (the first step's start where it is None).

    `findings` is called once, in a worker thread, and may raise ValueError or GradscopeError; its method `close`,
    if it has one, when the application ends. `reopen` opens a newer reading of a trace that is to be followed.
    `settings` are the user's own colours and keys; a `theme` that is given comes first.
    `against` is the file of another trace, whose same step every step is compared with: raises GradscopeError.
    """

    CSS_PATH: ClassVar[str] = "gradscope.tcss"
    COMMANDS = TypeAhead.COMMANDS | {TraceProvider}
    TITLE = "gradscope"
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        trace: Trace,
        start: Place | None = None,
        *,
        ascii: bool = False,
        theme: str | None = None,
        findings: Findings | None = None,
        reopen: Callable[[], Trace] | None = None,
        against: str | None = None,
        settings: Settings = Settings(),  # noqa: B008  # it is frozen
    ) -> None:
        self._ascii = AsciiFilter() if ascii else None
        super().__init__()
        for one in themes(settings.colours):
            self.register_theme(one)
        self.theme = f"gradscope-{theme or settings.theme or 'dark'}"
        self.settings = settings
        self.keys = rebound(settings.keys)
        self.set_keymap(settings.keys)
        self.session = Session(trace)
        name = PurePath(trace.info.script or trace.path or "trace").name
        self.instrument = Instrument(self.session, name, start, ascii=ascii, findings=findings, reopen=reopen)
        self.instrument.keys = self.keys
        self.instrument.pin = Pin.of_file(against) if against is not None else None

    def on_mount(self) -> None:
        for complaint in self.settings.complaints:
            self.notify(complaint, severity="warning", timeout=10, markup=False)

    def ready(self) -> bool:
        """Keys wait for a step that is read or sought, and for a window that opens."""
        try:
            screen = self.screen
        except ScreenStackError:
            return False
        if screen is self.instrument:
            return screen.is_mounted and not self.instrument.reading
        return screen.focused is not None or (screen.is_mounted and not screen.focus_chain)

    def urgent(self, key: events.Key) -> bool:
        """Escape ends what keys wait for, and forgets them; some need no step to be read."""
        if not self.screen_stack or self.screen is not self.instrument or not self.instrument.reading:
            return key.key == "ctrl+q"
        if key.key == "escape":
            self.forget_typed()
        at_once = (one.key for keys in self.keys.values() for one in keys if one.at_once)
        return key.key in ("escape", "ctrl+q") or (not self.typing and key.key in at_once)

    def types_pasted(self) -> bool:
        """What is pasted while no window is open is a row of keys."""
        return self.screen is self.instrument

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every line passes on its way to the screen."""
        filters = super().get_line_filters()
        return [*filters, self._ascii] if self._ascii is not None else filters

    def get_default_screen(self) -> Instrument:
        return self.instrument

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key by name, and the choice of all themes."""
        yield SystemCommand("Change the colours", "Pick one of all themes", self.action_change_theme)
        for group, keys in self.keys.items():
            for key in keys:
                if key.action != "app.command_palette":
                    about = f"{group}  ({key.shown})"
                    yield SystemCommand(key.about, about, partial(screen.run_action, key.action))
        if screen is self.instrument:
            yield from pane_commands(self.instrument)
