"""Steps that were the same but for their numbers, on their way from the recorder to what keeps them.

One object for many steps, growing: handing over a row for each, to another thread, costs more than all else of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from .records import StepRow


class Repeats:
    """Steps that are like `row`. The one who writes them adds, and the one who keeps them takes, in any thread.

    The numbers of a step are its number, start, duration and loss (0 where `row` has none), then as in `row`, in its
    order: start and duration of each phase, the learning rates, norm and gradient norm of each parameter, distances.
    What it carried was met last as many steps before as what `row` carried.
    """

    LIMIT = 512  # steps
    __slots__ = ("_numbers", "_taken", "over", "row", "width")

    def __init__(self, row: StepRow) -> None:
        self.row = row
        self.width = 4 + 2 * len(row.phases) + len(row.learning_rates) + 2 * len(row.norms) + len(row.distances)
        self.over = False  # nothing is added any more
        self._numbers = array("d")
        self._taken = 0

    def add(self, numbers: Sequence[float]) -> None:
        """Add a step; there are `width` numbers."""
        self._numbers.extend(array("d", numbers))
        if len(self._numbers) >= self.LIMIT * self.width:
            self.over = True

    def waiting(self) -> bool:
        """Whether steps were added that nobody took yet."""
        return len(self._numbers) > self._taken

    def take(self) -> array[float]:
        """The numbers of the steps that were added since the last call."""
        new = self._numbers[self._taken :]
        self._taken += len(new)
        return new


def carried_at(row: StepRow, number: int) -> tuple[tuple[int, int, int], ...]:
    """What the step `number`, which is like `row`, carried."""
    return tuple([(tensor, step + number - row.number, old) for tensor, step, old in row.carried])


def step_like(row: StepRow, number: int, numbers: Sequence[float]) -> StepRow:
    """The step of that number which is like `row`. `numbers`: its others, as `Repeats` has them."""
    start, duration, loss, *others = numbers
    values = iter(others)
    return row._replace(
        number=number,
        start=start,
        duration=duration,
        loss=None if row.loss is None else loss,
        phases=tuple([span._replace(start=next(values), duration=next(values)) for span in row.phases]),
        learning_rates=tuple([(*rate[:2], next(values)) for rate in row.learning_rates]),
        norms=tuple([(norm[0], next(values), next(values)) for norm in row.norms]),
        distances=tuple([(parameter, next(values)) for parameter, _ in row.distances]),
        carried=carried_at(row, number),
        versions=(),
    )


def rows_of(repeats: Repeats) -> Iterator[StepRow]:
    """The steps that were added since somebody took some."""
    row, numbers = repeats.row, repeats.take()
    for at in range(0, len(numbers), repeats.width):
        yield step_like(row, int(numbers[at]), numbers[at + 1 : at + repeats.width])
