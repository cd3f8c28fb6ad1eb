"""The loss of a step, from what its backwards began at: a scaled loss, or one share of several that add up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from .draft import Draft
from .raw import Called, GradChanged, RawMoment

_DIVISIONS = frozenset({"div", "div_", "divide", "divide_", "true_divide", "true_divide_"})
SCALINGS = _DIVISIONS | {"mul", "mul_", "multiply", "multiply_"}
_ENDS = ("zeroed", "cleared")  # changes of gradients after which other losses are summed


class _Part(NamedTuple):
    """One backward's share of a loss: `value` is the loss times `weight`, which is None where it is not known."""

    stack: int | None
    root: int | None
    value: float | None  # None: the device owes it
    weight: float | None


class Losses:
    """Tells the loss of steps that close, in order: an earlier step shows which weights at a line are shares."""

    def __init__(self) -> None:
        self._shares: set[tuple[int | None, float]] = set()

    def of(self, draft: Draft) -> float | None:
        """The loss that the step's last update (or its last backwards) was for; None where it cannot be known."""
        lines: dict[int | None, dict[int | None, _Part]] = {}
        for place, part in enumerate(_last_parts(draft)):
            root = part.root if part.root is not None else -1 - place
            lines.setdefault(part.stack, {}).setdefault(root, part)
        losses = [self._of_line(stack, list(parts.values())) for stack, parts in lines.items()]
        known = [loss for loss in losses if loss is not None]
        return sum(known) if known and len(known) == len(losses) else None

    def _of_line(self, stack: int | None, parts: Sequence[_Part]) -> float | None:
        """The mean of the losses that one line's backwards began at."""
        weights = [part.weight for part in parts if part.weight is not None]
        values = [part.value for part in parts if part.value is not None]
        whole = math.isclose(sum(weights), 1.0, rel_tol=0.01)
        alike = len(parts) == len(weights) and len(set(weights)) == 1
        if alike and whole and len(parts) > 1:
            self._shares.add((stack, weights[0]))
        if len(values) < len(parts):
            return None
        if (alike and (stack, weights[0]) in self._shares) or (set(weights) == {1.0} and alike):
            return sum(values) / sum(weights)
        if len(parts) == 1:
            return values[0]  # its own weight, as in 0.5 * mse, is a part of it
        return sum(values) if whole and len(weights) == len(parts) else None


def note_factor(draft: Draft, name: str, given: Sequence[Any], result: Any) -> None:
    """The next moment is an op of `SCALINGS`: keep the number by which it multiplied what may be a loss."""
    numbers = [value for value in given if type(value) in (int, float)]
    if len(given) != 2 or len(numbers) != 1 or type(result) is not torch.Tensor or result.dim():
        return
    number = float(numbers[0])
    if name in _DIVISIONS:
        number = 1.0 / number if number else math.nan
    draft.factors.append((draft.length, number))


def _last_parts(draft: Draft) -> Iterator[_Part]:
    """The backwards whose gradients were summed last, the last one first."""
    moments = draft.moments if draft.matched is None else draft.matched.moments
    walk = _Walk(moments, dict(draft.scaled), dict(draft.factors))
    end = None
    for index, cell in reversed(draft.losses):
        if end is not None and any(map(_ends_a_sum, moments[index:end])):
            return
        end = index
        yield walk.part(index, cell)


def _ends_a_sum(moment: RawMoment) -> bool:
    done = moment.payload
    return moment.kind in ("optimizer", "zero_grad") or (isinstance(done, GradChanged) and done.change in _ENDS)


class _Walk:
    """From a backward's root back through what multiplied the loss by a number."""

    def __init__(
        self, moments: Sequence[RawMoment], scaled: Mapping[int, list[float]], factors: Mapping[int, float]
    ) -> None:
        self.moments, self.scaled, self.factors = moments, scaled, factors

    def part(self, index: int, cell: list[float]) -> _Part:
        """The part of the backward at `index`, which began at the number in the cell."""
        stack, roots = self.moments[index].stack, self.moments[index].inputs
        root = current = roots[0] if roots else None
        weight: float | None = 1.0
        outside: float | None = 1.0  # the weight since a GradScaler scaled
        place = index
        while place > 0:
            place -= 1
            moment = self.moments[place]
            done = moment.payload
            if place in self.scaled and self._returned_by_scaler(place, current):
                cell, outside = self.scaled[place], weight
                place -= 1  # the scaler's own multiplication
                multiplied = self.moments[place]
                current = multiplied.inputs[0] if multiplied.outputs else None
            elif isinstance(done, Called) and current in moment.outputs:
                if done.name not in SCALINGS:
                    break
                factor = self.factors.get(place) if len(moment.inputs) == 1 else None
                weight = None if factor is None or weight is None else weight * factor
                current = moment.inputs[0]
        else:
            weight = None  # what made it was not seen
        return _Part(stack, root, cell[0] * outside if cell and outside is not None else None, weight)

    def _returned_by_scaler(self, place: int, current: int | None) -> bool:
        """Whether the `scale` that returned at `place` gave this tensor; taken so where no op was recorded."""
        before = self.moments[place - 1] if place else None
        return before is None or before.kind != "op" or before.outputs in ((), (current,))
