"""`Case`: one trace under judgement: its steps, events, tensors, names and lines, each read once.

Steps that repeat are looked at once: `distinct` has the first step of each template. What differs between
equal steps (loss, norms, learning rates) is in `rows`.
"""

from __future__ import annotations

import re
from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from ...model.findings import Place
from ...model.fixes import Fix
from ...model.moments import Failure, LeafChange, Moment, OpCall
from ...model.records import Module, Optimizer, Parameter, Sample, Site, StepKind, StepRow, Tensor
from ...model.trace import Step, Trace
from ...repair.source import Sources
from ...repair.ways import Way, fixes
from ...text import raised
from .torch_errors import TorchError, torch_error

M = TypeVar("M", bound=Moment)
E = TypeVar("E")


if TYPE_CHECKING:

    class Event(NamedTuple, Generic[M]):
        """One moment where it happened."""

        step: Step
        position: int
        moment: M

else:  # before Python 3.11 no NamedTuple can be generic
    Event = namedtuple("Event", ("step", "position", "moment"))


class Origin(NamedTuple):
    """A tensor's identity in the whole trace: the step that first met it, and its number there."""

    step: int
    tensor: int


class Case:
    """One trace under judgement."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.info = trace.info
        self.faults: list[str] = []  # of the making of patches
        self.names = trace.names
        self.parameters: Mapping[int, Parameter] = self.names.parameters
        self.optimizers: Mapping[int, Optimizer] = trace.source.optimizers()
        self.modules: Mapping[int, Module] = self.names.modules
        # The parameters that each optimizer has, each once.
        self.members: Mapping[int, tuple[int, ...]] = {
            number: tuple(dict.fromkeys(one for group in optimizer.groups for one in group))
            for number, optimizer in self.optimizers.items()
        }

    @cached_property
    def kept(self) -> dict[object, object]:
        """The evidence that was asked for so far; see `once_a_case` and `once_a_step`."""
        return {}

    @cached_property
    def sources(self) -> Sources:
        """The user's files, as far as they still are what ran: what patches are made of."""
        return Sources((site.file, site.line, site.code) for site in self.trace.source.sites().values())

    def fixes(self, *ways: Way) -> tuple[Fix, ...]:
        """The ways that can be said in code, with their patches. What goes wrong with one costs the finding nothing."""
        try:
            return tuple(fixes(self.sources, ways))
        except Exception as error:  # noqa: BLE001  # told by `faults`, which the runner shows
            self.faults.append(f"no patch was made ({ways[0].words}): {raised(type(error).__name__, error)}")
            return ()

    # -- steps ---------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> Sequence[StepRow]:
        """Every step's row, in order; the setup (-1) first, if it was recorded."""
        return tuple(self.trace.source.step_rows())

    @cached_property
    def distinct(self) -> Sequence[Step]:
        """The first step of each template, in order. Read these for what happened."""
        first: dict[int, StepRow] = {}
        for row in self.rows:
            first.setdefault(row.template, row)
        return tuple(Step(self.trace, row) for row in first.values())

    @cached_property
    def by_number(self) -> Mapping[int, StepRow]:
        return {row.number: row for row in self.rows}

    def repeats(self, step: Step) -> Sequence[StepRow]:
        """The rows of all steps that did the same as `step`, itself included."""
        return self._repeats[step.row.template]

    @cached_property
    def _repeats(self) -> Mapping[int, Sequence[StepRow]]:
        groups: dict[int, list[StepRow]] = defaultdict(list)
        for row in self.rows:
            groups[row.template].append(row)
        return groups

    def like(self, number: int) -> Step | None:
        """The distinct step that did what step `number` did; None when it was not kept."""
        row = self.by_number.get(number)
        return self._by_template[row.template] if row is not None else None

    @cached_property
    def _by_template(self) -> Mapping[int, Step]:
        return {step.row.template: step for step in self.distinct}

    def training(self) -> Iterator[Step]:
        """The distinct steps of training loops."""
        return (step for step in self.distinct if step.kind is StepKind.TRAIN)

    # -- moments -------------------------------------------------------------------------------------

    def events(self, kind: type[M], step: Step | None = None) -> Iterator[Event[M]]:
        """The moments of one type, in order: of `step`, or of all distinct steps."""
        for one in self.distinct if step is None else (step,):
            for index in self._by_template[one.row.template].positions(kind):
                yield Event(one, index, cast(M, one.moments[index]))

    def calls(self, *names: str, step: Step | None = None) -> Iterator[Event[OpCall]]:
        """The ops of these names, in order."""
        return (event for event in self.events(OpCall, step) if event.moment.name in names)

    @cached_property
    def failure(self) -> Event[Failure] | None:
        """The exception that ended the script, where it struck."""
        for row in reversed(self.rows):
            step = self._by_template[row.template]
            for event in reversed(list(self.events(Failure, step))):
                if not event.moment.caught:
                    return Event(Step(self.trace, row), event.position, event.moment)
        return None

    @cached_property
    def error(self) -> TorchError:
        """What the message of that exception means."""
        return torch_error(self.failure.moment.message if self.failure is not None else None)

    @cached_property
    def refusal(self) -> Event[Failure] | None:
        """The same with what the call was given, if it was a call of torch's that raised it."""
        last = self.failure
        if last is None:
            return None
        for event in reversed(list(self.events(Failure, last.step))):
            one = event.moment
            if one.inputs and one.caught and (one.type, one.message) == (last.moment.type, last.moment.message):
                return event
        return last

    # -- tensors -------------------------------------------------------------------------------------

    def origin(self, step: Step, tensor: int) -> Origin:
        """Where a tensor of `step` comes from: followed back through the steps that carried it over."""
        here = Origin(step.number, tensor)
        passed: list[Origin] = []
        while here not in self._origins:
            passed.append(here)
            came = self._carried(here.step).get(here.tensor)
            if came is None or came.step == here.step:
                self._origins[here] = here
            else:
                here = came
        found = self._origins[here]
        self._origins.update(dict.fromkeys(passed, found))
        return found

    @cached_property
    def _origins(self) -> dict[Origin, Origin]:
        return {}

    def _carried(self, number: int) -> Mapping[int, Origin]:
        """Where the tensors that a step took over come from, by their numbers in it."""
        known = self._links.get(number)
        if known is None:
            row = self.by_number.get(number)
            known = self._links[number] = {t: Origin(*came) for t, *came in row.carried} if row is not None else {}
        return known

    @cached_property
    def _links(self) -> dict[int, Mapping[int, Origin]]:
        return {}

    def original(self, step: Step, tensor: int) -> tuple[Step, Tensor]:
        """The step and record of a tensor where it was first met, as far back as steps were kept."""
        origin = self.origin(step, tensor)
        home = self.like(origin.step)
        if home is None or origin.tensor >= len(home.tensors):
            return step, step.tensors[tensor]
        return home, home.tensors[origin.tensor]

    @cached_property
    def first_met(self) -> Mapping[int, tuple[Step, int]]:
        """The first step in which each parameter was met, and its number there."""
        found: dict[int, tuple[Step, int]] = {}
        for step in self.distinct:
            for tensor in step.tensors:
                if tensor.parameter is not None:
                    found.setdefault(tensor.parameter, (step, tensor.number))
        return found

    def called(self, step: Step, tensor: int) -> str:
        """What to call a tensor in a sentence: its name, or the call that made it."""
        record = step.tensors[tensor]
        if _NAME.fullmatch(record.name):
            return record.name
        home, first = self.original(step, tensor)
        if _NAME.fullmatch(first.name):
            return first.name
        if (bound := self._bound_where_it_changed(home, first.number)) is not None:
            return bound
        made = home.maker(first.number)
        if made is not None:
            path = self.names.box(made.module)
            return f"the result of {path} ({made.name})" if path else f"the result of {made.name}"
        return "a tensor without a name"

    def _bound_where_it_changed(self, step: Step, tensor: int) -> str | None:
        """The name that `x = y.detach().requires_grad_()` gives: what made it was bound to none, what it became was."""
        for index in step.positions(LeafChange):
            moment = step.moments[index]
            if isinstance(moment, LeafChange) and moment.tensor == tensor:
                targets = next((site.targets for site in self.sites(moment.stack)[:1]), ())
                if len(targets) == 1 and _NAME.fullmatch(targets[0]):
                    return targets[0]
        return None

    def parameter(self, step: Step, tensor: int) -> Parameter | None:
        """The parameter, buffer or hand-made leaf that a tensor of `step` is."""
        number = step.tensors[tensor].parameter
        return self.parameters.get(number) if number is not None else None

    def is_optimized(self, step: Step, tensor: int) -> bool:
        """Whether an optimizer was given the tensor."""
        owner = self.parameter(step, tensor)
        return owner is not None and bool(owner.optimizers)

    # -- statistics ----------------------------------------------------------------------------------

    def samples(self, step: Step) -> Mapping[tuple[int, str], Sequence[Sample]]:
        """The step's samples by (moment, what)."""
        known = self._samples.get(step.number)
        if known is None:
            known = defaultdict(list)
            for sample in step.samples:
                known[sample.moment, sample.what].append(sample)
            self._samples[step.number] = known
        return known

    @cached_property
    def _samples(self) -> dict[int, dict[tuple[int, str], list[Sample]]]:
        return {}

    # -- places --------------------------------------------------------------------------------------

    def sites(self, stack: int | None) -> tuple[Site, ...]:
        """The user's call sites of a stack, innermost first, without those of a library that was called there."""
        if stack is None:
            return ()
        known = self._stacks.get(stack)
        if known is None:
            all_sites = self._all_sites(stack)
            own = next((place for place, site in enumerate(all_sites) if not _INSTALLED.search(site.file)), 0)
            known = self._stacks[stack] = all_sites[own:]
        return known

    def in_library(self, stack: int | None) -> bool:
        """Whether the call at a stack was made by a library that the user's line called."""
        return stack is not None and self.sites(stack) != self._all_sites(stack)

    def _all_sites(self, stack: int) -> tuple[Site, ...]:
        found, sites = self.trace.source.stacks().get(stack), self.trace.source.sites()
        return tuple(sites[number] for number in (found.sites if found else ()) if number in sites)

    @cached_property
    def _stacks(self) -> dict[int, tuple[Site, ...]]:
        return {}

    def place(self, stack: int | None, note: str = "") -> Place | None:
        """The user's innermost line of a stack; None when none was seen."""
        sites = self.sites(stack)
        return at(sites[0], note) if sites else None

    def bound(self, stack: int | None, name: str) -> Place | None:
        """The innermost line of a stack that gives the value its name."""
        site = next((site for site in self.sites(stack) if name in site.targets), None)
        return at(site) if site is not None else self.place(stack)

    def meeting(self, stack: int | None, other: int | None, note: str = "") -> Place | None:
        """The line of `stack` in the innermost function that `other` runs in too: there the order of both is made."""
        sites = self.sites(stack)
        return at(sites[-1 - shared_frames(sites, self.sites(other))], note) if sites else None

    def places(self, *pairs: tuple[int | None, str]) -> tuple[Place, ...]:
        """The innermost lines of (stack, note) pairs, without those that were not seen."""
        return tuple(place for place in (self.place(stack, note) for stack, note in pairs) if place is not None)


_INSTALLED = re.compile(r"(^|[\\/])(site|dist)-packages[\\/]")
_NAME = re.compile(r"""(?:[\w.]|\[(?:[\w-]*|"[^"]*"|'[^']*')\])+""")  # `self.fc["a b"].weight`: nothing is computed


def once_a_case(make: Callable[[Case], E]) -> Callable[[Case], E]:
    """A piece of evidence that is made when it is first asked for, and kept with the case."""

    @wraps(make)
    def ask(case: Case) -> E:
        if make not in case.kept:
            case.kept[make] = make(case)
        return cast(E, case.kept[make])

    return ask


def once_a_step(make: Callable[[Case, Step], E]) -> Callable[[Case, Step], E]:
    """The same for each distinct step: what is true of all steps that did the same."""

    @wraps(make)
    def ask(case: Case, step: Step) -> E:
        key = make, step.row.template
        if key not in case.kept:
            case.kept[key] = make(case, step)
        return cast(E, case.kept[key])

    return ask


def shared_frames(sites: Sequence[Site], others: Sequence[Site]) -> int:
    """How many outer frames two stacks share, leaving each a frame of its own."""
    outer = 0
    while outer < min(len(sites), len(others)) - 1 and sites[-1 - outer] == others[-1 - outer]:
        outer += 1
    return outer


def at(site: Site, note: str = "") -> Place:
    """The place of a call site."""
    return Place(site.file, site.line, site.code, note, site.expression)
