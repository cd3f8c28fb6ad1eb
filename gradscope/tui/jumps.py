"""Jumps to what lies in other steps too: the next in-place change, device move, NaN, finding, or change of a tensor.

Each kind of goal says, from a step's row and template, whether the step can have it at all, so that equal steps
are looked at once. Reads the file: for worker threads.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from ..model.findings import Finding
from ..model.moments import NodeRun, Template
from ..model.records import Detail, StepRow, Tensor
from ..model.source import TraceSource
from ..model.trace import Step
from . import cursor
from .cursor import Place
from .finding_lines import CodeLine
from .session import Loaded, Session
from .subject import grad_of
from .touches import Touch, Touches, changes_of
from .words import tensor_word


class Goal(Protocol):
    """What is sought. `word` names it for the user."""

    @property
    def word(self) -> str: ...

    def possible(self, row: StepRow, session: Session) -> bool:
        """Whether the step of that row can have one. May say yes too often, never no."""
        ...

    def moments(self, loaded: Loaded) -> Sequence[int]:
        """Where in a step they are, rising."""
        ...


def seek(
    session: Session,
    goal: Goal,
    here: Place,
    by: int,
    cancelled: Callable[[], bool],
    looks_at: Callable[[int], None] = lambda step: None,  # noqa: ARG005  # nobody asked to be told
) -> Place | None:
    """The nearest goal after (`by` +1) or before (-1) `here`; None when there is none, or when cancelled.

    Tells `looks_at` each step before it looks at it. Raises TraceFileError.
    """
    moment = cursor.nearest(goal.moments(session.load(here.step)), here.moment, by)
    if moment is not None:
        return Place(here.step, moment)
    source = session.trace.source
    for number in _beyond(source.step_numbers(), here.step, by):
        if cancelled():
            return None
        looks_at(number)
        if not goal.possible(source.step_row(number), session):
            continue
        found = goal.moments(session.load(number))
        if found:
            return Place(number, found[0] if by > 0 else found[-1])
    return None


def seek_around(
    session: Session, goal: Goal, here: Place, cancelled: Callable[[], bool], looks_at: Callable[[int], None]
) -> Place | None:
    """The next goal of this step, after its last one the first; else the nearest of another step, a later one first."""
    moments = goal.moments(session.load(here.step))
    if moments:
        after = cursor.nearest(moments, here.moment, 1)
        return Place(here.step, moments[0] if after is None else after)
    return next((place for by in (1, -1) if (place := seek(session, goal, here, by, cancelled, looks_at))), None)


def _beyond(steps: Sequence[int], step: int, by: int) -> Iterator[int]:
    places = range(bisect_right(steps, step), len(steps)) if by > 0 else range(bisect_left(steps, step) - 1, -1, -1)
    return (steps[place] for place in places)


@dataclass
class InTemplate:
    """A goal that a step's template answers: writes in place, or moves. Templates are looked at once."""

    word: str
    find: Callable[[Template], Sequence[int]]
    _known: dict[int, Sequence[int]] = field(default_factory=dict)

    def possible(self, row: StepRow, session: Session) -> bool:
        if row.template not in self._known or row.open:
            self._known[row.template] = self.find(session.trace.template(row.template))
        return bool(self._known[row.template])

    def moments(self, loaded: Loaded) -> Sequence[int]:
        return self.find(loaded.step.template)


def mutations() -> Goal:
    return InTemplate("in-place change", lambda template: cursor.writes_and_moves(template)[0])


def moves() -> Goal:
    return InTemplate("device or dtype move", lambda template: cursor.writes_and_moves(template)[1])


class BadNumbers:
    """NaN or Inf, in a sample, a norm or the loss."""

    word = "NaN or Inf"

    def possible(self, row: StepRow, session: Session) -> bool:  # noqa: ARG002  # the row tells it
        return row.detail is Detail.FULL or not row.finite

    def moments(self, loaded: Loaded) -> Sequence[int]:
        return loaded.landmarks.bad


def changes(tensor: Tensor) -> Goal:
    """The changes of one tensor: of a parameter in every step, of any other in the steps that know its name."""

    def find(template: Template) -> Sequence[int]:
        number = counterpart(template, tensor)
        return changes_of(Touches(template).of(number)) if number is not None else ()

    return InTemplate(f"change of {tensor_word(tensor)}", find)


def counterpart(template: Template, tensor: Tensor) -> int | None:
    """The tensor's number in another step: the same parameter, or the first of the same name."""
    if tensor.parameter is not None:
        return next((one.number for one in template.tensors if one.parameter == tensor.parameter), None)
    if not tensor.name:
        return None
    return next((one.number for one in template.tensors if one.name == tensor.name), None)


@dataclass
class FindingPlaces:
    """The places of findings: a step that no finding names is never looked at."""

    findings: Sequence[Finding]
    word = "finding"

    def possible(self, row: StepRow, session: Session) -> bool:  # noqa: ARG002  # the row tells it
        return any(finding.step == row.number for finding in self.findings)

    def moments(self, loaded: Loaded) -> Sequence[int]:
        here = (finding for finding in self.findings if finding.step == loaded.step.number)
        return sorted({finding_moment(loaded.step, finding) for finding in here})


def finding_moment(step: Step, finding: Finding) -> int:
    """The moment of `step` that a finding speaks of: of those of its line that of its nodes, else of its call."""
    named = list(dict.fromkeys(moments_of_nodes(step, finding.nodes)))
    culprit = finding.culprit
    if culprit is not None:
        here = moments_of_line(step, culprit.file, culprit.line)
        call = moments_of_line(step, culprit.file, culprit.line, culprit.expression) if culprit.expression else ()
        for found in ([at for at in named if at in here], call, here):
            if found:
                return found[0]
    return named[0] if named else cursor.START


def moments_of_nodes(step: Step, nodes: Iterable[int]) -> Iterator[int]:
    """When each of some nodes of the step's graph was made, or ran."""
    template = step.template
    runs = {(one.graph, one.node): at for at, one in enumerate(step.moments) if isinstance(one, NodeRun)}
    for node in nodes:
        if node < len(template.tensors):
            moment = template.tensors[node].made_by
        elif node < len(template.tensors) + len(template.moments):
            moment = node - len(template.tensors)
        else:
            grad = grad_of(template, node)
            moment = runs.get(grad) if grad is not None else None
        if moment is not None:
            yield moment


def line_moments(source: TraceSource, line: CodeLine) -> InTemplate:
    """The moments of a line: of one call on it, where that was seen; of what it called, where it does nothing else."""
    stacks = (
        stacks_of_line(source, line.file, line.line, line.expression or None)
        or stacks_of_line(source, line.file, line.line)
        or stacks_of_line(source, line.file, line.line, depth=None)
    )

    def find(template: Template) -> Sequence[int]:
        return [index for index, moment in enumerate(template.moments) if moment.stack in stacks]

    return InTemplate(f"moment of {line}", find)


def moments_of_line(step: Step, file: str, line: int, expression: str | None = None) -> Sequence[int]:
    """The moments that a line of the user's file led to; only those of one call on it, where it is told."""
    stacks = stacks_of_line(step.trace.source, file, line, expression)
    return [index for index, moment in enumerate(step.moments) if moment.stack in stacks]


def stacks_of_line(
    source: TraceSource, file: str, line: int, expression: str | None = None, *, depth: int | None = 1
) -> Set[int]:
    """The call stacks that have that line among their innermost frames, as many as `depth`; None: among all."""
    sites = {
        number
        for number, site in source.sites().items()
        if (site.file, site.line) == (file, line) and expression in (None, site.expression)
    }
    return {number for number, stack in source.stacks().items() if sites.intersection(stack.sites[:depth])}


def origin(loaded: Loaded, tensor: int) -> Place | None:
    """Where a tensor was made in this step; None if it came from before it."""
    record = loaded.step.tensors[tensor]
    if record.made_by is not None:
        return Place(loaded.step.number, record.made_by)
    return None


def carried_from(session: Session, loaded: Loaded, tensor: int) -> Place | None:
    """Where an earlier step made a tensor that this step met again. Reads that step; raises NoSuchStep."""
    for number, step, there in loaded.step.row.carried:
        if number == tensor:
            made = session.load(step).step.tensors[there].made_by
            return Place(step, cursor.START if made is None else made)
    return None


def first_use(loaded: Loaded, tensor: int) -> Place | None:
    """Where this step first read a tensor."""
    events = loaded.touches.of(tensor)
    found = next((event.moment for event in events if event.touch in (Touch.READ, Touch.MOVED, Touch.ROOT)), None)
    return Place(loaded.step.number, found) if found is not None else None
