"""Parts of a loss that train nothing: computed and never added, overwritten, cut off, or added as a plain number."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.moments import OpCall
from ...model.trace import Step
from ...repair.changes.calls import without_call
from ...repair.changes.loops import accumulated
from ...repair.changes.values import receiver_added
from ...repair.ways import Way
from ...text import number, plural
from ..evidence.arguments import arguments
from ..evidence.cut_fixes import rejoined
from ..evidence.dataflow import Dataflow
from ..evidence.gradient_cuts import Cut, cut_of, place_of
from ..evidence.index import Case, once_a_case
from ..evidence.loss_terms import Term, alive_terms, is_number, leaves, read_later, taken_out, trained_by, undetached
from ..evidence.parameters import Ownership
from ..evidence.statements import in_loop
from ..evidence.wording import call_at, parameter_names, variable
from ..rules import LIKELY, POSSIBLE, SURE, Rule, check

TRAINS_NOBODY = Rule(
    "GS208", "term-trains-nobody", Severity.WARNING, "A term of the loss reaches no parameter that is updated with it."
)
NEVER_USED = Rule(
    "GS210",
    "loss-never-used",
    Severity.WARNING,
    "A loss is computed from what is trained, and no backward starts from it.",
)
NUMBER_ADDED = Rule(
    "GS212",
    "number-added-to-loss",
    Severity.WARNING,
    "A value is taken out of torch by item() or float() and added to the loss as a plain number.",
)


# -- GS208 -----------------------------------------------------------------------------------------


@check(TRAINS_NOBODY)
def terms_that_train_nobody(case: Case) -> Iterator[Finding]:
    """Terms whose gradients go to parameters that no update moves with them, since they are cut off from those."""
    told: set[int | None] = set()
    for step in case.training():
        flow = Dataflow.of(case, step)
        for term in alive_terms(case, step):
            trained = trained_by(case).get(term.backward.stack, frozenset())
            mine = leaves(flow, term.tensor, term.op)
            if not trained or not mine or mine & trained:
                continue
            cut = _cut_from(flow, term, trained)
            if cut is not None and flow.ops[cut.op].stack not in told:
                told.add(flow.ops[cut.op].stack)
                yield _term_trains_nobody(case, step, flow, term, cut, mine, trained)


def _cut_from(flow: Dataflow, term: Term, trained: frozenset[int]) -> Cut | None:
    """The first op that cuts the term off from what its loss trains."""
    behind, ops = flow.behind([term.tensor], term.op)
    tensors = [tensor.number for tensor in flow.step.tensors if tensor.parameter in trained]
    _, with_grad = flow.ahead(tensors, with_grad=True)
    cuts = [op for op in sorted(ops & with_grad) if behind.intersection(flow.cuts.get(op, ()))]
    return cut_of(flow, cuts[0]) if cuts else None


def _term_trains_nobody(
    case: Case, step: Step, flow: Dataflow, term: Term, cut: Cut, mine: frozenset[int], trained: frozenset[int]
) -> Finding:
    name, op = case.called(step, term.tensor), flow.ops[cut.op]
    given = case.called(step, op.inputs[0]) if op.inputs else op.name
    return TRAINS_NOBODY.finding(
        f"{name} trains nothing: {op.name} cuts it off from {parameter_names(case, sorted(trained), 2)}",
        culprit=place_of(flow, cut),
        step=step.number,
        confidence=SURE,
        related=case.places((flow.ops[term.op].stack, "added to the loss here"), (term.backward.stack, "backward")),
        explanation=f"Its gradients reach {parameter_names(case, sorted(mine), 2)} only, and no update uses those; "
        f"{given} passes on its value alone. In this loss {name} is as good as a constant.",
        fix=f"pass {given} on with its graph in this loss",
        fixes=rejoined(flow, cut),
        nodes=[tensor_id(step.template, term.tensor)],
    )


# -- GS210 -----------------------------------------------------------------------------------------


class _Idle(NamedTuple):
    """A number with a graph of which no backward starts; `overwritten`: the same line made one in the step that did."""

    step: Step
    op: int
    tensor: int
    overwritten: bool
    read: bool


@check(NEVER_USED)
def losses_never_used(case: Case) -> Iterator[Finding]:
    """Numbers made of trained parameters, with a graph, that no backward starts from and no op but item() reads."""
    found: dict[int | None, list[_Idle]] = defaultdict(list)
    used = {
        flow.ops[op].stack
        for step in case.distinct
        for flow in (Dataflow.of(case, step),)
        for op in flow.behind(sorted(flow.differentiated))[1]
    }
    for step in case.training():
        for idle in _idle(case, step):
            found[Dataflow.of(case, step).ops[idle.op].stack].append(idle)
    for step, op, *_ in _numbers_added(case):  # told as that
        made = step.maker(undetached(Dataflow.of(case, step), op))
        found.pop(made.stack if made is not None else None, None)
    for stack, group in found.items():
        overwritten = [one for one in group if one.overwritten]
        if overwritten:
            yield _overwritten(case, overwritten)
        elif stack not in used and sum(len(case.repeats(one.step)) for one in group) > 1:
            yield from _never_used(case, group)


def _idle(case: Case, step: Step) -> Iterator[_Idle]:
    flow = Dataflow.of(case, step)
    last = max((moment for moment, one in flow.backwards if one.call == "backward"), default=-1)
    started = {flow.ops[op].stack for op in flow.behind(sorted(flow.differentiated))[1]}
    later, updated = read_later(case, step), Ownership.of(case).updated
    for index, op in flow.ops.items():
        if index > last or not op.grad_nodes or not op.direct or len(op.outputs) != 1 or op.name in op_kinds.VIEWS:
            continue
        tensor = op.outputs[0]
        if step.tensors[tensor].shape or tensor in flow.differentiated or tensor in later:
            continue
        readers = [flow.ops[reader].name for reader in flow.readers.get(tensor, ())]
        if not set(readers) <= op_kinds.LEAVES_TORCH | op_kinds.DETACHES or op.outputs[0] in op.inputs:
            continue
        if leaves(flow, tensor, index + 1) & updated:
            yield _Idle(step, index, tensor, op.stack in started, bool(readers))


def _start(flow: Dataflow) -> int | None:
    """The stack of the step's last backward()."""
    return next((one.stack for _, one in reversed(flow.backwards) if one.call == "backward"), None)


def _overwritten(case: Case, group: Sequence[_Idle]) -> Finding:
    step, index, tensor, *_ = group[0]
    flow = Dataflow.of(case, step)
    lost = len([one for one in group if one.step is step])
    name = case.called(step, tensor)
    starts = _start(flow)
    return NEVER_USED.finding(
        f"{name} is computed {lost + 1} times before {call_at(case, starts, 'the backward')}: only the last one counts",
        culprit=in_loop(case, flow.ops[index].stack, starts) or case.meeting(flow.ops[index].stack, starts),
        step=step.number,
        confidence=LIKELY,
        related=case.places((starts, "starts from the last one alone")),
        explanation=f"The line gives a new {name} each time and the name forgets the one before: what {lost} of them "
        f"would train, {parameter_names(case, sorted(leaves(flow, tensor, index + 1)), 2)}, gets nothing from them.",
        fix="add them up: total = total + …, and call backward on the sum",
        fixes=case.fixes(
            Way(
                "add them up",
                "each of them counts as much as the last one did",
                case.place(flow.ops[index].stack),
                accumulated(until=case.place(starts)),
            ),
            Way(
                "add them up",
                "each of them counts as much as the last one did",
                case.meeting(flow.ops[index].stack, starts),
                accumulated(until=case.place(starts)),
            ),
        ),
        nodes=[tensor_id(step.template, tensor)],
    )


def _never_used(case: Case, group: Sequence[_Idle]) -> Iterator[Finding]:
    """A finding of a loss that is in no sum. Of one that may be computed to be looked at, a question."""
    step, index, tensor, _, read = group[0]
    flow = Dataflow.of(case, step)
    op = flow.ops[index]
    penalty = _has_gradient_of_gradient(flow, tensor)
    if not penalty and op.name not in op_kinds.LOSSES and read:
        return
    name = case.called(step, tensor)
    names = parameter_names(case, sorted(leaves(flow, tensor, index + 1)), 2)
    rounds, starts = sum(len(case.repeats(one.step)) for one in group), _start(flow)
    why = "The gradient behind it has a graph (create_graph=True), which only a backward needs." if penalty else ""
    meant = penalty or (not read and op.name in op_kinds.LOSSES)
    question = "" if meant else ": is it to be added to the loss?"
    instead = _bound_again(flow, index)
    yield NEVER_USED.finding(
        f"{name} is computed with a graph in {plural(rounds, 'step')}, and no backward uses it{question}",
        culprit=case.meeting(op.stack, starts) if instead is None else case.place(op.stack),
        step=step.number,
        confidence=LIKELY if meant else POSSIBLE,
        severity=None if meant else Severity.NOTE,
        related=case.places(
            (op.stack, "computed here"),
            (instead, "another value takes its place here"),
            (starts, "this backward starts elsewhere"),
        ),
        explanation=f"It was made of {names}, but it is no part of any loss, so it trains nothing. {why}".strip(),
        fix="add it to the loss, or compute it under torch.no_grad() if it is only looked at",
        fixes=case.fixes(
            Way(
                f"add {name} to the loss",
                "it counts as it is: give it a weight if it is to count less",
                case.place(starts),
                receiver_added(("backward",), name),
            )
        )
        if meant and variable(name, "")
        else (),
        nodes=[tensor_id(step.template, tensor)],
    )


def _bound_again(flow: Dataflow, index: int) -> int | None:
    """The stack of a later op of the same function whose value a loss uses, and which is given the same name."""
    bound = flow.case.sites(flow.ops[index].stack)[:1]
    used = flow.behind(sorted(flow.differentiated))[1] if bound else set()
    for later in sorted(op for op in used if op > index):
        site = next(iter(flow.case.sites(flow.ops[later].stack)), bound[0])
        elsewhere = site.line != bound[0].line and (site.file, site.function) == (bound[0].file, bound[0].function)
        if elsewhere and set(site.targets) & set(bound[0].targets):
            return flow.ops[later].stack
    return None


def _has_gradient_of_gradient(flow: Dataflow, tensor: int) -> bool:
    """Whether a gradient with a graph (create_graph=True) is behind a tensor."""
    _, ops = flow.behind([tensor])
    return any(flow.ops[op].name == "grad" and any(map(flow.needs_grad, flow.ops[op].outputs)) for op in ops)


# -- GS212 -----------------------------------------------------------------------------------------


@check(NUMBER_ADDED)
def numbers_added(case: Case) -> Iterator[Finding]:
    """Values that item() or float() took out, and that are then added to a loss, step after step."""
    for added in _numbers_added(case):
        yield _number_added(case, *added)


@once_a_case
def _numbers_added(case: Case) -> Sequence[tuple[Step, int, float, int | None]]:
    """(step, op that took it out, factor, stack of the sum) of each such value, once for each two lines."""
    pairs: dict[tuple[int | None, int | None], list[tuple[Step, int, float]]] = defaultdict(list)
    for step in case.training():
        flow = Dataflow.of(case, step)
        taken = taken_out(flow)
        for index in _adding(flow) if taken else ():
            added = [one for one in arguments(flow.ops[index]).positional if isinstance(one, float) and one]
            for op, value in taken.items():
                if len(added) == 1 and op < index:
                    pairs[flow.ops[index].stack, flow.ops[op].stack].append((step, op, added[0] / value))
    return [
        (*group[0], adds)
        for (adds, _), group in pairs.items()
        if len(group) > 1 and all(math.isclose(one, group[0][2], rel_tol=1e-4) for *_, one in group)
    ]


def _adding(flow: Dataflow) -> list[int]:
    """The ops that add something to a number on its way to a backward."""
    sums = op_kinds.ADDS | op_kinds.SUBTRACTS
    return [
        op
        for op in sorted(flow.behind(sorted(flow.differentiated))[1])
        if flow.ops[op].name in sums and any(is_number(flow.step, one) for one in flow.ops[op].outputs)
    ]


def _number_added(case: Case, step: Step, op: int, factor: float, adds: int | None) -> Finding:
    flow = Dataflow.of(case, step)
    call: OpCall = flow.ops[op]
    source = undetached(flow, op)
    name, detached = case.called(step, source), source != call.inputs[0]
    times = "" if math.isclose(factor, 1) else f" times {number(factor)}"
    return NUMBER_ADDED.finding(
        f"{name} is added to the loss as a plain number: {call.name}() took it out of the graph",
        culprit=case.place(call.stack),
        step=step.number,
        confidence=SURE,
        related=case.places((adds, f"the number{times} is added here")),
        explanation=f"A number has no graph. {name} changes the value of the loss, but trains nothing of "
        f"{parameter_names(case, sorted(leaves(flow, source, op)), 2)}.",
        fix=f"add {name} itself, without {'detach() and ' if detached else ''}{call.name}()",
        fixes=()
        if detached
        else case.fixes(
            Way(
                "add it as a tensor",
                "the term trains what it was made of",
                case.place(call.stack),
                without_call(call.name),
            )
        ),
        nodes=[tensor_id(step.template, source)],
    )


CHECKS = (terms_that_train_nobody, losses_never_used, numbers_added)
