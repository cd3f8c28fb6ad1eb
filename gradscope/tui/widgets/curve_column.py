"""`CurveColumn`: the last column of the parameters' table, a curve of each gradient's norm over the steps."""

from __future__ import annotations

from collections.abc import Sequence

from textual import work
from textual.worker import get_current_worker

from ...errors import GradscopeError
from ...model.trace import Trace
from ..columns import SPARK
from ..messages import Notice
from ..plots import buckets, spark
from ..scene import Scene
from .rows import Rows

_KEPT = 400  # parameters whose curves are kept
_GROWN = 1.02  # a running trace's curves are read anew when it has so many times the steps


class CurveColumn(Rows):
    """Rows with curves, which are read in a worker for the rows that are seen. Override `curve_came`."""

    def __init__(self, *, head: int, id: str | None = None) -> None:
        super().__init__(head=head, id=id)
        self.scene: Scene | None = None
        self._curves: dict[int, tuple[int, Sequence[float | None]]] = {}  # with how many steps there were
        self._wanted_curves: dict[int, None] = {}
        self._reading = False

    def curve_came(self, parameter: int) -> None:
        """The curve of a parameter was read."""

    def spark(self, parameter: int, width: int) -> str:
        """The curve of a parameter, blank until it is read."""
        assert self.scene is not None
        if parameter < 0:  # a leaf of this step alone
            return " " * width
        steps, curve = self._curves.get(parameter, (0, ()))
        if len(self.scene.step_numbers) > steps * _GROWN:
            if not self._wanted_curves:
                self.call_after_refresh(self._read_curves)
            self._wanted_curves[parameter] = None
        return spark(buckets(curve, width), ascii=self.scene.ascii, log=True).ljust(width)

    def _read_curves(self) -> None:
        if self.scene is not None and not self._reading:
            self._reading = True
            self._read(self.scene.trace, len(self.scene.step_numbers))

    @work(thread=True, group="series")
    def _read(self, trace: Trace, steps: int) -> None:
        """Read the curves of the rows that were seen last, until all wanted ones are there."""
        worker = get_current_worker()
        try:
            while (wanted := list(self._wanted_curves)) and not worker.is_cancelled:
                series = trace.source.series(wanted[-1])
                curve = buckets([gradient for _, _, gradient in series], 4 * SPARK)
                if not worker.is_cancelled:
                    self.app.call_from_thread(self._keep, wanted[-1], steps, curve)
        except GradscopeError as error:
            self._wanted_curves = {}
            self.post_message(Notice(str(error), "error"))
        if not worker.is_cancelled:
            self.app.call_from_thread(self._have_read)

    def _have_read(self) -> None:
        self._reading = False
        if self._wanted_curves:
            self._read_curves()

    def _keep(self, parameter: int, steps: int, curve: Sequence[float | None]) -> None:
        self._wanted_curves.pop(parameter, None)
        if len(self._curves) >= _KEPT:
            self._curves.pop(next(iter(self._curves)))
        self._curves[parameter] = (steps, curve)
        self.curve_came(parameter)
