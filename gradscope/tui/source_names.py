"""What a line of the source did in a step: which lines ran, and which tensors a line names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..model.trace import Step
from .finding_lines import CodeLine
from .jumps import line_moments
from .subject import tensors_of

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def lines_that_ran(step: Step, file: str) -> frozenset[int]:
    """The lines of a file at which a moment of the step was, innermost."""
    source = step.trace.source
    sites, stacks = source.sites(), source.stacks()
    lines: set[int] = set()
    for number in {moment.stack for moment in step.moments if moment.stack is not None}:
        first = stacks[number].sites[:1] if number in stacks else ()
        lines.update(sites[site].line for site in first if site in sites and sites[site].file == file)
    return frozenset(lines)


def tensors_named(step: Step, line: CodeLine, code: str, moment: int) -> Sequence[int]:
    """The tensors that `code` names, in its order: those that its own calls met, else the last one made by `moment`."""
    met = list(_met(step, line))
    found = (_meant(step, met, name, moment) for name in dict.fromkeys(_NAME.findall(code)))
    return [tensor for tensor in dict.fromkeys(found) if tensor is not None]


def _met(step: Step, line: CodeLine) -> Iterator[int]:
    moments = line_moments(step.trace.source, line).find(step.template)
    for index in moments:
        yield from tensors_of(step.template, index)


def _meant(step: Step, met: Sequence[int], name: str, moment: int) -> int | None:
    """The tensor of that name."""
    here = next((number for number in met if step.tensors[number].name == name), None)
    if here is not None:
        return here
    called = [tensor for tensor in step.tensors if tensor.name == name]
    before = [tensor for tensor in called if tensor.made_by is None or tensor.made_by <= moment]
    meant = before[-1:] or called[:1]
    return meant[0].number if meant else None
