"""The terms that a loss is the sum of: what each was made of, and which parameters it trains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.moments import Backward
from ...model.order import reached
from ...model.trace import Step
from .dataflow import Dataflow
from .grad_lifetimes import GradLifetimes
from .index import Case, once_a_case, once_a_step

_ADDS_UP = op_kinds.SHIFTS | op_kinds.SUMS | {"stack"}
_LEADS_TO_LOSS = _ADDS_UP | op_kinds.SCALES | op_kinds.AVERAGES


class Term(NamedTuple):
    """A number that `op` adds to others on the way to what `backward` starts from; `alive`: it has a gradient."""

    tensor: int
    op: int
    alive: bool
    moment: int
    backward: Backward


def terms(flow: Dataflow, backward: Backward, moment: int) -> Iterator[Term]:
    """The numbers that are added up on the way to a backward's roots."""
    found: dict[int, tuple[Sequence[int], Sequence[int]]] = {}  # by op: the inputs with a gradient, and those without

    def onward(tensor: int) -> Iterator[int]:
        for op in flow.writers.get(tensor, ()):
            if op not in found and op < moment and flow.ops[op].name in _LEADS_TO_LOSS:
                inputs = flow.ops[op].inputs
                alive = [one for one in inputs if flow.needs_grad(one, op)]
                found[op] = alive, [one for one in inputs if one not in alive]
                yield from alive

    reached(backward.roots, onward)
    for op, (alive, constant) in found.items():
        if alive and flow.ops[op].name in _ADDS_UP:
            for one in (*alive, *constant):
                if is_number(flow.step, one):
                    yield Term(one, op, one in alive, moment, backward)


@once_a_step
def alive_terms(case: Case, step: Step) -> Sequence[Term]:
    """The terms with a gradient of all losses of a step."""
    flow = Dataflow.of(case, step)
    return [
        term
        for moment, backward in flow.backwards
        if backward.call == "backward"
        for term in terms(flow, backward, moment)
        if term.alive
    ]


def is_number(step: Step, tensor: int) -> bool:
    """Whether a tensor has one element."""
    return all(size == 1 for size in step.tensors[tensor].shape)


def leaves(flow: Dataflow, tensor: int, before: int) -> frozenset[int]:
    """The parameters that a gradient of `tensor` comes to."""

    def made_of(one: int) -> Iterator[int]:
        for op in flow.writers.get(one, ()):
            if op < before and flow.passes(op, one):
                yield from (other for other in flow.ops[op].inputs if flow.needs_grad(other, op))

    return frozenset(flow.step.parameters_of(reached([tensor], made_of)))


def undetached(flow: Dataflow, op: int) -> int:
    """The value that an op was given, before detach() or .data took its graph."""
    tensor = flow.ops[op].inputs[0]
    while (made := flow.ops.get(_maker(flow, tensor))) is not None and made.name in op_kinds.DETACHES and made.inputs:
        tensor = made.inputs[0]
    return tensor


def _maker(flow: Dataflow, tensor: int) -> int:
    made = flow.step.tensors[tensor].made_by
    return -1 if made is None else made


def taken_out(flow: Dataflow) -> dict[int, float]:
    """The values with a graph that left torch as numbers, where the trace has them, by the op."""
    found: dict[int, float] = {}
    for op in flow.exits:
        tensor = undetached(flow, op)
        made = flow.step.tensors[tensor].made_by
        if made is None or not flow.needs_grad(tensor, op) or tensor in flow.differentiated:
            continue
        for sample in flow.case.samples(flow.step).get((made, "value"), ()):
            if sample.subject == tensor and not sample.of_parameter and sample.values and sample.values[0]:
                found[op] = sample.values[0]
    return found


@once_a_case
def trained_by(case: Case) -> Mapping[int | None, frozenset[int]]:
    """The parameters that updates moved by the gradients of the backwards of each stack."""
    found: dict[int | None, set[int]] = defaultdict(set)
    for use in GradLifetimes.of(case).updates:
        for one, slot in use.slots.items():
            for source in slot.sources:
                found[source].add(one)
    return {stack: frozenset(parameters) for stack, parameters in found.items()}


@once_a_step
def read_later(case: Case, step: Step) -> frozenset[int]:
    """The tensors of a step that a later step met again, of it or of one that did the same."""
    numbers = {row.number for row in case.repeats(step)}
    return frozenset(tensor for number, tensor in _carried(case) if number in numbers)


@once_a_case
def _carried(case: Case) -> frozenset[tuple[int, int]]:
    return frozenset((came, number) for row in case.rows for _, came, number in row.carried)
