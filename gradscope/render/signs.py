"""Signs of one column each, and what stands for them where only ASCII can be shown."""

from __future__ import annotations

from .theme import THEMES
from .words import Role

_ASCII_SIGNS = {
    Role.PARAMETER: "#",
    Role.LEAF: "*",
    Role.FROZEN: "%",
    Role.RESULT: "o",
    Role.INPUT: "^",
    Role.NO_GRAD: ".",
    Role.BUFFER: "=",
    Role.OP: "f",
    Role.GRAD_FN: "d",
    Role.ACCUMULATE_GRAD: "S",
    Role.MODULE: "M",
    Role.MODULE_BACKWARD: "B",
}
_TO_ASCII = str.maketrans(
    {"│": "|", "─": "-", "━": "=", "┆": ":", "╌": "-", "▸": ">", "◆": "@", "◇": "o", "▏": "_", "‥": "~"}
    | {"×": "x", "·": "-", "→": ">", "–": "-", "…": "~", "µ": "u"}
    | dict.fromkeys("┼├┤┬┴╭╮╰╯", "+")
    | {"‡": "X", "†": "?", "¡": "i", "▲": "!", "∞": "!", "‼": "!", "≠": "~"}
    | {"¬": "/", "¦": "/", "►": ">", "♦": "+", "▼": "v"}
)


def role_sign(role: Role, *, ascii: bool = False) -> str:
    """A node's role as one character."""
    return _ASCII_SIGNS[role] if ascii else THEMES["light"].nodes[role].sign[0]


def to_ascii(drawn: str) -> str:
    """`drawn` with the house's own signs replaced, one character for one; a user's text may still not be ASCII."""
    return drawn.translate(_TO_ASCII)
