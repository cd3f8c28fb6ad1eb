"""`History`: every state of one step, each at the same cost, in whichever order they are asked for.

Equal to `State.at`, which replays from the step's start. A history is made in one pass over the step's
moments; a state taken from it is a view, so nothing is copied however large the step is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

from .recorded import RecordedStep
from .state import Draft, Modes, State, TensorState

T = TypeVar("T")


class History:
    """The states of `step`. Raises nothing that reading the step does not raise."""

    def __init__(self, step: RecordedStep) -> None:
        self.step = step
        journal = _Journal(step)
        for index in range(len(step.moments)):
            journal.add(index)
        self._start = journal.state
        self._tensors = journal.tensor_log
        self._modes = journal.mode_log
        self._backward = journal.backward_log
        self._failed = journal.failed_at
        self._ops = _Log(journal.op_log)
        self._ran = _Log(journal.run_log)

    def __len__(self) -> int:
        """How many moments the step has."""
        return len(self.step.moments)

    def at(self, moment: int) -> State:
        """The state right after `moment`, -1 for the start. Raises ValueError when there is no such moment."""
        moments = self.step.moments
        if not -1 <= moment < len(moments):
            raise ValueError(f"step {self.step.number} has moments 0 to {len(moments) - 1}, there is no {moment}")
        return State(
            step=self.step.number,
            moment=moment,
            phase=moments[moment].phase if moment >= 0 else None,
            tensors=_TensorsAt(self._start.tensors, self._tensors, moment),
            modes=self._modes.at(moment),
            ops=_Until(self._ops, moment),
            ran=_Until(self._ran, moment),
            backward=self._backward.at(moment),
            failed=self._failed is not None and self._failed <= moment,
        )

    def changes(self, tensor: int) -> Sequence[tuple[int, TensorState]]:
        """(moment, what the tensor is from then on) for each moment that changed it, in order."""
        log = self._tensors.get(tensor)
        return tuple(zip(log.moments, log.values, strict=True)) if log else ()

    def before(self, tensor: int) -> TensorState:
        """What the tensor was at the step's start."""
        return self._start.tensors[tensor]


class _Changes(Generic[T]):
    """A value over time: from `moments[i]` on it is `values[i]`, before the first `start`."""

    __slots__ = ("moments", "start", "values")

    def __init__(self, start: T) -> None:
        self.start = start
        self.moments: list[int] = []
        self.values: list[T] = []

    def note(self, moment: int, value: T) -> None:
        if self.moments and self.moments[-1] == moment:  # the last word of a moment counts
            self.moments.pop()
            self.values.pop()
        if value != (self.values[-1] if self.values else self.start):
            self.moments.append(moment)
            self.values.append(value)

    def at(self, moment: int) -> T:
        place = bisect_right(self.moments, moment)
        return self.values[place - 1] if place else self.start


class _Journal(Draft):
    """A draft that notes what each moment changed."""

    def __init__(self, step: RecordedStep) -> None:
        start = State.start(step)
        super().__init__(start, step)
        self.tensor_log: dict[int, _Changes[TensorState]] = {}
        self.mode_log: _Changes[Modes] = _Changes(start.modes)
        self.backward_log: _Changes[int | None] = _Changes(start.backward)
        self.op_log: dict[int, int] = {}
        self.run_log: dict[tuple[int, int], int] = {}
        self.failed_at: int | None = None

    def add(self, index: int) -> None:
        self.apply(index, self.step.moments[index])
        self.mode_log.note(index, self.modes)
        self.backward_log.note(index, self.backward)
        if self.failed and self.failed_at is None:
            self.failed_at = index
        for op in self._ops:
            self.op_log.setdefault(op, index)
        for run in self._ran:
            self.run_log.setdefault(run, index)
        self._ops.clear()
        self._ran.clear()

    def _put(self, tensor: int, now: TensorState) -> None:
        before = self._tensor(tensor)
        super()._put(tensor, now)
        if tensor not in self.tensor_log:
            self.tensor_log[tensor] = _Changes(before)
        self.tensor_log[tensor].note(self.moment, self._tensor(tensor))


class _Log(Generic[T]):
    """When each of some things first happened; `when` is in that order."""

    __slots__ = ("moments", "when")

    def __init__(self, when: dict[T, int]) -> None:
        self.when = when
        self.moments = list(when.values())


class _Until(AbstractSet[T]):
    """Those of a log that happened up to a moment."""

    __slots__ = ("_limit", "_log")

    def __init__(self, log: _Log[T], limit: int) -> None:
        self._log = log
        self._limit = limit

    def __contains__(self, item: object) -> bool:
        when = self._log.when.get(item)  # type: ignore[arg-type]  # asked for anything, as `in` is
        return when is not None and when <= self._limit

    def __len__(self) -> int:
        return bisect_right(self._log.moments, self._limit)

    def __iter__(self) -> Iterator[T]:
        for item, when in self._log.when.items():
            if when > self._limit:
                return
            yield item

    @classmethod
    def _from_iterable(cls, items: Iterable[T]) -> AbstractSet[T]:  # type: ignore[override]
        return frozenset(items)


class _TensorsAt(Mapping[int, TensorState]):
    """What each tensor is at a moment."""

    __slots__ = ("_log", "_moment", "_start")

    def __init__(self, start: Mapping[int, TensorState], log: Mapping[int, _Changes[TensorState]], moment: int) -> None:
        self._start = start
        self._log = log
        self._moment = moment

    def __getitem__(self, tensor: int) -> TensorState:
        changes = self._log.get(tensor)
        return self._start[tensor] if changes is None else changes.at(self._moment)

    def __len__(self) -> int:
        return len(self._start)

    def __iter__(self) -> Iterator[int]:
        return iter(self._start)
