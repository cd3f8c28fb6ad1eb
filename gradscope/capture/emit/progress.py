"""The step that goes on, told part by part: each time what is new, so that telling costs as much as what happened.

What was told becomes the step's template when it closes. A step that repeats an earlier one has that one's template
instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from ...model.collector import collector_waits
from ...model.growth import Growth
from ...model.moments import ModuleCall
from ...model.records import Tensor
from ...model.source import TraceSink
from ..sites.call_sites import Sites
from ..step.draft import Draft
from ..step.tensor_registry import TensorTable
from .to_records import Names, graph_of, moment_of, template_of, tensor_at

_CALLS_GROW = 1.25  # all module calls are told again when there are so many times as many


@dataclass
class Told:
    """How much of a draft was told: of its tensors, moments and graphs, of its changes, returns and module calls."""

    draft: Draft
    size: tuple[int, int, int] = (0, 0, 0)
    changes: int = 0
    returns: int = 0
    calls: int = 0


class More(NamedTuple):
    """What is new, how much is told then, and what tensors are called because of it."""

    growth: Growth
    told: Told
    named: dict[int, str]


class Progress:
    """Tells the step in progress to `sink`. `template` is the id of its template as far as it got."""

    def __init__(self, sites: Sites, table: TensorTable, sink: TraceSink) -> None:
        self._sites, self._table, self._sink = sites, table, sink
        self._numbers = count()
        self.template = next(self._numbers)
        self._busy = False
        self._told: Told | None = None
        self._named: dict[int, str] = {}  # tensors that calls named as they returned
        self._lasting: dict[int, Tensor] = {}  # those told that outlive steps: they may get another name

    def forget(self) -> None:
        """What was told is no longer the beginning of anything."""
        if self._told is not None:
            self._told, self._named, self._lasting = None, {}, {}

    def tell(self, draft: Draft) -> None:
        """Tell what is new in the draft. Does nothing where a signal's handler comes here while it is told."""
        if self._busy:
            return
        self._busy = True
        try:
            with collector_waits():
                more = self.more(draft)
            self._sink.put_growth(more.growth)
            self._note(more)
        finally:
            self._busy = False

    def more(self, draft: Draft, *, closed: bool = False) -> More:
        """What is new in the draft. Noted nowhere, so another thread may ask, and throw the answer away.

        `closed`: it is all there will ever be.
        """
        told = self._told if self._told is not None and self._told.draft is draft else Told(draft)
        fresh = told.size == (0, 0, 0)
        names = Names(self._sites, self._table, {} if fresh else self._named)
        names.hear(draft.returns[told.returns :])
        size = listed = (len(draft.tensors), len(draft.moments), len(draft.graphs))
        places = [set(range(first, have)) for first, have in zip(told.size, listed)]
        places[0].update(names.new)
        for kind, place in draft.changed[told.changes :]:
            places[kind].add(place)
        tensors, moments, graphs = (sorted(place for place in one if place < have) for one, have in zip(places, listed))
        calls = _calls(draft, 0 if closed else told.calls)
        growth = Growth(
            self.template,
            fresh,
            size,
            tuple([tensor_at(draft, number, names) for number in tensors]),
            tuple([(place, moment_of(draft.moments[place])) for place in moments]),
            tuple([(place, graph_of(draft.graphs[place], draft.moments)) for place in graphs]),
            tuple(sorted(draft.bumps.items())),
            calls,
        )
        known = told.calls if calls is None else len(calls)
        now = Told(draft, size, len(draft.changed), len(draft.returns), known)
        return More(growth, now, names.new)

    def _note(self, more: More) -> None:
        if more.growth.fresh:
            self.forget()
        self._told = more.told
        self._named.update(more.named)
        self._lasting.update((one.number, one) for one in more.growth.tensors if one.parameter is not None)

    def finish(self, draft: Draft) -> int:
        """Tell the rest of a step that closes and that no earlier one is like. Returns its template's id."""
        told = self._told
        if told is None or told.draft is not draft:
            number = next(self._numbers)
            with collector_waits():
                template = template_of(draft, number, self._sites, self._table)
            self._sink.put_template(template)
            return number
        with collector_waits():
            more = self.more(draft, closed=True)
        self._note(more)
        names = Names(self._sites, self._table, self._named)
        lasting = (tensor_at(draft, number, names) for number in self._lasting)
        renamed = [one for one in lasting if one != self._lasting[one.number]]
        self._sink.put_growth(replace(more.growth, tensors=(*more.growth.tensors, *renamed)))
        number, self.template = self.template, next(self._numbers)
        self.forget()
        return number


def _calls(draft: Draft, told: int) -> tuple[ModuleCall, ...] | None:
    """All module calls, where there are many more than were told."""
    calls = draft.calls
    if told and len(calls) < told * _CALLS_GROW:
        return None
    return tuple([ModuleCall(*call) for call in calls])
