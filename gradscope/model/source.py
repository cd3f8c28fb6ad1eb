"""Where the records of a trace come from, and where a recorder puts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from .growth import Growth
from .records import (
    Module,
    Optimizer,
    Parameter,
    Sample,
    Site,
    Stack,
    StepRow,
    Template,
    TraceInfo,
)
from .repeats import Repeats


class TraceSource(Protocol):
    """Where records come from. Every answer is a snapshot; a running trace answers with more later."""

    def info(self) -> TraceInfo: ...
    def sites(self) -> Mapping[int, Site]: ...
    def stacks(self) -> Mapping[int, Stack]: ...
    def modules(self) -> Mapping[int, Module]: ...
    def parameters(self) -> Mapping[int, Parameter]: ...
    def optimizers(self) -> Mapping[int, Optimizer]: ...
    def step_numbers(self) -> Sequence[int]: ...
    def step_row(self, number: int) -> StepRow: ...
    def step_rows(self) -> Iterator[StepRow]: ...
    def template(self, template: int) -> Template: ...
    def samples(self, step: int) -> Sequence[Sample]: ...
    def series(self, parameter: int) -> Sequence[tuple[int, float | None, float | None]]:
        """(step, |p| after the step, |grad| after the backward) for each step that recorded it."""
        ...

    def curve(self, after: int | None = None) -> Iterator[tuple[int, float | None, float | None]]:
        """(step, loss, norm of all parameters' gradients together) for each step, those after `after` only."""
        ...

    def versions(self, step: int) -> Mapping[int, int]:
        """Each parameter's absolute version at the start of `step`; `count_versions` says how they are counted."""
        ...

    def refresh(self) -> None:
        """Forget cached answers, so that a running trace is read anew."""
        ...

    def close(self) -> None: ...


Unfinished = Callable[[], tuple[Growth, StepRow] | None]  # the step that goes on, if it was not told so far


class TraceSink(Protocol):
    """Where a recorder writes. Calls return at once; nothing here may raise into the script."""

    def put_info(self, info: TraceInfo) -> None: ...
    def put_site(self, site: Site) -> None: ...
    def put_stack(self, stack: Stack) -> None: ...
    def put_module(self, module: Module) -> None: ...
    def put_parameter(self, parameter: Parameter) -> None: ...
    def put_optimizer(self, optimizer: Optimizer) -> None: ...
    def put_template(self, template: Template) -> None: ...
    def put_growth(self, growth: Growth) -> None: ...  # of a template whose step goes on
    def put_step(self, row: StepRow) -> None: ...  # replaces an earlier row of the same number
    def put_repeats(self, repeats: Repeats) -> None: ...  # to take steps from, as they are added
    def ask(self, unfinished: Unfinished) -> None: ...  # now and then, for the step that goes on
    def put_samples(self, samples: Sequence[Sample]) -> None: ...
    def delete_steps(self, numbers: Sequence[int]) -> None: ...
    def close(self) -> None: ...


def count_versions(
    rows: Iterable[StepRow], step: int, bumps: Callable[[int], Iterable[tuple[int, int]]]
) -> dict[int, int]:
    """Each parameter's absolute version at the start of `step`, counted from the first row.

    A row's own `versions` override the count; `bumps(template)` are how far a step raises each
    parameter's version. `rows` come with rising numbers.
    """
    versions: dict[int, int] = {}
    for row in rows:
        if row.number > step:
            break
        versions.update(row.versions)
        if row.number == step:
            break
        for parameter, rise in bumps(row.template):
            versions[parameter] = versions.get(parameter, 0) + rise
    return versions
