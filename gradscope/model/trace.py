"""`Trace`: what every reader opens. Lazy views over a `TraceSource`; no SQL, no torch.

A source answers with records (`store` reads them from a file, tests build them by hand). `Trace` and
`Step` add the meaning: names, absolute versions, graphs, the state at a moment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from ..errors import NoSuchStep
from .before import Grads, GradsBefore
from .build import build_graph
from .graph import Graph, GraphKind, SourceLine
from .moments import Backward, Moment, OpCall, Template
from .names import Names
from .records import Detail, GradGraph, Parameter, Sample, StepKind, StepRow, Tensor, TraceInfo
from .shifts import shifted
from .source import TraceSource
from .state import State
from .watching import Unwatched, unwatched

_NAMING = 16  # the first steps, which tell models of one root apart


class Trace:
    """One recording. Steps are read when asked for; closing it closes its source.

    Parameters, modules and templates have their shown names here (see `Names`); the source has them as recorded.
    """

    _named: Names | None = None
    _grads: GradsBefore | None = None

    def __init__(self, source: TraceSource, path: str | None = None) -> None:
        self.source = source
        self.path = path

    @property
    def info(self) -> TraceInfo:
        return self.source.info()

    @property
    def steps(self) -> Sequence[int]:
        """The numbers of the recorded steps, rising. `SETUP` is number -1 and not among them."""
        return [number for number in self.source.step_numbers() if number >= 0]

    @property
    def setup(self) -> Step | None:
        """What ran before the first step, if anything did."""
        return self.step(-1) if -1 in self.source.step_numbers() else None

    def step(self, number: int) -> Step:
        """Step `number`. Raises NoSuchStep, naming the nearest recorded one."""
        known = self.source.step_numbers()
        if number not in known:
            raise NoSuchStep(number, known)
        return Step(self, self.source.step_row(number))

    def last_backward(self) -> Step | None:
        """The last step in which a backward ran, or None."""
        for number in reversed(self.source.step_numbers()):
            step = self.step(number)
            if step.graphs:
                return step
        return None

    def at(self, step: int, moment: int) -> State:
        """The state right after `moment` of `step`; -1 is the step's start."""
        return State.at(self.step(step), moment)

    @property
    def names(self) -> Names:
        """What parameters and modules are called, by what was recorded of them up to now."""
        source = self.source
        modules, parameters = source.modules(), source.parameters()
        known = self._named
        if known is None or not known.made_of(modules, parameters):
            known = self._named = Names(modules, parameters, lambda: _first_templates(source), self._variable)
        return known

    @property
    def grads_before(self) -> GradsBefore:
        """Which `.grad` each step began with."""
        source = self.source
        if self._grads is None or self._grads.source is not source:
            self._grads = GradsBefore(source)
        return self._grads

    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(self.names.parameters.values())

    def optimizer_name(self, number: int | None) -> str:
        """What an optimizer is called: by its class, or where there are several as the script's variable.

        One of several that no variable tells from the others goes by its recorded name, which is numbered.
        """
        known = self.source.optimizers()
        if number is None or number not in known:
            return "an optimizer"
        if len(known) == 1:
            return known[number].type
        variables = {key: self._variable(one.stack) for key, one in known.items()}
        own = variables[number]
        return own if own and list(variables.values()).count(own) == 1 else known[number].name

    def _variable(self, stack: int | None) -> str:
        """The one name that a statement of the stack binds its value to, the innermost that binds any; else ""."""
        found = self.source.stacks().get(stack) if stack is not None else None
        sites = self.source.sites()
        called = (sites[site].targets for site in (found.sites if found else ()) if site in sites)
        targets = next((names for names in called if names), ())
        return targets[0] if len(targets) == 1 else ""

    def template(self, number: int) -> Template:
        """What the steps of a template did."""
        return self.names.shown(self.source.template(number))

    def source_lines(self, stack: int | None) -> tuple[SourceLine, ...]:
        """The user's lines of a call stack, innermost first; empty when it was not seen."""
        found = self.source.stacks().get(stack) if stack is not None else None
        sites = self.source.sites()
        return tuple(
            SourceLine(site.file, site.line, site.code)
            for site in (sites[number] for number in (found.sites if found else ()) if number in sites)
        )

    def close(self) -> None:
        self.source.close()

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _first_templates(source: TraceSource) -> Iterator[Template]:
    numbers = source.step_numbers()[:_NAMING]
    return (source.template(number) for number in dict.fromkeys(source.step_row(one).template for one in numbers))


class Step:
    """One step of a trace: its row and its template, read together."""

    def __init__(self, trace: Trace, row: StepRow) -> None:
        self.trace = trace
        self.row = row

    def __repr__(self) -> str:
        how = f"recorded at {self.row.detail.value}" if self.row.watched else str(self.unwatched)
        return f"<Step {self.row.number}: {self.row.kind.value}, {how}>"

    @property
    def number(self) -> int:
        return self.row.number

    @property
    def kind(self) -> StepKind:
        return self.row.kind

    @property
    def detail(self) -> Detail:
        return self.row.detail

    @cached_property
    def same_as(self) -> int | None:
        """The nearest earlier step that did the same and whose ops were watched, of a matched step."""
        if self.row.detail is not Detail.MATCHED:
            return None
        source = self.trace.source
        numbers = source.step_numbers()
        for place in range(bisect_left(numbers, self.number) - 1, -1, -1):
            row = source.step_row(numbers[place])
            if row.watched and row.template == self.row.template:
                return row.number
        return None

    @cached_property
    def unwatched(self) -> Unwatched | None:
        """What is to be said of a step whose single ops were not watched; None of an exact one."""
        return unwatched(self.trace.info, self.row, self.same_as)

    @cached_property
    def template(self) -> Template:
        return shifted(self.trace.template(self.row.template), self.row.shifts)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.template.tensors

    @property
    def moments(self) -> tuple[Moment, ...]:
        return self.template.moments

    @property
    def graphs(self) -> tuple[GradGraph, ...]:
        return self.template.graphs

    def positions(self, kind: type) -> Sequence[int]:
        """Where in `moments` those of one type stand."""
        return self._positions.get(kind, ())

    @cached_property
    def _positions(self) -> Mapping[type, Sequence[int]]:
        found: dict[type, list[int]] = defaultdict(list)
        for position, moment in enumerate(self.moments):
            found[type(moment)].append(position)
        return dict(found)

    def op(self, moment: int | None) -> OpCall | None:
        """The call at a moment; None where something else is there, or the moment is not known."""
        found = self.moments[moment] if moment is not None and moment < len(self.moments) else None
        return found if isinstance(found, OpCall) else None

    def maker(self, tensor: int) -> OpCall | None:
        """The call that returned a tensor; None where no call of this step did."""
        return self.op(self.tensors[tensor].made_by)

    def stack(self, moment: int | None) -> int | None:
        """The stack of a moment, if both are known."""
        return self.moments[moment].stack if moment is not None else None

    def behind(self, backward: Backward) -> GradGraph | None:
        """The graph that a backward went through, if it was recorded."""
        return self.graphs[backward.graph] if 0 <= backward.graph < len(self.graphs) else None

    def parameters_of(self, tensors: Iterable[int]) -> list[int]:
        """The parameters among some tensors (buffers and lasting leaves, too), by their numbers in the trace."""
        return [one for tensor in tensors if (one := self.tensors[tensor].parameter) is not None]

    @cached_property
    def lasting(self) -> Mapping[int, Sequence[Tensor]]:
        """The tensors that outlive the step (parameters, buffers, leaves of the script) by their storage."""
        found: dict[int, list[Tensor]] = defaultdict(list)
        for tensor in self.tensors:
            if tensor.parameter is not None:
                found[tensor.storage].append(tensor)
        return dict(found)

    @property
    def broken(self) -> str | None:
        """Why what the step did cannot be told; None where it can."""
        return self.template.broken

    @cached_property
    def samples(self) -> Sequence[Sample]:
        return self.trace.source.samples(self.number) if self.broken is None else ()

    @cached_property
    def versions(self) -> Mapping[int, int]:
        """Each parameter's absolute version at the step's start.

        Steps store a version only where counting the templates' bumps on from the step before
        would give another.
        """
        return self.trace.source.versions(self.number)

    @cached_property
    def grads_before(self) -> Grads:
        """Which `.grad` were there when the step began."""
        return self.trace.grads_before.at(self.number)

    def absolute(self, tensor: int, version: int | None) -> int | None:
        """A version of the tensor as torch counts it: those of parameters are relative to the step's start."""
        parameter = self.tensors[tensor].parameter
        return version if version is None or parameter is None else version + self.versions.get(parameter, 0)

    def graph(self, kind: GraphKind | str = GraphKind.BOTH, *, backward: int | None = None) -> Graph:
        """The step's graph: `forward`, `backward` or `both`.

        `backward` picks one of the step's backward calls by its position; None takes all of them.
        Raises ValueError for an unknown kind.
        """
        graph = build_graph(self, GraphKind(kind), backward=backward)
        if self.unwatched is None:
            return graph
        return replace(graph, notes=(*graph.notes, f"step {self.number}: {self.unwatched.told}"))
