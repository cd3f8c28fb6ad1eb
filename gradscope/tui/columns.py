"""The columns of the parameters' table: what each shows, how rows are ranked by one, which fit in. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..model.records import Parameter
from ..model.sizes import elements
from ..text import number
from .differences import SAME, UNKNOWN_DIFFERENCE, UNLIKE, difference
from .figures import CARRIED, FILLED, NONE, UNKNOWN, ZERO, Figures

SPARK = 12  # cells of a curve, where there is room
RATIO = "Δ/|p|"  # of the update


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
    return {CARRIED: "from before", FILLED: "?", UNKNOWN: "?"}.get(gradient.kind) or _digits(value)


def _digits(value: float | None) -> str:
    return "" if value is None else number(value, 3)


def beside(column: Column, row: Figures, other: Figures) -> str:
    """What the column's figure is more than the `other` row's, in the step that is compared with."""
    if column.title == "status":
        return "" if row.status == other.status else UNLIKE
    if "grad" in column.title and "buffer" not in row.status:
        kinds = {row.gradient.kind, other.gradient.kind}
        if kinds & {CARRIED, FILLED, UNKNOWN}:
            return UNKNOWN_DIFFERENCE
        if NONE in kinds:
            return SAME if kinds == {NONE} else UNLIKE
    if column.title == RATIO and not (row.exact and other.exact):
        return UNKNOWN_DIFFERENCE
    return difference(column.key(row), column.key(other))


def _ratio_words(figures: Figures) -> str:
    return "?" if not figures.exact else "" if figures.ratio is None else number(figures.ratio, 2)


def status_words(status: tuple[str, ...]) -> str:
    """What is odd about a parameter, in at most 15 characters."""
    return status[0] if len(status) == 1 else "no grad, no opt" if status else ""


COLUMNS = {
    "|p|": Column("|p|", 9, lambda row: _digits(row.norm), lambda row: row.norm),
    "|grad|": Column("|grad|", 11, lambda row: _gradient_words(row, row.gradient.norm), lambda row: row.gradient.norm),
    RATIO: Column(RATIO, 9, _ratio_words, lambda row: row.ratio),
    "sum": Column("sum", 9, lambda row: _digits(row.sum), lambda row: row.sum),
    "grad sum": Column(
        "grad sum", 11, lambda row: _gradient_words(row, row.gradient.sum), lambda row: row.gradient.sum
    ),
    "lr": Column("lr", 8, lambda row: _digits(row.rate), lambda row: row.rate),
    "status": Column("status", 15, lambda row: status_words(row.status), lambda row: float(bool(row.status)) or None),
}
_WIDE = 100  # cells from which on differences leave room for a curve
ORDER = ("name", "shape", *COLUMNS)


def ranked(
    parameters: Sequence[Parameter], by: str, figures_of: Callable[[Parameter], Figures], *, descending: bool
) -> Sequence[Parameter]:
    """`parameters` by one of `ORDER`; they come in the order of `name`. NaN is first, what has no figure last."""
    if by == "name":
        return list(reversed(parameters)) if descending else parameters
    if by == "shape":
        return sorted(parameters, key=lambda one: elements(one.shape), reverse=descending)
    key = COLUMNS[by].key

    def place(one: Parameter) -> tuple[bool, float]:
        value = key(figures_of(one))
        if value is None or math.isnan(value):
            return value is None, -math.inf
        return False, -value if descending else value

    return sorted(parameters, key=place)


def fitting(
    width: int, longest: int, wanted: Iterable[Column], more: int = 0, *, widest: int = 40
) -> tuple[int, list[Column], int]:
    """What a table `width` cells wide shows: (cells for the name, those of the wanted columns, cells for the curve).

    `longest` is how many cells the longest name has; each column is `more` cells wider, for what stands beside it.
    The curve has at most `widest` cells.
    """
    least, curve = (min(max(longest, 14), 26), SPARK) if width >= 60 else (12, 8 if width >= 40 else 0)
    curve = 0 if more and width < _WIDE and widest <= 40 else curve  # differences come first
    room = width - least - (curve + 1 if curve else 0)
    columns = []
    for column in (replace(one, width=one.width + more) for one in wanted):
        if column.width + 1 > room:
            break
        columns.append(column)
        room -= column.width + 1
    name = min(least + room, max(longest, least))
    return name, columns, min(curve + least + room - name, widest) if curve else 0
