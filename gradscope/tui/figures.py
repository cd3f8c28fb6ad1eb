"""A parameter's figures at a moment: its value and its gradient, as the step's samples and moments tell. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..model.moments import Backward, GradChange, OptimizerStep
from ..model.records import Parameter, Phase, Sample, Stats
from ..model.samples import SampleIndex
from ..model.state import State, TensorState
from ..model.trace import Step, Trace
from .measured import Measured
from .own_leaves import own_leaves

NONE, ZERO, KNOWN, CARRIED, FILLED, UNKNOWN = "none", "zero", "known", "carried", "filled", "unknown"
FIVE = (Phase.ZERO_GRAD, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER_STEP)


@dataclass(frozen=True, slots=True)
class Gradient:
    """A `.grad`. `kind`: NONE, ZERO, KNOWN (its norm at least), CARRIED (there since before the step; its numbers are
    not known), FILLED (by this step; the same), UNKNOWN (not even whether there is one).
    """

    kind: str
    norm: float | None = None
    sum: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a row of the table shows. `ratio` is how far the last update moved the parameter, by its norm.

    None before an update, and where that was not measured: then it is not `exact`. `status`: frozen, no grad, …
    """

    norm: float | None
    sum: float | None
    gradient: Gradient
    ratio: float | None
    exact: bool
    rate: float | None
    status: tuple[str, ...]


class StepFigures:
    """The figures of one step's parameters. Making it is linear in the step; asking it is not.

    `beside` is what the steps before and after tell of it. `leaves` are those of this step alone, `owners` the
    parameters by their tensors.
    """

    def __init__(self, step: Step, samples: SampleIndex, beside: Beside | None = None) -> None:
        self.step = step
        self.samples = samples
        self.before = beside.before if beside is not None else None
        self._norms_after = beside.norms_after if beside is not None else {}
        self.tensor_of = {tensor.parameter: tensor.number for tensor in step.tensors if tensor.parameter is not None}
        own = own_leaves(step)
        self.tensor_of.update((one.id, number) for number, one in own.items())
        self.leaves = tuple(one for one in own.values() if one.id < 0)
        self.owners = {tensor: parameter for parameter, tensor in self.tensor_of.items()}
        self._norms = {parameter: (norm, grad) for parameter, norm, grad in step.row.norms}
        self._changes: dict[int, list[tuple[int, str]]] = defaultdict(list)
        self._distances = dict(step.row.distances)
        self._updates: dict[int, list[int]] = defaultdict(list)  # tensor -> the moments of its updates
        self._measured = Measured(step.template)
        self._backward_end: int | None = None
        backward = False
        wanted = set(self.tensor_of.values())
        for index, moment in enumerate(step.moments):
            if isinstance(moment, GradChange):
                for tensor in wanted.intersection(moment.tensors):
                    self._changes[tensor].append((index, moment.change))
            elif isinstance(moment, OptimizerStep):
                for tensor in wanted.intersection(moment.updated):
                    self._updates[tensor].append(index)
            elif isinstance(moment, Backward):
                backward = True
            if backward and moment.phase is Phase.BACKWARD:
                self._backward_end = index
        self.unmeasured = not all(self._ratio(parameter, len(step.moments))[1] for parameter in self.tensor_of)
        optimizers = step.trace.source.optimizers()
        self.optimized = bool(optimizers)
        rates = {(optimizer, group): rate for optimizer, group, rate in step.row.learning_rates}
        self._rates: Mapping[int, float] = {
            parameter: rates[optimizer.id, place]
            for optimizer in optimizers.values()
            for place, group in enumerate(optimizer.groups)
            if (optimizer.id, place) in rates
            for parameter in group
        }
        self._plain = {parameter for one in optimizers.values() for group in one.groups for parameter in group}

    def of(self, parameter: Parameter, state: State) -> Figures:
        """A parameter's figures in `state`, a state of this step."""
        value = self.value(parameter.id, state.moment)
        ratio, exact = self._ratio(parameter.id, state.moment)
        norm = value.norm if value is not None else self._norm(parameter.id, state.moment)
        return Figures(
            norm=norm,
            sum=value.sum if value is not None else None,
            gradient=self.gradient(parameter.id, state),
            ratio=ratio,
            exact=exact,
            rate=self._rates.get(parameter.id),
            status=self._status(parameter, state),
        )

    def value(self, parameter: int, moment: int) -> Stats | None:
        """The parameter's statistics at `moment`, if it had the same value when they were taken."""
        found, tensor = self._samples(parameter, "value"), self.tensor_of.get(parameter)
        if not found or tensor is None:
            return None
        place = max(bisect_right(found, moment, key=lambda sample: sample.moment) - 1, 0)
        return found[place].stats if self._measured.same_value(tensor, found[place].moment, moment) else None

    def _norm(self, parameter: int, moment: int) -> float | None:
        """|p| where it was not sampled: of this step's row, of the one after, or of the one before."""
        tensor, end = self.tensor_of.get(parameter), len(self.step.moments) - 1
        if tensor is None:
            return self._norms.get(parameter, (None, None))[0]
        if self._measured.row_has_value(tensor, moment):
            return self._norms.get(parameter, (None, None))[0]
        if tensor in self._updates and self._measured.same_value(tensor, moment, end):
            return self._norms_after.get(parameter)
        starts = self.before is not None and self._measured.same_value(tensor, -1, moment)
        return self.before.norm_left(parameter) if starts and self.before is not None else None

    def norm_left(self, parameter: int) -> float | None:
        """|p| at the step's end, as far as this step tells."""
        tensor, end = self.tensor_of.get(parameter), len(self.step.moments) - 1
        holds = tensor is None or self._measured.row_has_value(tensor, end)
        return self._norms.get(parameter, (None, None))[0] if holds else None

    def gradient(self, parameter: int, state: State) -> Gradient:
        """The parameter's `.grad` in `state`."""
        tensor = self.tensor_of.get(parameter)
        if tensor is None:
            return self._untouched(parameter)
        has_grad = state.tensors[tensor].has_grad
        if has_grad is False:
            return Gradient(NONE)
        changes = self._changes.get(tensor, [])
        place = bisect_right(changes, (state.moment, "\uffff")) - 1
        if place >= 0:
            return self._changed(parameter, changes[place], state.moment)
        if has_grad is None:
            return Gradient(UNKNOWN)
        found = self.before.left(parameter) if self.before is not None else Gradient(UNKNOWN)
        return found if found.kind in (ZERO, KNOWN) else Gradient(CARRIED)

    def gradient_norms(self) -> Iterator[float]:
        """The norms that a `.grad` is known to have at some moment of the step."""
        rows = (self._norms, self.before._norms if self.before is not None else {})
        yield from (norm for row in rows for _, norm in row.values() if norm is not None)
        for tensor in self.owners:
            for sample in self.samples.of(self.step.tensors[tensor], "grad"):
                if sample.stats is not None:
                    yield sample.stats.norm

    def left(self, parameter: int) -> Gradient:
        """The parameter's `.grad` at the step's end."""
        tensor = self.tensor_of.get(parameter)
        changes = self._changes.get(tensor, []) if tensor is not None else []
        return (
            self._changed(parameter, changes[-1], len(self.step.moments) - 1) if changes else self._untouched(parameter)
        )

    def _untouched(self, parameter: int) -> Gradient:
        norm = self._norms.get(parameter, (None, None))[1]
        return Gradient(KNOWN if norm is not None else UNKNOWN, norm)

    def _changed(self, parameter: int, change: tuple[int, str], moment: int) -> Gradient:
        """The gradient that a change left, as of a later `moment` without another change."""
        last, what = change
        if what == "cleared":
            return Gradient(NONE)
        if what == "zeroed":
            return Gradient(ZERO, 0.0, 0.0)
        sample = self._last_gradient(parameter, moment, last)
        if sample is not None and sample.stats is not None:
            return Gradient(KNOWN, sample.stats.norm, sample.stats.sum)
        tensor = self.tensor_of.get(parameter)
        if tensor is not None and not self._measured.row_has_gradient(tensor, moment):
            return Gradient(FILLED)
        return self._untouched(parameter)

    def _last_gradient(self, parameter: int, moment: int, since: int) -> Sample | None:
        found = self._samples(parameter, "grad")
        place = bisect_right(found, moment, key=lambda sample: sample.moment) - 1
        return found[place] if place >= 0 and found[place].moment >= since else None

    def _samples(self, parameter: int, what: str) -> Sequence[Sample]:
        tensor = self.tensor_of.get(parameter)
        return self.samples.of(self.step.tensors[tensor], what) if tensor is not None else ()

    def _ratio(self, parameter: int, moment: int) -> tuple[float | None, bool]:
        """|update| / |parameter| of the last update up to `moment`, and whether that is all there is to know."""
        updates = self._updates.get(self.tensor_of.get(parameter, -1), [])
        done = bisect_right(updates, moment)
        if not done:
            return None, True
        norm, distance = self._norms.get(parameter, (None, None))[0], self._distances.get(parameter)
        ratio = self._ratio_of_values(parameter, updates[done - 1], moment)
        if ratio is None and done == len(updates) and norm is not None and distance is not None:
            ratio = _ratio(distance, norm)
        return ratio, ratio is not None

    def _ratio_of_values(self, parameter: int, update: int, moment: int) -> float | None:
        """The same of a parameter whose values are known before and after the update."""
        found = self._samples(parameter, "value")
        place = bisect_right(found, moment, key=lambda sample: sample.moment) - 1
        if place < 1 or found[place].moment < update:
            return None
        before, after = found[place - 1].values, found[place].values
        return None if before is None or after is None else _ratio(math.dist(before, after), math.hypot(*before))

    def _status(self, parameter: Parameter, state: State) -> tuple[str, ...]:
        if parameter.role == "buffer":
            return ("buffer",)
        tensor = self.tensor_of.get(parameter.id)
        now = state.tensors[tensor] if tensor is not None else None
        if not (now.requires_grad if now is not None else parameter.requires_grad):
            return ("frozen",)
        found = []
        if self._backward_end is not None and self._backward_end <= state.moment and self._unfilled(parameter, now):
            found.append("no grad")
        lasts = parameter.id >= 0
        if lasts and self.optimized and not parameter.optimizers and parameter.id not in self._plain:
            found.append("in no optimizer")
        return tuple(found)

    def _unfilled(self, parameter: Parameter, now: TensorState | None) -> bool:
        """Whether no backward has filled its `.grad`; what this step did not touch, this step did not fill.

        A leaf of the script's own may have been there before the trace knew it.
        """
        if now is not None:
            return now.has_grad is False
        return parameter.role != "leaf" and self._norms.get(parameter.id, (None, None))[1] is None


def _ratio(distance: float, norm: float) -> float:
    return distance / norm if norm else math.inf if distance else 0.0


class Beside(NamedTuple):
    """What the steps beside one tell of it: the figures of the one before, and |p| before the update of the next."""

    before: StepFigures | None
    norms_after: Mapping[int, float | None]

    @classmethod
    def of(cls, trace: Trace, number: int) -> Beside:
        """Reads the steps just before and after `number`, as far as they were recorded."""
        known, before = trace.source.step_numbers(), None
        if number - 1 in known:
            step = trace.step(number - 1)
            before = StepFigures(step, SampleIndex(step.samples))
        row = trace.source.step_row(number + 1) if number + 1 in known else None
        return cls(before, {one: norm for one, norm, _ in row.norms} if row is not None and not row.open else {})


@dataclass(frozen=True, slots=True)
class PhasePoint:
    """A parameter after one phase of a step: the sums of its gradient and of itself."""

    phase: str
    gradient: Gradient
    sum: float | None


def five_phases(figures: StepFigures, parameter: int, state_at: Callable[[int], State]) -> list[PhasePoint]:
    """A parameter at its step's start and after each of its phases. `state_at(moment)` is the step's state then."""
    ends: dict[Phase, int] = {}
    for index, record in enumerate(figures.step.moments):
        if record.phase in FIVE:
            ends[record.phase] = index
    points = [("start", -1), *((phase.value, end) for phase, end in sorted(ends.items(), key=lambda item: item[1]))]
    found = []
    for name, moment in points:
        value = figures.value(parameter, moment)
        gradient = figures.gradient(parameter, state_at(moment))
        found.append(PhasePoint(name, gradient, value.sum if value is not None else None))
    return found
