"""Numbers as characters: sparklines, bars and curves, in Unicode or ASCII. Pure; no colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..text import cells, number

_LEVELS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by row and column
BAD = "!"  # stands for NaN and Inf

Values = Sequence["float | None"]


def spark(values: Values, *, ascii: bool = False, log: bool = False) -> str:
    """One character a value, the least at the bottom: a blank for None, `BAD` for what is not finite."""
    levels = _ASCII_LEVELS if ascii else _LEVELS
    low, high = bounds(values, log=log)
    return "".join(_level(value, low, high, levels, log) for value in values)


def _level(value: float | None, low: float, high: float, levels: str, log: bool) -> str:
    if value is None:
        return " "
    if not math.isfinite(value):
        return BAD
    return levels[min(int(_share(value, low, high, log) * len(levels)), len(levels) - 1)]


def bounds(values: Values, *, log: bool = False) -> tuple[float, float]:
    """The least and the greatest finite value (above 0, if `log`); (0, 0) when there is none."""
    finite = [value for value in values if value is not None and math.isfinite(value) and (value > 0 or not log)]
    return (min(finite), max(finite)) if finite else (0.0, 0.0)


def _share(value: float, low: float, high: float, log: bool = False) -> float:
    """Where `value` lies between `low` (0) and `high` (1); what is below the least on a log scale is at 0."""
    if log:
        if value <= 0 or low <= 0:
            return 0.0
        value, low, high = math.log(value), math.log(low), math.log(high)
    width = high - low
    if not width > 0:
        return 0.5
    share = value / width - low / width if math.isfinite(width) else value / 2 / (high / 2 - low / 2) - 0.0
    return min(max(share, 0.0), 1.0)


def log_bar(value: float, low: float, high: float, width: int, *, ascii: bool = False) -> str:
    """A bar from the left whose length is where `value` lies between `low` and `high` on a log scale.

    Nothing for 0, `BAD` for what is not finite; the least takes a cell. What lies outside stops at the scale's end.
    """
    if not math.isfinite(value):
        return BAD * width
    if value <= 0:
        return ""
    eighths = max(round(_share(value, low, high, log=True) * width * 8), 8)
    full, rest = divmod(eighths, 8)
    if ascii:
        return "#" * (full + (rest >= 4))
    return "█" * full + _EIGHTHS[rest].strip()


def buckets(values: Values, width: int) -> list[float | None]:
    """`values` in at most `width` parts, each its mean; not finite where one of the part's values is not."""
    count = len(values)
    if count <= width:
        return list(values)
    means: list[float | None] = []
    for place in range(width):
        part = [value for value in values[place * count // width : (place + 1) * count // width] if value is not None]
        means.append(sum(part) / len(part) if part else None)
    return means


def bars(rows: Sequence[tuple[str, float | None, str]], width: int, *, ascii: bool = False) -> list[str]:
    """A line a row: its label, a bar from the common zero line, its words. `width` is of the whole line."""
    label = max((cells(name) for name, _, _ in rows), default=0)
    words = max((cells(note) for _, _, note in rows), default=0)
    room = max(width - label - words - 3, 8)
    finite = [value for _, value, _ in rows if value is not None and math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    zero = round(_share(0.0, low, high) * room) if high > low else 0
    lines = []
    for name, value, note in rows:
        drawn = _bar(value, low, high, zero, room, ascii)
        lines.append(f"{name}{' ' * (label - cells(name))} {drawn} {' ' * (words - cells(note))}{note}".rstrip())
    return lines


def _bar(value: float | None, low: float, high: float, zero: int, room: int, ascii: bool) -> str:
    line = "|" if ascii else "│"
    full = "#" if ascii else "█"
    if value is None or not math.isfinite(value):
        return _with_zero(" " * room, zero, line)
    end = _share(value, low, high) * room if high > low else zero
    first, last = sorted((zero, round(end)))
    drawn = " " * first + full * (last - first) + " " * (room - last)
    if value > 0 and not ascii and last < room and end > last:
        drawn = drawn[:last] + _EIGHTHS[int((end - last) * 8)] + drawn[last + 1 :]
    return _with_zero(drawn, zero, line)


def _with_zero(drawn: str, zero: int, line: str) -> str:
    return drawn[:zero] + line + drawn[zero:]


def curve(values: Values, width: int, height: int, *, ascii: bool = False, log: bool = False) -> list[str]:
    """A plot of `values` from left to right: `height` lines of `width`, with the scale at the left."""
    low, high = bounds(values, log=log)
    labels = [number(high, 3), number(low, 3)]
    margin = max(map(len, labels)) + 1
    room = max(width - margin, 4)
    across, up = (1, 1) if ascii else (2, 4)
    points = _stretched(buckets(values, room * across), room * across)
    grid = [[0] * room for _ in range(height)]
    bad = [False] * room
    before: int | None = None
    for column, value in enumerate(points):
        if value is None or not math.isfinite(value):
            bad[column // across] |= value is not None
            before = None
            continue
        level = round(_share(value, low, high, log) * (height * up - 1))
        for reached in _between(before, level):
            line = height - 1 - reached // up
            grid[line][column // across] |= 1 if ascii else _DOTS[up - 1 - reached % up][column % across]
        before = level
    drawn = [_plotted(line, ascii) for line in grid]
    if any(bad):
        drawn[0] = "".join(BAD if lost else sign for lost, sign in zip(bad, drawn[0]))
    edge = [labels[0].rjust(margin - 1), *[" " * (margin - 1)] * (height - 2), labels[1].rjust(margin - 1)]
    return [f"{scale} {line}".rstrip() for scale, line in zip(edge[:height], drawn)]


def _stretched(points: list[float | None], width: int) -> list[float | None]:
    """`points` over `width` columns, straight lines between them."""
    if not 1 < len(points) < width:
        return points
    found: list[float | None] = []
    for column in range(width):
        place, part = divmod(column * (len(points) - 1), width - 1)
        here, following = points[place], points[min(place + 1, len(points) - 1)]
        if not part or here is None or following is None or not math.isfinite(here + following):
            found.append(here if not part or 2 * part < width else following)
        else:
            found.append(here + (following - here) * (part / (width - 1)))
    return found


def _between(before: int | None, level: int) -> range:
    """The levels that join a point to the one before it."""
    if before is None or abs(before - level) <= 1:
        return range(level, level + 1)
    return range(level, before) if before > level else range(before + 1, level + 1)


def _plotted(line: Sequence[int], ascii: bool) -> str:
    if ascii:
        return "".join("*" if dots else " " for dots in line)
    return "".join(chr(0x2800 + dots) if dots else " " for dots in line)
