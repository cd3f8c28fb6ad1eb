"""Learned coefficients that a loss uses as numbers, and coefficients whose own loss moves what they weigh."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import OpCall
from ...model.trace import Step
from ...repair.changes.calls import without_call
from ...repair.changes.values import named_followed_by
from ...repair.ways import Way
from ..evidence.arguments import arguments
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.loss_terms import is_number, leaves, taken_out
from ..evidence.parameters import Ownership
from ..evidence.wording import parameter_names, variable
from ..rules import LIKELY, SURE, Rule, check

AS_NUMBER = Rule(
    "GS219",
    "coefficient-as-number",
    Severity.WARNING,
    "A learned coefficient is taken out of torch, and a loss is multiplied by the number.",
)
MOVES_WHAT_IT_WEIGHS = Rule(
    "GS414",
    "coefficient-moves-what-it-weighs",
    Severity.WARNING,
    "The loss of a coefficient has a graph to what the coefficient weighs, and moves that as well.",
)
_TELLS_NOTHING = frozenset({0.0, 0.5, 1.0, 2.0, -1.0})  # as constants of other lines may well be


# -- GS219 -----------------------------------------------------------------------------------------


@check(AS_NUMBER)
def coefficient_as_number(case: Case) -> Iterator[Finding]:
    """Values made of parameters alone that item() or float() took out, and by which a loss is then multiplied."""
    found: dict[int | None, list[tuple[Step, int, int, float]]] = defaultdict(list)
    for step in case.training():
        flow = Dataflow.of(case, step)
        taken = {op: value for op, value in taken_out(flow).items() if _of_parameters_alone(flow, op)}
        used = sorted(flow.behind(sorted(flow.differentiated))[1]) if taken else ()
        for op, value in taken.items():
            for index in used:
                factors = [one for one in arguments(flow.ops[index]).positional if isinstance(one, float)]
                scales = flow.ops[index].name in op_kinds.SCALES and index > op
                if scales and any(math.isclose(one, value, rel_tol=1e-6) for one in factors):
                    found[flow.ops[op].stack].append((step, op, index, value))
                    break
    for group in found.values():
        telling = {value for *_, value in group} - _TELLS_NOTHING
        if len(group) > 1 and len(telling) > 1:
            yield _as_number(case, *group[0][:3])


def _of_parameters_alone(flow: Dataflow, op: int) -> bool:
    """Whether the value that an op took out was made of parameters that are to be trained, and of no data."""
    ends = _ends(flow, flow.ops[op].inputs, op)
    trained = Ownership.of(flow.case).updated
    return bool(ends) and all(flow.step.tensors[one].parameter in trained for one in ends)


def _ends(flow: Dataflow, tensors: Sequence[int], before: int) -> list[int]:
    """What some tensors were made of in the end: what no op of the step has made of anything."""
    behind, _ = flow.behind(tensors, before)
    return [one for one in behind if not any(flow.ops[op].inputs for op in flow.writers.get(one, ()))]


def _as_number(case: Case, step: Step, op: int, index: int) -> Finding:
    flow = Dataflow.of(case, step)
    call, place = flow.ops[op], case.place(flow.ops[op].stack)
    names = parameter_names(case, sorted(leaves(flow, call.inputs[0], op)))
    return AS_NUMBER.finding(
        f"{names} enters the loss as a plain number: {call.name}() takes it out of the graph",
        culprit=place,
        step=step.number,
        confidence=SURE,
        related=case.places((flow.ops[index].stack, "the loss is multiplied by the number here")),
        explanation=f"A number has no graph: this factor changes the loss, and gives {names} no gradient. What else of "
        "the loss it is in then trains it alone, one way.",
        fix=f"use the tensor itself, without {call.name}()",
        fixes=case.fixes(
            Way("use the tensor", "the coefficient is trained by what it weighs", place, without_call(call.name))
        ),
    )


# -- GS414 -----------------------------------------------------------------------------------------


@check(MOVES_WHAT_IT_WEIGHS)
def moves_what_it_weighs(case: Case) -> Iterator[Finding]:
    """A coefficient times a result with its graph, where another term has the same result times its detached value."""
    told: set[int | None] = set()
    for step in case.training():
        flow = Dataflow.of(case, step)
        products = [
            (index, flow.ops[index], pair)
            for index in sorted(flow.behind(sorted(flow.differentiated))[1])
            if flow.ops[index].name in op_kinds.MULTIPLIES and len(flow.ops[index].inputs) == 2
            for pair in (flow.ops[index].inputs, flow.ops[index].inputs[::-1])
            if is_number(step, pair[0]) and flow.needs_grad(pair[1], index) and not is_number(step, pair[1])
        ]
        for index, op, (coefficient, result) in products:
            mine = leaves(flow, coefficient, index)
            learned = flow.needs_grad(coefficient, index) and _of_one_parameter(flow, coefficient, index)
            if not mine or op.stack in told or not learned:
                continue
            behind = flow.behind([result], index)[0]
            for other, _, (number, weighed) in products:
                detached = not flow.needs_grad(number, other) and weighed in behind
                if detached and mine & frozenset(step.parameters_of(flow.behind([number], other)[0])):
                    told.add(op.stack)
                    yield _moves(case, step, op, result, mine)
                    break


def _of_one_parameter(flow: Dataflow, tensor: int, before: int) -> bool:
    """Whether a value was made of nothing but one parameter."""
    ends = _ends(flow, [tensor], before)
    return len(ends) == 1 and flow.step.tensors[ends[0]].parameter is not None


def _moves(case: Case, step: Step, op: OpCall, result: int, mine: frozenset[int]) -> Finding:
    name, names = case.called(step, result), parameter_names(case, sorted(mine))
    return MOVES_WHAT_IT_WEIGHS.finding(
        f"the loss of {names} has {name} with its graph: it moves what {names} weighs, too",
        culprit=case.place(op.stack),
        step=step.number,
        confidence=LIKELY,
        explanation=f"Another term has the detached value of {names} times the same result: that one is to train the "
        f"network. Here {names} alone is to be trained, but the gradient goes on through {name}.",
        fix=f"detach what is weighed: {variable(name, 'value')}.detach()",
        fixes=case.fixes(
            Way(
                f"detach {name} here",
                f"this term trains {names} alone",
                case.place(op.stack),
                named_followed_by(name, ".detach()"),
            )
        ),
    )


CHECKS = (coefficient_as_number, moves_what_it_weighs)
