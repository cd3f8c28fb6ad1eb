"""Gradient estimators put together wrongly: straight-through, samples without a gradient, baselines with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.trace import Step
from ...repair.changes.calls import renamed
from ...repair.changes.values import named_followed_by, named_replaced
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.loss_terms import leaves, trained_by
from ..evidence.parameters import untrained
from ..evidence.wording import parameter_names, variable
from ..rules import LIKELY, SURE, Rule, check

STRAIGHT_TO_ITSELF = Rule(
    "GS213",
    "straight-through-in-its-own-loss",
    Severity.WARNING,
    "A loss pulls a straight-through result towards the very tensor that its gradient goes to.",
)
DRAWN_WITHOUT_GRADIENT = Rule(
    "GS214",
    "sample-without-gradient",
    Severity.WARNING,
    "A sample drawn without a gradient goes into a loss that is to train its distribution.",
)
WITH_ITSELF = Rule(
    "GS217",
    "compared-with-itself",
    Severity.WARNING,
    "A loss compares a result with its own detached values: it trains nothing.",
)
BASELINE = Rule(
    "GS413",
    "baseline-not-detached",
    Severity.WARNING,
    "The policy's loss also moves the baseline that it is measured against.",
)

_PAIRS = op_kinds.MEASURES_DISTANCE | op_kinds.SUBTRACTS
_LOGARITHMS = op_kinds.GIVES_LOGARITHMS | {"logsumexp", "binary_cross_entropy_with_logits"}
_SQUARES = frozenset({"pow", "square", "abs"})


# -- GS213 -----------------------------------------------------------------------------------------


class _StraightThrough(NamedTuple):
    """`result` has the value of `hard` and the gradient of `soft`: soft + (hard - soft).detach()."""

    result: int
    soft: int
    hard: int


def _straight_throughs(flow: Dataflow) -> Iterator[_StraightThrough]:
    for op in flow.ops.values():
        if op.name not in op_kinds.ADDS or len(op.inputs) != 2 or len(op.outputs) != 1:
            continue
        for soft, rest in (op.inputs, op.inputs[::-1]):
            cut = flow.step.maker(rest)
            gap = flow.step.maker(cut.inputs[0]) if cut is not None and cut.name in op_kinds.DETACHES else None
            if gap is not None and gap.name in op_kinds.SUBTRACTS and gap.inputs[1:] == (soft,):
                yield _StraightThrough(op.outputs[0], soft, gap.inputs[0])


@check(STRAIGHT_TO_ITSELF)
def straight_through_in_its_own_loss(case: Case) -> Iterator[Finding]:
    """Losses meant for the hard values (a codebook's) that are given the straight-through result in their place."""
    missing = untrained(case).parameters
    told: set[int | None] = set()
    for step in case.training() if missing else ():
        flow = Dataflow.of(case, step)
        behind = flow.behind(sorted(flow.differentiated))[1]
        for one in _straight_throughs(flow):
            starved = missing.intersection(leaves(flow, one.hard, len(step.moments)))
            for op in flow.readers.get(one.result, ()) if starved else ():
                call = flow.ops[op]
                other = next((tensor for tensor in call.inputs if tensor != one.result), None)
                if op not in behind or call.name not in _PAIRS or other is None or call.stack in told:
                    continue
                if not flow.needs_grad(other, op) and one.soft in flow.behind([other], op)[0]:
                    told.add(call.stack)
                    yield _to_itself(case, step, flow, one, op, starved)


def _to_itself(
    case: Case, step: Step, flow: Dataflow, one: _StraightThrough, op: int, starved: frozenset[int]
) -> Finding:
    result, soft, hard = (case.called(step, tensor) for tensor in one)
    names, made = parameter_names(case, sorted(starved)), step.maker(one.result)
    return STRAIGHT_TO_ITSELF.finding(
        f"{names} never get a gradient: this loss is given {result}, whose gradient goes straight to {soft}",
        culprit=case.place(flow.ops[op].stack),
        step=step.number,
        confidence=SURE,
        related=case.places((made.stack if made is not None else None, "its value is one thing, its gradient another")),
        explanation=f"{result} has the value of {hard}, but passes its gradient past it to {soft}, which stands on the "
        f"other side of this loss, detached. So the loss moves {soft} where it is already, and {hard} not at all.",
        fix=f"compare {variable(hard, 'the hard values')} itself, before the straight-through, with the detached side",
        fixes=case.fixes(
            Way(
                f"compare {hard} itself",
                f"the loss moves {hard} towards the other side",
                case.place(flow.ops[op].stack),
                named_replaced(step.tensors[one.result].name or result, hard),
            )
        ),
        nodes=[tensor_id(step.template, one.result)],
    )


# -- GS214 -----------------------------------------------------------------------------------------


@check(DRAWN_WITHOUT_GRADIENT)
def drawn_without_gradient(case: Case) -> Iterator[Finding]:
    """Samples of a trained distribution that layers behind it read, and that are no action with a log-probability."""
    told: set[int | None] = set()
    for step in case.training():
        flow = Dataflow.of(case, step)
        for index, op in flow.ops.items():
            if op.name not in op_kinds.DRAWS or op.direct or op.grad_enabled or op.stack in told:
                continue
            made_of = {one for one in flow.behind(op.inputs, index)[0] if flow.needs_grad(one)}
            drawn, users = flow.ahead(op.outputs)
            if not made_of or not drawn & flow.differentiated or _scored(flow, op.outputs, made_of):
                continue
            wanting = frozenset(step.parameters_of(sorted(made_of)))
            for moment, backward in flow.backwards:
                through = [one for one in users if flow.calls_of(one) and one < moment]
                if through and drawn & flow.behind(backward.roots, moment)[0]:
                    if wanting & trained_by(case).get(backward.stack, frozenset()):
                        told.add(op.stack)
                        yield _drawn(case, step, index, wanting, backward.stack)
                    break


def _scored(flow: Dataflow, drawn: tuple[int, ...], made_of: set[int]) -> bool:
    """Whether an op joins the sample with what it was drawn from, as a log-probability does."""
    values, _ = flow.ahead(drawn)
    near = {one for tensor in drawn for op in flow.readers.get(tensor, ()) for one in flow.ops[op].inputs}
    own = {one for one in near - values if flow.needs_grad(one)}
    return any(one in made_of or made_of & flow.behind([one])[0] for one in own if _is_result(flow, one))


def _is_result(flow: Dataflow, tensor: int) -> bool:
    return flow.step.tensors[tensor].parameter is None


def _drawn(case: Case, step: Step, index: int, wanting: frozenset[int], backward: int | None) -> Finding:
    op = Dataflow.of(case, step).ops[index]
    names = parameter_names(case, sorted(wanting), 2)
    return DRAWN_WITHOUT_GRADIENT.finding(
        f"the sample has no gradient: what is computed from it trains nothing of {names}",
        culprit=case.place(op.stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((backward, "this backward trains them by other terms only")),
        explanation="sample() draws under no_grad. The layers behind it learn, but the distribution that it was drawn "
        "from does not learn from them.",
        fix="draw with rsample(), which keeps the graph; or add the log-probability times the result to the loss",
        fixes=case.fixes(
            Way("draw with rsample()", "the distribution learns", case.place(op.stack), renamed(("sample",), "rsample"))
        ),
        nodes=[tensor_id(step.template, tensor) for tensor in op.outputs[:1]],
    )


# -- GS217 -----------------------------------------------------------------------------------------

_SHAPES_ONLY = (
    op_kinds.SOFTMAXES
    | op_kinds.SIGMOIDS
    | op_kinds.GIVES_LOGARITHMS
    | op_kinds.SCALES
    | op_kinds.VIEWS
    | op_kinds.CASTS
    | op_kinds.COPIES
    | op_kinds.DETACHES
)


@check(WITH_ITSELF)
def compared_with_itself(case: Case) -> Iterator[Finding]:
    """Distances between a tensor and a target that was made of the same tensor, without its graph, in the same way."""
    told: set[int | None] = set()
    for step in case.training():
        flow = Dataflow.of(case, step)
        for index, op in flow.ops.items():
            if op.name not in op_kinds.MEASURES_DISTANCE | {"kl_div"} or len(op.inputs) < 2 or op.stack in told:
                continue
            one, other = op.inputs[:2]
            if flow.needs_grad(one, index) is flow.needs_grad(other, index):
                continue
            if _first(flow, one) == _first(flow, other):
                told.add(op.stack)
                yield _compared(case, step, index)


def _first(flow: Dataflow, tensor: int) -> int:
    """What a tensor was made of by ops that look at nothing else."""
    for _ in range(16):
        made = flow.step.maker(tensor)
        if made is None or made.name not in _SHAPES_ONLY or len(set(made.inputs)) != 1:
            return tensor
        tensor = made.inputs[0]
    return tensor


def _compared(case: Case, step: Step, index: int) -> Finding:
    op = Dataflow.of(case, step).ops[index]
    name = case.called(step, _first(Dataflow.of(case, step), op.inputs[0]))
    start = next((one.stack for moment, one in Dataflow.of(case, step).backwards if moment > index), None)
    return WITH_ITSELF.finding(
        f"{op.name} compares {name} with its own detached values: its gradient is 0",
        culprit=case.meeting(op.stack, start),
        step=step.number,
        confidence=SURE,
        related=case.places((op.stack, "compared here")),
        explanation=f"Both sides are {name}, one of them without its graph. They are equal whatever the parameters "
        "are, so this term asks for no change.",
        fix="give it the values of the other network, or of the other view, as the target",
    )


# -- GS413 -----------------------------------------------------------------------------------------


@check(BASELINE)
def baseline_not_detached(case: Case) -> Iterator[Finding]:
    """Log-probabilities times (data - value), where the value has a loss of its own and is not detached here."""
    told: set[int | None] = set()
    for step in case.training():
        flow = Dataflow.of(case, step)
        behind = flow.behind(sorted(flow.differentiated))[1]
        for index in sorted(behind):
            op = flow.ops[index]
            if op.name not in op_kinds.MULTIPLIES or len(op.inputs) != 2 or op.stack in told:
                continue
            if not all(flow.needs_grad(tensor, index) for tensor in op.inputs):
                continue
            for gap, score in (op.inputs, op.inputs[::-1]):
                value = _baseline(flow, gap, index)
                if value is None or not _has_own_loss(flow, gap, value, index, behind) or not _is_score(flow, score):
                    continue
                if leaves(flow, value, index) - leaves(flow, score, index):
                    told.add(op.stack)
                    yield _not_detached(case, step, index, gap, value)
                break


def _baseline(flow: Dataflow, gap: int, before: int) -> int | None:
    """The one value with a gradient in `data - value`, looking through what only arranges or scales the gap."""
    for _ in range(8):
        op = flow.step.tensors[gap].made_by
        call = flow.step.maker(gap)
        if op is None or call is None or op >= before:
            return None
        alive = [one for one in call.inputs if flow.needs_grad(one, op)]
        if len(alive) != 1:
            return None
        if call.name in op_kinds.SUBTRACTS and len(call.inputs) == 2:
            return alive[0]
        gap = alive[0]
    return None


def _is_score(flow: Dataflow, tensor: int) -> bool:
    return any(flow.ops[op].name in _LOGARITHMS for op in flow.behind([tensor])[1])


def _has_own_loss(flow: Dataflow, gap: int, value: int, product: int, behind: set[int]) -> bool:
    """Whether the value is also compared with data elsewhere in a loss, by a distance or a square."""
    gaps = {gap}
    for op in flow.readers.get(value, ()):
        call = flow.ops[op]
        if op in behind and call.name in op_kinds.MEASURES_DISTANCE:
            return True
        if op in behind and call.name in op_kinds.SUBTRACTS:
            gaps.update(call.outputs)
    users = (op for one in gaps for op in flow.readers.get(one, ()) if op != product)
    return any(flow.ops[op].name in _SQUARES and op in behind for op in users)


def _not_detached(case: Case, step: Step, index: int, gap: int, value: int) -> Finding:
    flow = Dataflow.of(case, step)
    op, name = flow.ops[index], case.called(step, gap)
    moved = parameter_names(case, sorted(leaves(flow, value, index)), 2)
    return BASELINE.finding(
        f"{name} is not detached: the policy's loss moves {moved}, too",
        culprit=case.place(op.stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((step.stack(flow.step.tensors[gap].made_by), "the value has a gradient here")),
        explanation=f"The score is weighted by {name}, which says how good an action was: a number to the policy. With "
        "its graph on, this loss also pushes the value up or down to make itself small, against the value's own loss.",
        fix=f"use {variable(name, 'advantage')}.detach() here",
        fixes=case.fixes(
            Way(
                f"detach {name} in the policy's loss",
                "to the policy it is a number; the value learns by its own loss",
                case.place(op.stack),
                named_followed_by(name, ".detach()"),
            )
        ),
        nodes=[tensor_id(step.template, gap)],
    )


CHECKS = (straight_through_in_its_own_loss, drawn_without_gradient, compared_with_itself, baseline_not_detached)
