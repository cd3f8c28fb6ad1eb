"""Reads of a `.grad` that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...model.build import tensor_id
from ...model.findings import Place
from ...model.moments import OpCall
from .ancestry import Made, made
from .index import Case, Event
from .torch_errors import ErrorKind


@dataclass
class Reads:
    """All reads of `.grad` on one tensor that can have none."""

    case: Case
    event: Event[OpCall]  # the first
    subject: Made
    fatal: bool = False

    @property
    def name(self) -> str:
        return self.case.called(self.event.step, self.event.moment.inputs[0])

    @property
    def read(self) -> tuple[Place, ...]:
        return self.case.places((self.event.moment.stack, "its .grad, which is None, was read here"))

    @property
    def nodes(self) -> tuple[int, ...]:
        return (tensor_id(self.event.step.template, self.event.moment.inputs[0]),)


def reads_of_nothing(case: Case) -> Iterator[Reads]:
    """Reads of `.grad` on tensors that can have none, each tensor once. `fatal`: the script died of the None."""
    found: dict[tuple[int, int], Reads] = {}
    died = case.failure
    line = case.place(died.moment.stack) if died is not None and case.error.kind is ErrorKind.NONE_USED else None
    for event in case.calls("grad"):
        if event.moment.outputs or len(event.moment.inputs) != 1 or not event.moment.direct:
            continue
        subject = made(case, event.step, event.moment.inputs[0])
        reads = found.setdefault(subject.key, Reads(case, event, subject))
        here = case.place(event.moment.stack)
        if line is not None and here is not None and (here.file, here.line) == (line.file, line.line):
            reads.fatal = True
    yield from found.values()
