"""Light and dark. Colours from Okabe and Ito's palette, which colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from textual.theme import Theme

THEMES = (
    Theme(
        name="gradscope-dark",
        primary="#56B4E9",
        secondary="#35C79A",
        accent="#F0994A",
        warning="#F2C14E",
        error="#FF8A7A",
        success="#35C79A",
        foreground="#E8EDF2",
        background="#14181D",
        surface="#1A1F26",
        panel="#20262E",
        dark=True,
    ),
    Theme(
        name="gradscope-light",
        primary="#0068A8",
        secondary="#00795A",
        accent="#B64E00",
        warning="#8A5A00",
        error="#B3261E",
        success="#00795A",
        foreground="#1B232B",
        background="#FFFFFF",
        surface="#F7F8FA",
        panel="#E9ECF0",
        dark=False,
    ),
)


def themes(colours: Mapping[str, str]) -> tuple[Theme, ...]:
    """Both, with some colours of the user's own."""
    return tuple(replace(one, **colours) for one in THEMES)  # type: ignore[arg-type]


MUTED = "$foreground 65%"  # of text that says less: labels, places, what has not happened yet
