"""Who switched gradients off: the line behind each op that ran without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...model.moments import ModeChange, OpCall
from ...model.trace import Step
from .index import Case, once_a_case, once_a_step


class Switch(NamedTuple):
    """The switch that put a stretch of a step into a mode: which mode, and the stack of the line that did."""

    mode: str
    stack: int | None
    step: int
    moment: int


@once_a_step
def switches(case: Case, step: Step) -> Mapping[int, Switch | None]:
    """For each op of a step that ran without gradients: what switched them off."""
    stack: dict[str, Switch | None] = {"grad": None, "inference": None}
    before = _modes_before(case).get(step.row.template)
    if before is not None:
        stack.update(before)
    found: dict[int, Switch | None] = {}
    for index, moment in enumerate(step.moments):
        if isinstance(moment, ModeChange):
            _apply(stack, moment, step.number, index)
        elif isinstance(moment, OpCall) and not moment.grad_enabled:
            found[index] = stack["inference"] or stack["grad"]
    return found


def _apply(state: dict[str, Switch | None], moment: ModeChange, step: int, index: int) -> None:
    off = {"grad": "off", "inference": "on"}.get(moment.mode)
    if off is not None:
        state[moment.mode] = Switch(moment.mode, moment.stack, step, index) if moment.value == off else None


@once_a_case
def _modes_before(case: Case) -> Mapping[int, Mapping[str, Switch | None]]:
    """What was switched off when each template's first step began."""
    known: dict[int, Mapping[str, Switch | None]] = {}
    state: dict[str, Switch | None] = {"grad": None, "inference": None}
    last: dict[int, list[tuple[int, ModeChange]]] = {}
    for row in case.rows:
        step = case.like(row.number)
        if step is None:
            continue
        if row.template not in last:
            known[row.template] = dict(state)
            last[row.template] = [(event.position, event.moment) for event in case.events(ModeChange, step)]
        for position, moment in last[row.template]:
            _apply(state, moment, row.number, position)
    return known
