"""`Measured`: whether a number that was taken at one moment of a step holds at another. Pure.

A step's row has one |p| and one |grad| for each parameter, taken just before an optimizer's update; of what none
updates, at the script's own first write after a backward, or at the step's end. Where that is not sure, all counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ..model.moments import Backward, GradChange, Moment, Mutation, OpCall, OptimizerStep, Template
from ..model.op_kinds import SHARES_MEMORY


class Measured:
    """Made once a step, linear in it."""

    def __init__(self, template: Template) -> None:
        self._storages = [tensor.storage for tensor in template.tensors]
        self._writes: dict[int, list[int]] = {}  # storage -> the moments that wrote it
        self._shared: dict[int, int] = {}  # storage -> since when something outside torch shares it
        self._updates: dict[int, list[int]] = {}  # tensor -> the moments at which an optimizer updated it
        self._grads: dict[int, list[int]] = {}  # tensor -> the moments that changed its .grad
        self._end = self._by_hand = len(template.moments) - 1
        backward = False
        for index, moment in enumerate(template.moments):
            self._read(index, moment)
            backward = backward or isinstance(moment, Backward)
            if backward and isinstance(moment, Mutation):
                self._by_hand = min(self._by_hand, index - 1)

    def _read(self, index: int, moment: Moment) -> None:
        for storage in {self._storages[number] for number in _written(moment)}:
            self._writes.setdefault(storage, []).append(index)
        if isinstance(moment, OpCall) and moment.name in SHARES_MEMORY:
            for number in (*moment.inputs, *moment.outputs):
                self._shared.setdefault(self._storages[number], index)
        elif isinstance(moment, GradChange):
            for number in moment.tensors:
                self._grads.setdefault(number, []).append(index)
        elif isinstance(moment, OptimizerStep):
            for number in moment.updated:
                self._updates.setdefault(number, []).append(index)

    def is_shared(self, storage: int, moment: int) -> bool:
        """Whether something outside torch, as a numpy array, shares a memory by `moment`, and may have written it."""
        return self._shared.get(storage, moment + 1) <= moment

    def written_between(self, storage: int, after: int, until: int) -> bool:
        """Whether a memory was written in place at a moment after `after`, up to `until`."""
        return _any_between(self._writes.get(storage, ()), after, until)

    def same_value(self, tensor: int, one: int, other: int) -> bool:
        """Whether a tensor surely has the same value at two moments."""
        storage, (first, last) = self._storages[tensor], sorted((one, other))
        return not self.is_shared(storage, last) and not self.written_between(storage, first, last)

    def row_has_value(self, tensor: int, moment: int) -> bool:
        """Whether the row's |p| is that of `moment`."""
        first, last = self._taken(tensor)
        return self.same_value(tensor, min(first, moment), max(last, moment))

    def row_has_gradient(self, tensor: int, moment: int) -> bool:
        """Whether the row's |grad| is that of `moment`."""
        first, last = self._taken(tensor)
        return not _any_between(self._grads.get(tensor, ()), min(first, moment), max(last, moment))

    def _taken(self, tensor: int) -> tuple[int, int]:
        """Between which moments the row's numbers were taken."""
        updates = self._updates.get(tensor)
        return (updates[0] - 1, updates[-1] - 1) if updates else (self._by_hand, self._end)


def _written(moment: Moment) -> Sequence[int]:
    """The tensors that a moment wrote in place."""
    if isinstance(moment, Mutation):
        return (moment.tensor, *moment.aliases)
    return moment.updated if isinstance(moment, OptimizerStep) else ()


def _any_between(moments: Sequence[int], after: int, until: int) -> bool:
    return bisect_right(moments, until) > bisect_right(moments, after)
