"""The row of a step: what it adds to its template."""

from __future__ import annotations

from time import perf_counter

from ..model.records import Detail, PhaseSpan, StepKind, StepRow
from .draft import Draft, with_gradients
from .replay import Pattern

_new_tuple = tuple.__new__  # a named tuple's own constructor is a Python call


class Rows:
    """Makes rows, and counts how far the versions of parameters rise, so that a row states only other ones."""

    def __init__(self, started_at: float, *, with_ops: bool) -> None:
        self._started_at, self._with_ops = started_at, with_ops
        self._predicted: dict[int, int] = {}
        self._repeated: Pattern | None = None  # what the last step was, if it was nothing else
        self._repeats = 0  # since when: not in `_predicted` yet

    def row(self, draft: Draft, kind: StepKind, number: int, template: int) -> StepRow:
        """The row of a closed step."""
        return self._row(draft, kind, number, template, self._versions(draft), open=False)

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
        begin, end = draft.start, perf_counter() if draft.end is None else draft.end
        ends = (*[start for _, _, start in draft.phases[1:]], end)
        return StepRow(
            number,
            kind,
            Detail.STEPS if not self._with_ops else Detail.FULL if draft.full else Detail.GRAPH,
            template,
            begin - self._started_at,
            end - begin,
            loss_of(draft),
            tuple([(optimizer, group, rate) for (optimizer, group), rate in draft.learning_rates.items()]),
            tuple(
                [
                    _new_tuple(PhaseSpan, (phase, index, start - begin, until - start))
                    for (phase, index, start), until in zip(draft.phases, ends)
                ]
            ),
            versions,
            _carried(draft),
            draft.memory,
            norms_of(draft),
            open,
            draft.kept,
            draft.alive,
        )

    def _versions(self, draft: Draft) -> tuple[tuple[int, int], ...]:
        """Versions at the step's start that counting on from the last written step would get wrong."""
        pattern: Pattern | None = draft.repeats
        if pattern is not None and pattern is self._repeated:  # whose versions were compared when they were met
            self._repeats += 1
            return ()
        self.count_repeats()
        predicted, self._repeated = self._predicted, pattern
        bumps, met = draft.bumps, draft.versions
        if pattern is not None:
            bumps = pattern.bumps
            met = {parameter: draft.met[number].base_version for number, parameter in pattern.parameters}
        wrong = []
        for parameter, version in met.items():
            if predicted.get(parameter, 0) != version:
                wrong.append((parameter, version))
                predicted[parameter] = version
        for parameter, rise in bumps.items():
            predicted[parameter] = predicted.get(parameter, 0) + rise
        return tuple(wrong)

    def count_repeats(self) -> None:
        """The steps that repeated are over: count how far the versions rose in them."""
        if self._repeated is not None:
            for parameter, rise in self._repeated.bumps.items():
                self._predicted[parameter] = self._predicted.get(parameter, 0) + rise * self._repeats
        self._repeated, self._repeats = None, 0


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


def unsettled(draft: Draft) -> bool:
    """Whether the device still owes a loss or norms of this step."""
    return any(not cell for _, cell in draft.losses) or any(not cell for _, _, cell in draft.norms)


def loss_of(draft: Draft) -> float | None:
    return draft.losses[-1][1][0] if draft.losses and draft.losses[-1][1] else None
