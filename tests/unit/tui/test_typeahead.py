"""What is pasted becomes the keys that would type it."""

from __future__ import annotations

from textual.keys import _character_to_key

from gradscope.tui.typeahead import keys_of


def test_each_character_is_the_key_that_textual_names() -> None:
    text = "g:50[]{}()<>.,/?!+-=aZ9 é_"
    keys = list(keys_of(text))
    assert [key.character for key in keys] == list(text)
    assert [key.key for key in keys] == [_character_to_key(character) for character in text]


def test_ends_of_lines_are_enter_and_control_characters_are_nothing() -> None:
    assert [key.key for key in keys_of("a\r\nb\nc\rd\x1b\x07")] == ["a", "enter", "b", "enter", "c", "enter", "d"]
