"""The derivative that a custom Function's backward gives, beside the slope of what its forward returned.

For a function of each element by itself, `y = f(x)`, the results of one call already hold its slope: sorted by x,
neighbours give a secant. The backward's own derivative is the gradient out over the gradient in. Nothing is run
a second time, and only copies of small tensors are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from .askable import dense, readable
from .tensor_facts import count_of

_MOST = 4096  # elements that are copied
_LEAST = 8  # elements of one curve that say anything
_CURVES = 4  # columns looked at, where another input has one value for each column
_KEPT = 16
_BEND = 0.2  # how far the secants to both sides of a point may differ where the function counts as smooth


class Probe:
    """The values of one call: x, y, and along which columns y is a function of x alone."""

    __slots__ = ("columns", "shape", "x", "y")

    def __init__(self, x: list[float], y: list[float], shape: torch.Size, columns: int) -> None:
        self.x, self.y, self.shape, self.columns = x, y, shape, columns

    @classmethod
    def of(cls, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> Probe | None:
        """The probe of a call whose first input and only output have equal shapes; None for others."""
        if len(outputs) != 1 or not inputs:
            return None
        if not all(map(readable, (inputs[0], outputs[0]))) or not (
            inputs[0].requires_grad and outputs[0].requires_grad
        ):
            return None
        x, y = dense(inputs[0]), dense(outputs[0])
        fits = x.shape == y.shape and _LEAST <= x.numel() <= _MOST and x.is_cpu and y.is_cpu
        if not fits or not (x.is_floating_point() and y.is_floating_point()):
            return None
        others = [count_of(one) for one in inputs[1:]]
        if any(count is None or count > x.shape[-1] for count in others):
            return None
        columns = x.shape[-1] if x.dim() > 1 and any(count != 1 for count in others) else 1
        return cls(x.flatten().tolist(), y.flatten().tolist(), x.shape, columns)

    def compare(self, incoming: torch.Tensor, outgoing: torch.Tensor) -> tuple[float, ...] | None:
        """Up to 16 triples (x, derivative given, slope), flat; None where too little of f is smooth."""
        if not (readable(incoming, passing=True) and readable(outgoing, passing=True)):
            return None
        into, out = dense(incoming), dense(outgoing)
        if into.shape != self.shape or out.shape != self.shape:
            return None
        given = zip(out.flatten().tolist(), into.flatten().tolist())
        derivatives = [out / into if into and math.isfinite(into) else math.nan for out, into in given]
        points = [point for column in range(min(self.columns, _CURVES)) for point in self._curve(column, derivatives)]
        if len(points) < _LEAST:
            return None
        step = max(1, len(points) // _KEPT)
        return tuple(number for point in points[::step][:_KEPT] for number in point)

    def _curve(self, column: int, derivatives: Sequence[float]) -> Iterator[tuple[float, float, float]]:
        """The smooth points of one curve; none if most of it is not smooth, for then y depends on more than x."""
        places = sorted(range(column, len(self.x), self.columns), key=self.x.__getitem__)
        found: list[tuple[float, float, float]] = []
        tried = 0
        for before, here, after in zip(places, places[1:], places[2:]):
            left, right = self._slope(before, here), self._slope(here, after)
            if left is None or right is None or math.isnan(derivatives[here]):
                continue
            tried += 1
            middle = (left + right) / 2
            if abs(left - right) <= _BEND * max(abs(left), abs(right)):
                found.append((self.x[here], derivatives[here], middle))
        if tried >= _LEAST and len(found) >= 0.6 * tried:
            yield from found

    def _slope(self, one: int, other: int) -> float | None:
        run = self.x[other] - self.x[one]
        enough = run > 1e-4 * max(1.0, abs(self.x[one]))  # below, rounding drowns the difference
        return (self.y[other] - self.y[one]) / run if enough else None
