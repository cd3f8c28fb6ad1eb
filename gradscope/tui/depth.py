"""`Depth`: the parameters in the order in which the step reads them, and the scale of its gradients' norms. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.records import Parameter
from .figures import NONE, ZERO, Figures, StepFigures
from .plots import bounds, log_bar
from .touches import Touch, Touches


class Depth:
    """Making it is linear in the step's parameters."""

    def __init__(self, figures: StepFigures, touches: Touches) -> None:
        self.figures = figures
        self._touches = touches
        self.low, self.high = bounds(list(figures.gradient_norms()), log=True)

    def along(self, parameters: Sequence[Parameter]) -> Sequence[Parameter]:
        """From the input on; what the step does not read comes last, as it came."""
        return sorted(parameters, key=self._place)

    def _place(self, parameter: Parameter) -> float:
        tensor = self.figures.tensor_of.get(parameter.id)
        events = self._touches.of(tensor) if tensor is not None else ()
        return next((event.moment for event in events if event.touch is Touch.READ), float("inf"))

    def bar(self, row: Figures, width: int, *, ascii: bool) -> str:
        """A gradient's norm on the step's scale; in a word where it has none or that is not known."""
        norm = row.gradient.norm
        if "buffer" in row.status:
            return ""
        if norm is not None and row.gradient.kind != ZERO:
            return log_bar(norm, self.low, self.high, width, ascii=ascii)
        words = {NONE: "None", ZERO: "0"}.get(row.gradient.kind, "not known")
        return next((word for word in row.status if word == "frozen"), words)
