"""The row of a step: what it adds to its template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

from ...model.records import Detail, Phase, PhaseSpan, StepKind, StepRow
from ...model.repeats import Repeats, carried_at
from ..step.draft import Draft, with_gradients
from ..step.losses import Losses
from ..step.patterns import MatchedStep, Pattern

OPEN_PHASES = 256  # so many of a step that goes on are told, the last as lasting until now
_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call


class Like(NamedTuple):
    """The row that was made last, and what a step must have for its own to differ in nothing but numbers."""

    row: StepRow
    marks: list[tuple[Phase, int]]
    rates: list[tuple[int, int]]
    measured: tuple[int, ...]  # the numbers of `Draft.norms`
    moved: tuple[int, ...]  # those of `Draft.distances`


class Rows:
    """Makes rows, and counts how far the versions of parameters rise, so that a row states only other ones.

    A step whose row would differ from the last one in nothing but numbers gets none: its numbers are added to
    `Repeats`, which `put_repeats` got.
    """

    def __init__(self, started_at: float, put_repeats: Callable[[Repeats], None], *, with_ops: bool) -> None:
        self._started_at, self._put_repeats, self._with_ops = started_at, put_repeats, with_ops
        self.losses = Losses()
        self._like: Like | None = None
        self._adding: Repeats | None = None
        self._weighed: tuple[Pattern, list[float | None]] | None = None  # what the losses of a pattern's steps weigh
        self._predicted: dict[int, int] = {}
        self._repeated: Pattern | None = None  # what the last step was, if its ops were not watched
        self._repeats = 0  # since when: not in `_predicted` yet

    def repeated(self, draft: Draft, pattern: Pattern, number: int) -> bool:
        """Whether a closed step needs no row; then its numbers are added to those of the steps before."""
        numbers = self._numbers_like_the_last(draft, pattern, number)
        if numbers is None or self._like is None:
            return False
        self._add(numbers, self._like.row)
        return True

    def _numbers_like_the_last(self, draft: Draft, pattern: Pattern, number: int) -> list[float] | None:
        """The numbers of a step as `Repeats` has them; None where something else differs from the last row."""
        if pattern is not self._repeated or self._like is None or self._like.row.detail is not _detail(draft):
            return None
        row, marks, rates, measured, moved = self._like
        loss = self.losses.of(draft)
        if (
            draft.timing.marks != marks
            or list(draft.learning_rates) != rates
            or [numbers for _, numbers, _ in draft.norms] != ([measured] if measured else [])
            or [numbers for _, numbers, _ in draft.distances] != ([moved] if moved else [])
            or (loss is None) is not (row.loss is None)
            or draft.memory is not None
            or draft.kept != row.kept
            or draft.alive != row.alive
            or draft.shifts != row.shifts
            or unsettled(draft)
            or (_carried(draft) != carried_at(row, number))
            or (draft.matched is None and not self._as_predicted(draft, pattern))
        ):
            return None
        timing = draft.timing
        start, end = timing.start - self._started_at, timing.over
        step = MatchedStep(
            timing.start, end, timing.times, draft.losses, draft.norms, draft.distances, draft.learning_rates
        )
        return _numbers(step, timing.times, [number, start, end - timing.start, 0.0 if loss is None else loss])

    def repeats(self, pattern: Pattern, step: MatchedStep, number: int) -> bool:
        """Whether a matched step, after one of the same pattern, needs no row; then its numbers are added."""
        if self._like is None or pattern is not self._repeated:
            return False
        row, marks, rates, measured, moved = self._like
        loss = self._loss(pattern, step)
        if (
            pattern.marks != marks
            or list(step.rates) != rates
            or [numbers for _, numbers, cell in step.norms if cell] != ([measured] if measured else [])
            or [numbers for _, numbers, cell in step.distances if cell] != ([moved] if moved else [])
            or (loss is None) is not (row.loss is None)
            or not all(cell for _, cell in step.losses)
            or any(met_in != row.number - 1 for _, met_in, _ in row.carried)
        ):
            return False
        times = pattern.phase_times(step.start, step.times, step.end)
        start, duration = step.start - self._started_at, step.end - step.start
        self._add(_numbers(step, times, [number, start, duration, 0.0 if loss is None else loss]), row)
        return True

    def _add(self, numbers: list[float], row: StepRow) -> None:
        if self._adding is None or self._adding.over:
            self._adding = Repeats(row)
            self._put_repeats(self._adding)
        self._adding.add(numbers)
        self._repeats += 1

    def _loss(self, pattern: Pattern, step: MatchedStep) -> float | None:
        """The loss of a matched step: it is linear in what its backwards began at."""
        if self._weighed is None or self._weighed[0] is not pattern or len(self._weighed[1]) != len(step.losses):
            draft = Draft(full=False)
            draft.matched, draft.factors = pattern, pattern.factors
            weights: list[float | None] = []
            for place in range(len(step.losses)):
                draft.losses = [
                    (index, [float(other == place)])
                    for other, (index, _) in enumerate(zip(pattern.losses, step.losses))
                ]
                weights.append(self.losses.of(draft))
            self._weighed = (pattern, weights)
        total = 0.0
        for weight, (_, cell) in zip(self._weighed[1], step.losses):
            if weight is None or not cell:
                return None
            if weight:
                total += weight * cell[0]
        return total if step.losses else None

    def row(self, draft: Draft, pattern: Pattern, kind: StepKind, number: int) -> StepRow:
        """The row of a closed step."""
        unwatched = draft.matched is not None or (self._with_ops and not draft.with_graph)
        versions = self._versions(draft, pattern if unwatched else None)
        row = self._row(draft, kind, number, pattern.template, versions, open=False)
        self._like = _like(draft, row) if unwatched and row.memory is None else None
        if self._adding is not None:
            self._adding.over = True
            self._adding = None
        return row

    def unfinished(self, draft: Draft, kind: StepKind, number: int, template: int) -> StepRow:
        """The row of a step that goes on."""
        return self._row(draft, kind, number, template, tuple(draft.versions.items()), open=True)

    def _row(
        self,
        draft: Draft,
        kind: StepKind,
        number: int,
        template: int,
        versions: tuple[tuple[int, int], ...],
        *,
        open: bool,
    ) -> StepRow:
        begin, end = draft.timing.start, draft.timing.over
        marks, times = draft.timing.marks, draft.timing.times
        if open and len(marks) > OPEN_PHASES:
            marks, times = marks[:OPEN_PHASES], times[:OPEN_PHASES]
        ends = (*times[1:], end)
        return StepRow(
            number,
            kind,
            _detail(draft),
            template,
            begin - self._started_at,
            end - begin,
            self.losses.of(draft),
            tuple([(optimizer, group, rate) for (optimizer, group), rate in draft.learning_rates.items()]),
            tuple(
                [
                    _new_tuple(PhaseSpan, (phase, index, start - begin, until - start))
                    for (phase, index), start, until in zip(marks, times, ends)
                ]
            ),
            versions,
            _carried(draft),
            draft.memory,
            norms_of(draft),
            open,
            draft.kept,
            draft.alive,
            draft.shifts,
            distances_of(draft),
        )

    def settled(self, row: StepRow, draft: Draft) -> StepRow:
        """The row, made before its numbers were known, with those."""
        return row._replace(loss=self.losses.of(draft), norms=norms_of(draft), distances=distances_of(draft))

    def _versions(self, draft: Draft, pattern: Pattern | None) -> tuple[tuple[int, int], ...]:
        """Versions at the step's start that counting on from the last written step would get wrong.

        `pattern`: of a step whose ops were not watched.
        """
        if draft.matched is not None and pattern is self._repeated:  # whose versions were compared when they were met
            self._repeats += 1
            return ()
        self.count_repeats()
        predicted, self._repeated = self._predicted, pattern
        bumps, met = draft.bumps, draft.versions
        if draft.matched is not None:
            bumps, met = draft.matched.bumps, draft.matched.versions_before()
        wrong = []
        for parameter, version in met.items():
            if predicted.get(parameter, 0) != version:
                wrong.append((parameter, version))
                predicted[parameter] = version
        for parameter, rise in bumps.items():
            predicted[parameter] = predicted.get(parameter, 0) + rise
        return tuple(wrong)

    def _as_predicted(self, draft: Draft, pattern: Pattern) -> bool:
        """Whether the versions at the start of a step of the pattern are those that counting on gives."""
        predicted, repeats, bumps = self._predicted, self._repeats, pattern.bumps
        return all(
            predicted.get(parameter, 0) + repeats * bumps.get(parameter, 0) == version
            for parameter, version in draft.versions.items()
        )

    def count_repeats(self) -> None:
        """The steps that repeated are over: count how far the versions rose in them."""
        if self._repeated is not None:
            for parameter, rise in self._repeated.bumps.items():
                self._predicted[parameter] = self._predicted.get(parameter, 0) + rise * self._repeats
        self._repeated, self._repeats = None, 0


def _detail(draft: Draft) -> Detail:
    if draft.matched is not None:
        return Detail.MATCHED
    if not draft.with_graph:
        return Detail.STEPS
    return Detail.FULL if draft.full else Detail.GRAPH


def _like(draft: Draft, row: StepRow) -> Like | None:
    """What the next steps are compared with; None where not each parameter measured has a gradient, in order."""
    measured: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    if draft.norms:
        measured = draft.norms[-1][1]
        parameters = measured[: len(measured) // 2]
        if len(draft.norms) > 1 or measured != with_gradients(parameters) or list(parameters) != sorted(parameters):
            return None
    if draft.distances:
        moved = draft.distances[-1][1]
        if len(draft.distances) > 1 or list(moved) != sorted(moved):
            return None
    return Like(row, draft.timing.marks, list(draft.learning_rates), measured, moved)


def _numbers(step: MatchedStep, times: Sequence[float], begin: list[float]) -> list[float]:
    """The numbers of a step as `Repeats` has them; its phases began at `times`. `begin`: those before them."""
    found, start = begin, step.start
    for at, until in zip(times, (*times[1:], step.end)):
        found += (at - start, until - at)
    found += step.rates.values()
    for _, _, (norms,) in step.norms:
        found += chain.from_iterable(zip(norms, norms[len(norms) // 2 :]))
    for _, _, (distances,) in step.distances:
        found += distances
    return found


def _carried(draft: Draft) -> tuple[tuple[int, int, int], ...]:
    return tuple([(tensor, mark.number, old) for tensor, mark, old in draft.carried if mark.number is not None])


def norms_of(draft: Draft) -> tuple[tuple[int, float | None, float | None], ...]:
    """(parameter, |p|, |grad|) as measured last in the step, in parameter order."""
    if len(draft.norms) == 1:
        numbers, cell = draft.norms[0][1:]
        count = len(numbers) // 2
        if cell and numbers == with_gradients(numbers[:count]):
            measured = cell[0]
            found = list(zip(numbers, measured, measured[count:]))
            found.sort()
            return tuple(found)
    parameters: dict[int, float] = {}
    gradients: dict[int, float] = {}
    for _, numbers, cell in draft.norms:
        for number, norm in zip(numbers, cell[0] if cell else ()):
            if number >= 0:
                parameters[number] = norm
            else:
                gradients[-1 - number] = norm
    return tuple((number, parameters[number], gradients.get(number)) for number in sorted(parameters))


def distances_of(draft: Draft) -> tuple[tuple[int, float], ...]:
    """(parameter, how far it was moved) by the last update of each, in parameter order."""
    found = {
        number: one for _, numbers, cell in draft.distances for number, one in zip(numbers, cell[0] if cell else ())
    }
    return tuple(sorted(found.items()))


def unsettled(draft: Draft) -> bool:
    """Whether the device still owes a loss or norms of this step."""
    cells = (
        *[cell for _, cell in (*draft.losses, *draft.scaled)],
        *[cell for *_, cell in (*draft.norms, *draft.distances)],
    )
    return not all(cells)
