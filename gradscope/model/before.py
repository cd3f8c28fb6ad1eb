"""Which tensors had a `.grad` when a step began: what the steps before it left."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeVar

from .moments import GradChange
from .records import StepRow, Tensor
from .source import TraceSource

V = TypeVar("V")
_BACK = 64  # steps that are looked at before one, at most
_KEPT = 256
_TELLS = {"created": False, "accumulated": True, "zeroed": True, "cleared": True}  # a change -> what was there before


@dataclass(frozen=True, slots=True)
class Grads:
    """Whether a `.grad` was there, by parameter and by number of a step's tensor; what is in neither is not known."""

    parameters: Mapping[int, bool] = field(default_factory=dict)
    tensors: Mapping[int, bool] = field(default_factory=dict)

    def of(self, tensor: Tensor) -> bool | None:
        found = self.tensors.get(tensor.number)
        return self.parameters.get(tensor.parameter) if found is None and tensor.parameter is not None else found


class GradsBefore:
    """Answers for the steps of one source. Asked for one step after another, it looks at each only once."""

    def __init__(self, source: TraceSource) -> None:
        self.source = source
        self._begun: OrderedDict[int, Grads] = OrderedDict()  # step -> what it began with
        self._changes: OrderedDict[int, Mapping[int, _Change]] = OrderedDict()

    def at(self, step: int) -> Grads:
        """What `step` began with."""
        numbers = self.source.step_numbers()
        place = bisect_left(numbers, step)
        path = [step]
        while path[-1] not in self._begun and len(path) <= _BACK:
            place -= 1
            if place < 0 or numbers[place] != path[-1] - 1:  # steps are missing in between, or the recording began
                break
            path.append(numbers[place])
        path.reverse()
        grads = self._begun.get(path[0]) or self._met(self.source.step_row(path[0]), self._first(path[0]), {})
        for earlier, later in pairwise(path):
            grads = self._following(earlier, grads, later)
            _keep(self._begun, later, grads)
        return grads

    def _first(self, step: int) -> Mapping[int, bool]:
        """At the start of the first step, what the recording saw being made has none; of the rest nothing is known.

        A leaf of the script becomes a parameter once a second step meets it, so steps before that do not tell.
        """
        numbers = self.source.step_numbers()
        if step > 0 or (numbers and numbers[0] != step):
            return {}
        parameters = self.source.parameters().values()
        return {one.id: False for one in parameters if one.stack is not None and one.role != "leaf"}

    def _following(self, earlier: int, before: Grads, later: int) -> Grads:
        """What `later` began with, if `earlier` is the step before it and began with `before`."""
        row, following = self.source.step_row(earlier), self.source.step_row(later)
        if row.light or row.open:  # what its lines did to gradients was not watched
            return self._met(following, {}, {})
        tensors, change = self.source.template(row.template).tensors, self._changes_of(row)
        parameters = dict(before.parameters)
        for tensor in tensors:
            left = change[tensor.number].left if tensor.number in change else before.of(tensor)
            if tensor.parameter is not None and left is not None:
                parameters[tensor.parameter] = left
        carried = {}
        for number, step, there in following.carried:
            if step == earlier and there < len(tensors):
                made_here = False if tensors[there].made_by is not None else before.of(tensors[there])
                left = change[there].left if there in change else made_here
                if left is not None:
                    carried[number] = left
        return self._met(following, parameters, carried)

    def _met(self, row: StepRow, parameters: Mapping[int, bool], carried: Mapping[int, bool]) -> Grads:
        """With what the step's own first changes tell: one that adds to a gradient found one."""
        own = {number: change.found for number, change in self._changes_of(row).items() if change.found is not None}
        tensors = self.source.template(row.template).tensors
        known = {tensors[number].parameter: found for number, found in own.items()}
        return Grads(
            {**parameters, **{one: found for one, found in known.items() if one is not None}}, {**carried, **own}
        )

    def _changes_of(self, row: StepRow) -> Mapping[int, _Change]:
        """What the step's moments did to the `.grad` of each tensor that they changed."""
        found = self._changes.get(row.template)
        if found is None or row.open:
            found = {}
            for moment in self.source.template(row.template).moments:
                if isinstance(moment, GradChange):
                    for tensor in moment.tensors:
                        first = found[tensor].found if tensor in found else _TELLS.get(moment.change)
                        found[tensor] = _Change(first, moment.has_grad)
            _keep(self._changes, row.template, found)
        return found


class _Change(NamedTuple):
    """What the first change of a `.grad` in a step found there (None: it does not tell), and what the last one left."""

    found: bool | None
    left: bool


def _keep(kept: OrderedDict[int, V], key: int, value: V) -> None:
    kept[key] = value
    if len(kept) > _KEPT:
        kept.popitem(last=False)
