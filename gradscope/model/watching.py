"""Which steps were watched op by op, and what every reader says of those that were not.

An exact step has all its ops. A matched step passed the same stations as an exact one did; its numbers are its own.
A light step has numbers, backwards, updates and clearings, and no ops.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import NamedTuple

from .records import Detail, StepRow, TraceInfo


class Unwatched(NamedTuple):
    """Of a step whose single ops were not watched: what is known instead, and what records them."""

    told: str
    command: str

    def __str__(self) -> str:
        return f"{self.told} ({self.command} records them)"


class Watched(NamedTuple):
    """How many steps were recorded in which way."""

    exact: int
    matched: int
    light: int


def count_watched(rows: Iterable[StepRow]) -> Watched:
    """How many of some steps are exact, matched and light."""
    exact = matched = light = 0
    for row in rows:
        exact += row.watched
        matched += row.detail is Detail.MATCHED
        light += row.light
    return Watched(exact, matched, light)


def unwatched(info: TraceInfo, row: StepRow, same_as: int | None) -> Unwatched | None:
    """What is to be said of a step; None of an exact one. `same_as`: the exact step that it is matched with."""
    if row.watched:
        return None
    told = "its ops were not recorded"
    if row.detail is Detail.MATCHED:
        step = f"step {same_as}" if same_as is not None else "an earlier step"
        told = f"as {step}; its single ops were not watched"
    return Unwatched(told, recorded_in_full(info, max(0, row.number)))


def recorded_in_full(info: TraceInfo, step: int) -> str:
    """What records that step of the same program with every op and its statistics."""
    if not info.script:
        return f'record(steps=({step}, {step + 1}), detail="full")'
    return f"gradscope trace --steps {step}:{step + 1} --detail full {_program(info)}"


def recorded_exactly(info: TraceInfo) -> str:
    """What records each op of each step of the same program."""
    return f"gradscope trace --budget none {_program(info)}" if info.script else 'record(detail="graph")'


def _program(info: TraceInfo) -> str:
    module = info.script.startswith("-m ")
    return " ".join([info.script if module else shlex.quote(info.script), *map(shlex.quote, info.arguments)])
