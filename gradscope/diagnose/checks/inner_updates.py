"""Updates inside a loss, as meta-learning makes them: whether the outer gradient goes through them."""

from __future__ import annotations

from collections.abc import Iterator

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import Backward
from ...model.order import reached
from ...model.trace import Step
from ...repair.changes.calls import with_keyword
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.wording import call_at, parameter_names
from ..rules import LIKELY, Rule, check

FIRST_ORDER = Rule(
    "GS218",
    "inner-gradient-constant",
    Severity.NOTE,
    "An inner update's gradient has no graph: the outer loss takes it for a constant.",
)


@check(FIRST_ORDER)
def inner_gradient_constant(case: Case) -> Iterator[Finding]:
    """`p - lr * g`, with a graph behind p and none behind g = autograd.grad(…), on the way to a later backward."""
    told: set[int | None] = set()
    for step in case.training():
        flow = Dataflow.of(case, step)
        for moment, inner in flow.backwards:
            if inner.call != "grad" or inner.create_graph or inner.stack in told:
                continue
            outer = next((one for later, one in flow.backwards if later > moment and one.call == "backward"), None)
            updated = _updated(flow, moment, inner, outer) if outer is not None else []
            if outer is not None and updated:
                told.add(inner.stack)
                yield _constant(case, step, inner, outer, updated)


def _updated(flow: Dataflow, moment: int, inner: Backward, outer: Backward) -> list[int]:
    """The parameters whose inner update, made of their own gradient, the outer backward goes back through."""
    given = next((op for op in flow.ops.values() if op.name == "grad" and op.stack == inner.stack), None)
    used = flow.behind(outer.roots)[0] if given is not None else set()
    found = []
    for own, grad in zip(inner.inputs, given.outputs if given is not None else ()):
        parameter = flow.step.tensors[own].parameter
        for scaled in reached([grad], lambda one: _scaled(flow, one)):
            for op in flow.readers.get(scaled, ()):
                call = flow.ops[op]
                adds = op > moment and call.name in op_kinds.ADDS | op_kinds.SUBTRACTS and own in call.inputs
                if parameter is not None and adds and any(flow.needs_grad(one) and one in used for one in call.outputs):
                    found.append(parameter)
    return found


def _scaled(flow: Dataflow, tensor: int) -> Iterator[int]:
    for op in flow.readers.get(tensor, ()):
        if flow.ops[op].name in op_kinds.SCALES:
            yield from flow.ops[op].outputs


def _constant(case: Case, step: Step, inner: Backward, outer: Backward, updated: list[int]) -> Finding:
    call, place = call_at(case, inner.stack, "autograd.grad()"), case.place(inner.stack)
    return FIRST_ORDER.finding(
        f"{call} gives gradients without a graph: the outer loss does not differentiate through the inner update. Is "
        "that intended?",
        culprit=place,
        step=step.number,
        confidence=LIKELY,
        related=case.places((outer.stack, "the outer backward")),
        explanation=f"{parameter_names(case, updated)} are updated by these gradients inside the loss. Without "
        "create_graph=True they are constants, and the outer gradient is the first-order one (FOMAML): what the "
        "parameters do to the inner gradient is left out.",
        fix="pass create_graph=True for the whole meta-gradient; leave it if the first-order one is meant",
        fixes=case.fixes(
            Way(
                "keep the graph of the inner gradient",
                "the outer loss differentiates through the update",
                place,
                with_keyword(("grad",), "create_graph", "True"),
            )
        ),
    )


CHECKS = (inner_gradient_constant,)
