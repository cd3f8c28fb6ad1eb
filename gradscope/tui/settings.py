"""`Settings`: what a user's small file says of colours and keys. What is wrong in it is told, and the default is used.

    [view]
    theme = light
    [colours]
    accent = #ff8800
    [keys]
    D = P

A key is named as the help shows it, or as Textual does: `left_square_bracket`.
"""

from __future__ import annotations

import configparser
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textual.binding import Binding
from textual.color import Color, ColorParseError

from ..text import elide_list, printable
from .keys import KEYS, Key

COLOURS = (
    "primary", "secondary", "accent", "warning", "error", "success", "foreground", "background", "surface", "panel",
)  # fmt: skip
_THEMES = ("dark", "light")
_SECTIONS = ("view", "colours", "keys")


@dataclass(frozen=True, slots=True)
class Settings:
    """`keys` has the new key of each action that has another one; `complaints` are lines for the user."""

    theme: str | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    complaints: Sequence[str] = ()


def settings_path() -> Path:
    """Where the file is, if there is one."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".config"  # as the XDG specification says
    return folder / "gradscope" / "view.ini"


def read_settings(path: Path, taken: Iterable[str] = ()) -> Settings:
    """What the file says; nothing where there is none. `taken`: keys that no action can have."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # d and D are two keys
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=path.name)
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeError, configparser.Error) as error:
        return Settings(complaints=(printable(f"{path} is not read: {' '.join(str(error).split())}"),))
    reading = _Reading({section: dict(parser[section]) for section in parser.sections()}, frozenset(taken))
    told = tuple(printable(f"{path}: {complaint}; the default is used") for complaint in reading.complaints())
    return Settings(reading.theme, reading.colours, reading.keys, told)


class _Reading:
    """The file's sections, value by value."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]], taken: frozenset[str]) -> None:
        self._sections = sections
        self._taken = taken
        theme = self._of("view").get("theme")
        self.theme = theme if theme in _THEMES else None
        self.colours = {name: value for name, value in self._of("colours").items() if not _wrong_colour(name, value)}
        wanted = {key.action: value for name, value in self._of("keys").items() if (key := _key(name)) and value}
        self.keys = {action: value for action, value in wanted.items() if not self._wrong_key(value, wanted)}

    def _of(self, section: str) -> Mapping[str, str]:
        return self._sections.get(section, {})

    def complaints(self) -> Iterator[str]:
        for section in self._sections:
            if section not in _SECTIONS:
                yield f"there is no section [{section}], only {elide_list(_SECTIONS, 9)}"
        for name, value in self._of("view").items():
            if name != "theme":
                yield f"[view] has no {name}, only theme"
            elif value not in _THEMES:
                yield f"theme = {value}: it is {' or '.join(_THEMES)}"
        for name, value in self._of("colours").items():
            if wrong := _wrong_colour(name, value):
                yield wrong
        for name, value in self._of("keys").items():
            key = _key(name)
            if key is None:
                yield f"[keys] {name}: no such key; ? in gradscope view lists all"
            elif key.action not in self.keys:
                yield f"[keys] {name} = {value}: that key {'is taken' if value else 'is missing'}"

    def _wrong_key(self, value: str, wanted: Mapping[str, str]) -> bool:
        """Whether another action has the key, or a pane needs it."""
        kept = {one for key in _every() if key.action not in wanted for one in key.key.split(",")}
        if "," in value or not value.isprintable():
            return True
        return _named(value) in kept | self._taken or Counter(map(_named, wanted.values()))[_named(value)] > 1


def _every() -> Iterator[Key]:
    return (key for keys in KEYS.values() for key in keys)


def _key(name: str) -> Key | None:
    """The key of that name."""
    return next((key for key in _every() if name in (key.shown, key.action, *key.key.split(","))), None)


def _named(key: str) -> str:
    """A key as Textual names it."""
    return next(iter(Binding.make_bindings([Binding(key, "")]))).key


def _wrong_colour(name: str, value: str) -> str:
    if name not in COLOURS:
        return f"[colours] has no {name}, only {elide_list(COLOURS, 20)}"
    try:
        Color.parse(value)
    except ColorParseError:
        return f"[colours] {name} = {value}: no colour, such as #ff8800 or red"
    return ""
