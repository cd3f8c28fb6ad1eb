"""Softmaxes over one axis whose weights are then summed over another."""

from __future__ import annotations

from collections.abc import Iterator

from ...model import op_kinds
from ...model.build import op_id
from ...model.findings import Finding, Severity
from ...model.moments import OpCall
from ...repair.changes.calls import with_keyword
from ...repair.ways import Way
from ..evidence.arguments import arguments
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, Event
from ..rules import LIKELY, Rule, check

OTHER_AXIS = Rule(
    "GS909",
    "softmax-over-another-axis",
    Severity.WARNING,
    "Weights are made to sum to 1 over one axis, and are then summed over another.",
)
_KEEPS_AXES = op_kinds.DROPOUTS | op_kinds.CASTS | op_kinds.COPIES
_MATRIX_PRODUCTS = frozenset({"matmul", "bmm"})


@check(OTHER_AXIS)
def softmax_over_another_axis(case: Case) -> Iterator[Finding]:
    """The axis of each softmax against the one that a product with its result sums over."""
    told: set[int | None] = set()
    for event in case.calls("softmax"):
        axis, rank = _axis(event), len(event.step.tensors[event.moment.inputs[0]].shape) if event.moment.inputs else 0
        if axis is None or rank < 2 or event.moment.stack in told or not event.moment.grad_nodes:
            continue
        flow = Dataflow.of(case, event.step)
        weights, product = _product(flow, event.moment.outputs[0])
        if product is not None and product.name in op_kinds.MULTIPLIES:
            product, summed = _sum_of(flow, product, rank)
        else:
            summed = _summed(product, weights, rank) if product is not None else None
        if product is not None and summed is not None and axis % rank != summed:
            told.add(event.moment.stack)
            yield _other_axis(case, event, product, axis % rank, summed)


def _axis(event: Event[OpCall]) -> int | None:
    given = arguments(event.moment).get("dim", 0)
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _product(flow: Dataflow, weights: int) -> tuple[int, OpCall | None]:
    """The weights as they go into the one op that reads them, and that op."""
    for _ in range(4):
        readers = [flow.ops[op] for op in flow.readers.get(weights, ())]
        if len(readers) != 1 or readers[0].name not in _KEEPS_AXES or not readers[0].outputs:
            return weights, readers[0] if len(readers) == 1 else None
        weights = readers[0].outputs[0]
    return weights, None


def _summed(product: OpCall, weights: int, rank: int) -> int | None:
    """The one axis of the weights that the product sums over; None where that is not known, or they come second."""
    if product.name in _MATRIX_PRODUCTS:
        return rank - 1 if product.inputs[0] == weights != product.inputs[-1] else None
    if product.name != "einsum" or product.given is None:
        return None
    equation = next((one for one in product.given.positional if isinstance(one, str)), "")
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    mine = parts[0] if product.inputs[0] == weights else parts[-1]
    gone = [place for place, letter in enumerate(mine) if letter not in right]
    return gone[0] if arrow and len(parts) == 2 and len(mine) == rank and len(gone) == 1 else None


def _sum_of(flow: Dataflow, weighted: OpCall, rank: int) -> tuple[OpCall | None, int | None]:
    """The one op that sums what a weight for each vector was multiplied by, and the one axis that it sums over.

    A vector's weight is spread over its axis. Weights of the values' own shape may well be counted over any axis.
    """
    readers = [flow.ops[op] for one in weighted.outputs[:1] for op in flow.readers.get(one, ())]
    shapes = {flow.step.tensors[one].shape for one in weighted.inputs}
    if len(readers) != 1 or readers[0].name not in op_kinds.SUMS or len(shapes) != 2 or {*map(len, shapes)} != {rank}:
        return None, None
    axis = arguments(readers[0]).get("dim", 0)
    single = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    if not isinstance(single, int) or isinstance(single, bool):
        return None, None
    return readers[0], single % rank


def _other_axis(case: Case, event: Event[OpCall], product: OpCall, axis: int, summed: int) -> Finding:
    step, place = event.step, case.place(event.moment.stack)
    shape = step.tensors[event.moment.inputs[0]].shape
    return OTHER_AXIS.finding(
        f"softmax makes its weights sum to 1 over axis {axis}, and {product.name} sums over axis {summed}",
        culprit=place,
        step=step.number,
        confidence=LIKELY,
        related=case.places((product.stack, "the weighted sum")),
        explanation=f"Of {tuple(shape)}, axis {axis} ({shape[axis]}) is shared out: its members, such as the samples "
        f"of a batch, take weight from each other, and the weights of one sum over axis {summed} ({shape[summed]}) do "
        "not add up to 1.",
        fix=f"softmax over the axis that is summed: dim={summed - len(shape)}",
        fixes=case.fixes(
            Way(
                "share out the axis that is summed",
                "each sum is a mean of its own",
                place,
                with_keyword(("softmax",), "dim", str(summed - len(shape))),
            )
        ),
        nodes=(op_id(step.template, event.position),),
    )


CHECKS = (softmax_over_another_axis,)
