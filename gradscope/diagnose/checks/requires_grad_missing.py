"""Tensors that should have a gradient and never asked for one."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...model.moments import Backward, LeafChange, OpCall
from ...model.records import StepKind, Tensor
from ...model.trace import Step
from ...repair.changes.leaves import asked
from ...repair.ways import Way
from ..evidence.ancestry import Made, ancestors, is_update, made, root_without_graph, update_behind
from ..evidence.dataflow import Dataflow
from ..evidence.grad_reads import reads_of_nothing
from ..evidence.index import Case, Event, at
from ..evidence.torch_errors import ErrorKind
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

FORGOTTEN = Rule(
    "GS309",
    "requires-grad-forgotten",
    Severity.ERROR,
    "A tensor whose gradient is wanted was never told to require one.",
)
_NESTED = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<lambda>"})


@check(FORGOTTEN)
def gradient_never_asked_for(case: Case) -> Iterator[Finding]:
    """`.grad` was read on a leaf that does not require one."""
    for reads in reads_of_nothing(case):
        subject = reads.subject
        if not subject.tensor.is_leaf or subject.tensor.requires_grad or _is_of_update(case, subject):
            continue
        step, number = reads.event.step, reads.event.moment.inputs[0]
        if case.parameter(step, number) is not None:
            continue  # frozen on purpose, as far as one can see
        if not reads.fatal and not _met_a_gradient(case, step, number):
            continue
        yield _finding(
            case, subject, reads.name, reads.event.moment.stack, reads.read,
            CERTAIN if reads.fatal else LIKELY, None if reads.fatal else Severity.WARNING,
            (tensor_id(step.template, number),),
        )  # fmt: skip


@check(FORGOTTEN)
def refused_for_want_of_requires_grad(case: Case) -> Iterator[Finding]:
    """A backward, `autograd.grad`, `retain_grad` or hook that failed because a tensor requires no gradient."""
    event = case.refusal
    if event is None:
        return
    step, kind = event.step, case.error.kind
    here = case.places((event.moment.stack, "this call needs it to require a gradient"))
    backward = next((b for b in reversed(list(case.events(Backward, step))) if b.moment.error), None)
    if kind is ErrorKind.WANTS_NO_GRAD and event.moment.inputs:
        subject = made(case, step, event.moment.inputs[0])
        if not any(one.tensor.requires_grad for one in ancestors(case, step, event.moment.inputs[0])):
            yield _finding(case, subject, case.called(step, event.moment.inputs[0]), event.moment.stack, here, CERTAIN)
    elif kind is ErrorKind.INPUT_WANTS_NO_GRAD and backward is not None:
        for number in backward.moment.inputs:
            subject = made(case, step, number)
            if subject.tensor.is_leaf and not subject.tensor.requires_grad:
                yield _finding(case, subject, case.called(step, number), event.moment.stack, here, CERTAIN)
                return
    elif (root := root_without_graph(case)) is not None:
        yield from _without_graph(case, step, root, event.moment.stack)


def _without_graph(case: Case, step: Step, root: int, stack: int | None) -> Iterator[Finding]:
    """A loss in whose whole ancestry nothing requires a gradient."""
    family = list(ancestors(case, step, root))
    here = case.places((stack, "this backward finds nothing that wants a gradient"))
    if update_behind(case, step, root) or any(_wanted(case, one) for one in family) or _cut(family):
        return
    known = [one for one in family if (owner := case.parameter(one.step, one.number)) and owner.role == "parameter"]
    changes = [change for change in case.events(LeafChange) if _freezes(change, known)]
    frozen = {change.step.tensors[change.moment.tensor].parameter for change in changes}
    given = [one for one in known if one.tensor.parameter not in frozen and case.is_optimized(one.step, one.number)]
    if given:
        yield _finding(case, given[0], case.called(given[0].step, given[0].number), stack, here, CERTAIN)
    elif changes:
        yield _all_frozen(case, changes, len(known), here)
    else:
        yield from _guessed(case, family, here)


def _guessed(case: Case, family: list[Made], related: tuple[Place, ...]) -> Iterator[Finding]:
    """What the loss was most likely meant to train: the smallest tensor that was made from nothing, and has a name.

    Not one that was used before another such tensor was made: that is how data are made up.
    """
    made_here = sorted(
        (
            one
            for one in family
            if one.op is not None and not one.op.inputs and one.tensor.name.isidentifier() and _can_have_one(one.tensor)
        ),
        key=lambda one: (one.step.number, one.moment),
    )
    last = {one.step.number: one.moment for one in made_here}
    left = [one for one in made_here if _first_use(case, one) > last[one.step.number]]
    subject = min(left, key=lambda one: one.tensor.nbytes, default=None)
    if subject is not None and not _is_rebuilt(case, subject):
        yield _finding(case, subject, subject.tensor.name, subject.stack, related, LIKELY)


def _is_rebuilt(case: Case, subject: Made) -> bool:
    """Whether it may hold what was taken out of torch just before, of parameters that an optimizer has.

    A gradient that is asked of such numbers trains none of these.
    """
    flow = Dataflow.of(case, subject.step)
    left = flow.last_exit(subject.moment)
    behind = flow.behind(flow.ops[left].inputs)[0] if left is not None else ()
    return any(case.is_optimized(subject.step, tensor) for tensor in behind)


def _first_use(case: Case, one: Made) -> float:
    """The moment at which an op of its own step first reads the tensor."""
    ops = (event.position for event in case.events(OpCall, one.step) if one.number in event.moment.inputs)
    return next(ops, math.inf)


def _can_have_one(tensor: Tensor) -> bool:
    return tensor.dtype.startswith(("float", "bfloat", "complex"))


def _wanted(case: Case, one: Made) -> bool:
    """Whether a tensor required a gradient, and was not told otherwise in the step that met it."""
    changes = [c.moment for c in case.events(LeafChange, one.step) if c.moment.tensor == one.number]
    return changes[-1].requires_grad if changes else one.tensor.requires_grad


def _freezes(change: Event[LeafChange], frozen: list[Made]) -> bool:
    if change.moment.cause != "requires_grad_" or change.moment.requires_grad:
        return False
    parameter = change.step.tensors[change.moment.tensor].parameter
    return any(one.tensor.parameter == parameter for one in frozen)


def _all_frozen(case: Case, changes: list[Event[LeafChange]], count: int, related: tuple[Place, ...]) -> Finding:
    last = changes[-1]
    return FORGOTTEN.finding(
        f"nothing that this loss is computed from requires a gradient: its {count} parameters were frozen",
        culprit=case.place(last.moment.stack),
        step=last.step.number,
        confidence=CERTAIN,
        related=related,
        explanation="backward() needs at least one leaf that requires a gradient. All parameters on the way to this "
        "loss had requires_grad set to False.",
        fix="leave the parameters that shall be trained out of this line, or set requires_grad_(True) on them again",
    )


def _cut(family: list[Made]) -> bool:
    """Whether the ancestry ends where a path was cut: at ops without a gradient, or in a checkpoint."""
    return any(one.op is not None and _cuts(one.op) and not one.tensor.is_inference for one in family)


def _cuts(op: OpCall) -> bool:
    return not op.grad_enabled or op.name == "CheckpointFunction"


def _is_of_update(case: Case, subject: Made) -> bool:
    """Whether the tensor is what an update such as `w - lr * w.grad` made."""
    while subject.op is not None and subject.op.name in op_kinds.NAMED_ANEW and subject.op.inputs:
        subject = made(case, subject.step, subject.op.inputs[0])
    return subject.op is not None and is_update(case, subject.step, subject.op) is not None


def _met_a_gradient(case: Case, step: Step, tensor: int) -> bool:
    """Whether what a backward of the step differentiated was computed from the tensor."""
    if next(case.events(Backward, step), None) is None:
        return False
    flow = Dataflow.of(case, step)
    return any(flow.ops[op].grad_nodes for op in flow.ahead([tensor])[1])


def _finding(
    case: Case,
    subject: Made,
    name: str,
    wanted: int | None,
    related: tuple[Place, ...],
    confidence: float,
    severity: Severity | None = None,
    nodes: tuple[int, ...] = (),
) -> Finding:
    culprit, where = _line(case, subject, wanted)
    call = culprit.expression if culprit is not None and where else ""
    fix = f"ask for the gradient before it is used: {name}.requires_grad_()"
    if where and subject.op is not None and not subject.op.inputs and call.endswith(")"):
        fix = f"ask for the gradient when it is made: {call[:-1]}, requires_grad=True)"
    elif where and call:
        fix = f"ask for the gradient when it is made: {call}.requires_grad_()"
    fixes = case.fixes(Way("ask for the gradient here", f"{name} gets one", culprit, asked())) if where else ()
    return FORGOTTEN.finding(
        f"{name} never asked for a gradient (requires_grad is False), so it gets none",
        culprit=culprit,
        step=subject.step.number,
        confidence=confidence,
        related=related,
        explanation="A tensor gets a gradient only if it requires one when the loss is computed from it. Parameters of "
        f"modules do so by themselves; {name} is a plain tensor, for which nobody asked.",
        fix=said(fixes, fix),
        fixes=fixes,
        nodes=nodes,
        severity=severity,
    )


def _line(case: Case, subject: Made, wanted: int | None) -> tuple[Place | None, bool]:
    """The line that should have asked, and whether it is the one that made the tensor.

    That is the line that made it, if it was made for this: in the function in which the gradient is wanted, or in
    one that was called from there. Data that came from further away is asked where it is wanted.
    """
    sites, others = case.sites(subject.stack), case.sites(wanted)
    if sites and others:
        functions = {(site.file, site.function) for site in others}
        home = next((site for site in sites if site.function not in _NESTED), sites[0])
        if (home.file, home.function) in functions or case.is_optimized(subject.step, subject.number):
            return at(sites[0]), True
    return case.place(wanted) if others else case.place(subject.stack), not others


@check(FORGOTTEN)
def optimizer_without_requires_grad(case: Case) -> Iterator[Finding]:
    """An optimizer was given a tensor of the script's own that requires no gradient: it never changes."""
    told: set[int] = set()
    thawed = {
        number
        for event in case.events(LeafChange)
        for number in (event.step.tensors[event.moment.tensor].parameter,)
        if event.moment.cause == "requires_grad_" and number is not None
    }
    for step in case.distinct:
        if step.kind is StepKind.EVAL:
            continue
        for event in case.events(OpCall, step):
            for number in event.moment.inputs if event.moment.grad_nodes else ():
                owner = case.parameter(step, number)
                if owner is None or owner.id in told or owner.id in thawed:
                    continue
                if owner.root or owner.requires_grad or not owner.optimizers or owner.role == "buffer":
                    continue
                told.add(owner.id)
                subject = made(case, step, number)
                used = case.places((event.moment.stack, "the loss is computed with it here"))
                yield _finding(
                    case, subject, case.called(step, number), subject.stack, used, SURE,
                    Severity.WARNING, (tensor_id(step.template, number),),
                )  # fmt: skip


CHECKS = (gradient_never_asked_for, refused_for_want_of_requires_grad, optimizer_without_requires_grad)
