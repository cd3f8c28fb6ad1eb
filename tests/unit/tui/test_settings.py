"""The user's small file of colours and keys: what it says counts, what is wrong in it is told in one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradscope.tui.keys import KEYS
from gradscope.tui.screens.instrument import pane_keys
from gradscope.tui.settings import Settings, read_settings, settings_path


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "view.ini"
    path.write_text(text)
    return read_settings(path, pane_keys())


def test_what_is_right_counts(tmp_path: Path) -> None:
    text = """\
# a comment
[view]
theme = light
[colours]
accent = #ff8800
[keys]
D = P
d = D
full_stop = f5
"""
    found = read(tmp_path, text)
    assert found.complaints == ()
    assert found.theme == "light"
    assert found.colours == {"accent": "#ff8800"}
    assert found.keys == {"pin": "P", "findings": "D", "seek('change', 1)": "f5"}, "D is free once it is another key"


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none.ini") == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[view]\ntheme = blue\n", "theme = blue: it is dark or light"),
        ("[view]\nsize = 3\n", "[view] has no size, only theme"),
        ("[color]\naccent = red\n", "there is no section [color], only view, colours, keys"),
        ("[colours]\naccent = blurple\n", "[colours] accent = blurple: no colour, such as #ff8800 or red"),
        ("[colours]\nshade = red\n", "[colours] has no shade"),
        ("[keys]\nF13 = x\n", "[keys] F13: no such key"),
        ("[keys]\nD = d\n", "[keys] D = d: that key is taken"),
        ("[keys]\nD = m\n", "[keys] D = m: that key is taken"),
        ("[keys]\nD = P\nd = P\n", "[keys] D = P: that key is taken"),
        ("[keys]\nD =\n", "[keys] D = : that key is missing"),
        ("theme = light\n", "is not read"),
        ("[view\n", "is not read"),
        ("[view]\ntheme = dark\ntheme = light\n", "is not read"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_default_is_used(tmp_path: Path, text: str, told: str) -> None:
    found = read(tmp_path, text)
    assert (found.theme, found.colours, found.keys) == (None, {}, {})
    assert told in found.complaints[0]
    assert all("\n" not in complaint and str(tmp_path) in complaint for complaint in found.complaints)


def test_what_is_right_beside_what_is_wrong_counts(tmp_path: Path) -> None:
    found = read(tmp_path, "[view]\ntheme = light\n[keys]\nD = d\n")
    assert found.theme == "light"
    assert len(found.complaints) == 1


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "view.ini"
    path.write_bytes(b"\xff\xfe[view]")
    assert len(read_settings(path).complaints) == 1


def test_the_file_is_in_the_folder_for_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_path() == tmp_path / "gradscope" / "view.ini"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_path() == tmp_path / ".config" / "gradscope" / "view.ini"


def test_each_action_has_one_key() -> None:
    actions = [key.action for keys in KEYS.values() for key in keys]
    assert len(actions) == len(set(actions)), "an action names its key in the file"
