"""The columns of the parameters' table: what each shows and what it is sorted by. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..text import number
from .figures import CARRIED, NONE, ZERO, Figures


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, its width, what it shows and what it is sorted by."""

    title: str
    width: int
    words: Callable[[Figures], str]
    key: Callable[[Figures], float | None]


def _gradient_words(row: Figures, value: float | None) -> str:
    gradient = row.gradient
    if "buffer" in row.status:
        return ""
    if gradient.kind in (NONE, ZERO):
        return "None" if gradient.kind == NONE else "0"
    return "from before" if gradient.kind == CARRIED else _digits(value)


def _digits(value: float | None) -> str:
    return "" if value is None else number(value, 3)


def _ratio_words(figures: Figures) -> str:
    return "" if figures.ratio is None else f"{'' if figures.exact else '≥'}{number(figures.ratio, 2)}"


def status_words(status: tuple[str, ...]) -> str:
    """What is odd about a parameter, in at most 15 characters."""
    return status[0] if len(status) == 1 else "no grad, no opt" if status else ""


COLUMNS = {
    "|p|": Column("|p|", 9, lambda row: _digits(row.norm), lambda row: row.norm),
    "|grad|": Column("|grad|", 11, lambda row: _gradient_words(row, row.gradient.norm), lambda row: row.gradient.norm),
    "Δ/|p|": Column("Δ/|p|", 9, _ratio_words, lambda row: row.ratio),
    "sum": Column("sum", 9, lambda row: _digits(row.sum), lambda row: row.sum),
    "grad sum": Column(
        "grad sum", 11, lambda row: _gradient_words(row, row.gradient.sum), lambda row: row.gradient.sum
    ),
    "lr": Column("lr", 8, lambda row: _digits(row.rate), lambda row: row.rate),
    "status": Column("status", 15, lambda row: status_words(row.status), lambda row: float(bool(row.status)) or None),
}
ORDER = ("name", "shape", *COLUMNS)
