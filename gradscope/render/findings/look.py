"""What a terminal can show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """Columns, whether only ASCII can be shown, and whether colours can."""

    width: int = 100
    ascii: bool = False
    colour: bool = False
