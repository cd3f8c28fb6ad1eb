"""A trace in memory: what live pictures and tests read. It takes what a recorder writes and answers with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from .growth import Growth, grown
from .moments import Template
from .records import Module, Optimizer, Parameter, Sample, Site, Stack, StepRow, TraceInfo
from .repeats import Repeats, rows_of
from .source import Unfinished, count_versions
from .spec import sound


class MemorySource:
    """A trace in memory: a `TraceSink` to write to and the `TraceSource` that answers with it."""

    def __init__(self, info: TraceInfo) -> None:
        self._info = info
        self._sites: dict[int, Site] = {}
        self._stacks: dict[int, Stack] = {}
        self._modules: dict[int, Module] = {}
        self._parameters: dict[int, Parameter] = {}
        self._optimizers: dict[int, Optimizer] = {}
        self._templates: dict[int, Template] = {}
        self._sound: dict[int, tuple[Template, Template]] = {}  # those asked for: as written, and as they are told
        self._rows: dict[int, StepRow] = {}
        self._repeats: list[Repeats] = []
        self._samples: dict[tuple[int, int, str, bool, int], Sample] = {}

    def put_info(self, info: TraceInfo) -> None:
        self._info = info

    def put_site(self, site: Site) -> None:
        self._sites[site.id] = site

    def put_stack(self, stack: Stack) -> None:
        self._stacks[stack.id] = stack

    def put_module(self, module: Module) -> None:
        self._modules[module.id] = module

    def put_parameter(self, parameter: Parameter) -> None:
        self._parameters[parameter.id] = parameter

    def put_optimizer(self, optimizer: Optimizer) -> None:
        self._optimizers[optimizer.id] = optimizer

    def put_template(self, template: Template) -> None:
        self._templates[template.id] = template

    def put_growth(self, growth: Growth) -> None:
        known = self._templates.get(growth.template)
        self._templates[growth.template] = grown(known, growth)

    def put_step(self, row: StepRow) -> None:
        self._steps[row.number] = row

    def put_repeats(self, repeats: Repeats) -> None:
        self._repeats.append(repeats)

    def ask(self, unfinished: Unfinished) -> None:
        """Memory ends with the program: what its last step did is nobody's question."""

    @property
    def _steps(self) -> dict[int, StepRow]:
        """The steps by number, those that were added meanwhile among them."""
        for repeats in self._repeats:
            self._rows.update((row.number, row) for row in rows_of(repeats))
        self._repeats = [repeats for repeats in self._repeats if not repeats.over]
        return self._rows

    def put_samples(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            key = (sample.step, sample.moment, sample.what, sample.of_parameter, sample.subject)
            self._samples[key] = sample

    def delete_steps(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            later = [other for other in sorted(self._steps) if other > number]
            if number in self._steps and later:
                versions = self.versions(later[0])
                self._steps[later[0]] = self._steps[later[0]]._replace(versions=tuple(sorted(versions.items())))
            self._steps.pop(number, None)
        gone = set(numbers)
        self._samples = {key: sample for key, sample in self._samples.items() if sample.step not in gone}

    def info(self) -> TraceInfo:
        return self._info

    def sites(self) -> Mapping[int, Site]:
        return self._sites

    def stacks(self) -> Mapping[int, Stack]:
        return self._stacks

    def modules(self) -> Mapping[int, Module]:
        return self._modules

    def parameters(self) -> Mapping[int, Parameter]:
        return self._parameters

    def optimizers(self) -> Mapping[int, Optimizer]:
        return self._optimizers

    def step_numbers(self) -> Sequence[int]:
        return sorted(self._steps)

    def step_row(self, number: int) -> StepRow:
        return self._steps[number]

    def step_rows(self) -> Iterator[StepRow]:
        return (self._steps[number] for number in sorted(self._steps))

    def template(self, template: int) -> Template:
        found = self._templates[template]
        known = self._sound.get(template)
        if known is None or known[0] is not found:
            known = self._sound[template] = (found, sound(found))
        return known[1]

    def samples(self, step: int) -> Sequence[Sample]:
        return [self._samples[key] for key in sorted(key for key in self._samples if key[0] == step)]

    def series(self, parameter: int) -> Sequence[tuple[int, float | None, float | None]]:
        return [
            (row.number, norm, grad)
            for row in self.step_rows()
            for owner, norm, grad in row.norms
            if owner == parameter
        ]

    def curve(self, after: int | None = None) -> Iterator[tuple[int, float | None, float | None]]:
        for row in self.step_rows():
            if after is None or row.number > after:
                gradients = [grad for _, _, grad in row.norms if grad is not None]
                yield row.number, row.loss, math.hypot(*gradients) if gradients else None

    def versions(self, step: int) -> Mapping[int, int]:
        return count_versions(self.step_rows(), step, lambda template: self.template(template).version_bumps)

    def refresh(self) -> None:
        return None

    def close(self) -> None:
        return None
