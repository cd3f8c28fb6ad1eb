"""Not the leaf you think: copies in a leaf's place, updates that made new tensors, `.grad` read where none can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward, GradChange, Mutation, OpCall
from ...model.trace import Step
from ...repair.changes.leaves import asked_last, own_leaf, written_in_place
from ...repair.changes.statements import inserted
from ...repair.ways import Way
from ..evidence.ancestry import Copy, Made, copy_of_leaf, is_update, made, root_without_graph, update_behind
from ..evidence.grad_reads import Reads, reads_of_nothing
from ..evidence.index import Case, Origin
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

COPY_OF_LEAF = Rule(
    "GS301", "copy-of-a-leaf", Severity.ERROR, "A copy of a leaf is used in the leaf's place: it gets no gradient."
)
GRAD_OF_RESULT = Rule(
    "GS302", "grad-of-a-result", Severity.WARNING, "The .grad of a tensor that is no leaf was read; it stays None."
)
MOVED_COPY = Rule(
    "GS951", "move-made-a-copy", Severity.ERROR, "A leaf was moved to a device: the copy there is used, and is no leaf."
)
UPDATE_MAKES_RESULT = Rule(
    "GS303",
    "update-makes-a-new-tensor",
    Severity.ERROR,
    "An update such as w = w - lr * w.grad made a new tensor, which is not the leaf any more.",
)


# -- a gradient that is not there ------------------------------------------------------------------


@check(COPY_OF_LEAF, MOVED_COPY, GRAD_OF_RESULT, UPDATE_MAKES_RESULT)
def gradient_of_a_result(case: Case) -> Iterator[Finding]:
    """`.grad` was read on a result: because an update or a copy took the leaf's place, or because it never was one."""
    told: set[int | None] = set()
    for reads in reads_of_nothing(case):
        subject, confidence = reads.subject, CERTAIN if reads.fatal else SURE
        updated = _update(case, subject)
        if updated is not None:
            if subject.stack not in told:
                yield _new_tensor(case, subject, updated, confidence, reads.read, reads.nodes)
            told.add(subject.stack)
        elif not subject.tensor.is_leaf:
            copy = copy_of_leaf(case, subject.step, subject.number)
            if copy is not None and _takes_the_place(case, copy, subject):
                yield _copy(case, copy, subject, confidence, reads.read, reads.nodes)
            else:
                yield _result(case, reads)


@check(UPDATE_MAKES_RESULT)
def loss_of_an_update(case: Case) -> Iterator[Finding]:
    """A backward that found no graph, as the loss is computed from what an update made under no_grad."""
    event = case.refusal
    root = root_without_graph(case)
    updated = update_behind(case, event.step, root) if event is not None and root is not None else None
    if event is not None and updated is not None:
        one, leaf = updated
        here = case.places((event.moment.stack, "this backward finds nothing that wants a gradient"))
        yield _new_tensor(case, one, leaf, CERTAIN, here, (tensor_id(one.step.template, one.number),))


def _update(case: Case, subject: Made) -> int | None:
    """The leaf that `subject` is one update away from, a number of its step."""
    if subject.op is None:
        return None
    if subject.op.name in op_kinds.NAMED_ANEW and subject.op.inputs:
        return _update(case, made(case, subject.step, subject.op.inputs[0])) if subject.tensor.is_leaf else None
    return is_update(case, subject.step, subject.op)


def _new_tensor(
    case: Case, subject: Made, leaf: int, confidence: float, related: Sequence[Place], nodes: Sequence[int]
) -> Finding:
    """The finding on an update that made `subject` instead of changing `leaf`, a tensor of the same step."""
    step, op = subject.step, subject.op
    assert op is not None
    name = case.called(step, leaf)
    place = case.place(op.stack)
    grad = "it has no gradient of its own" if not subject.tensor.is_leaf else "it does not ask for a gradient"
    target = name if re.fullmatch(r"[\w.\[\]]+", name) else "w"
    return UPDATE_MAKES_RESULT.finding(
        f"this update makes a new tensor instead of changing {name}: {grad}",
        culprit=place,
        step=step.number,
        confidence=confidence,
        related=(*case.places((made(case, step, leaf).stack, f"{name} was made here, as a leaf")), *related),
        explanation=f"The expression computes a new tensor from {name} and its gradient. "
        + (
            f"It is a result ({subject.tensor.grad_fn}), not a leaf, so the next backward leaves its .grad None."
            if not subject.tensor.is_leaf
            else "Under no_grad nothing is recorded, so it does not require a gradient and the next loss has no graph."
        ),
        fix=f"change the leaf itself: with torch.no_grad(): {target} -= ... (and {target}.grad = None after it)",
        fixes=case.fixes(
            Way(
                "write into the leaf",
                "it stays a leaf, and its gradient begins anew",
                place,
                written_in_place(under_no_grad=op.grad_enabled, then=f"{target}.grad = None"),
            )
        ),
        nodes=nodes,
    )


def _takes_the_place(case: Case, copy: Copy, subject: Made) -> bool:
    """Whether the script has only the copy to hold on to: nothing else uses the leaf, where both were made."""
    step, leaf = copy.leaf.step, copy.leaf.number
    if copy.first.step.number != step.number:
        return not _named_apart(copy, subject)
    users = [event for event in case.events(OpCall, step) if leaf in event.moment.inputs]
    return all(event.moment is copy.first.op for event in users) and not _named_apart(copy, subject)


def _named_apart(copy: Copy, subject: Made) -> bool:
    """Whether leaf and copy have names of their own, so that the script can tell them apart."""
    leaf, name = copy.leaf.tensor.name, subject.tensor.name
    return bool(re.fullmatch(r"[A-Za-z_][\w.]*", leaf)) and leaf != name


def _copy(
    case: Case, copy: Copy, subject: Made, confidence: float, related: Sequence[Place], nodes: Sequence[int]
) -> Finding:
    first, name = copy.first, subject.tensor.name or case.called(subject.step, subject.number)
    assert first.op is not None
    doing = _doing(copy)
    rule = COPY_OF_LEAF if copy.leaf.tensor.device == first.tensor.device else MOVED_COPY
    return rule.finding(
        f"{name} is not the leaf that asked for a gradient but {doing} of it",
        culprit=case.place(first.stack),
        step=first.step.number,
        confidence=confidence,
        related=(*case.places((copy.leaf.stack, "the leaf was made here")), *related),
        explanation=f"{first.op.name} makes a new tensor with a grad_fn ({first.tensor.grad_fn}). backward() leaves "
        f"the gradient in the leaf it was made of, not in {name}: {name}.grad stays None, and no update of the leaf "
        f"reaches {name}.",
        fix="ask for the gradient last: make the tensor with its final dtype, device and scale, then .requires_grad_() "
        "(or wrap the finished tensor in nn.Parameter)",
        fixes=case.fixes(
            Way("ask for the gradient last", "the tensor in use is the leaf", case.place(first.stack), asked_last()),
            Way("make it a leaf of its own", "it is trained by itself", case.place(first.stack), own_leaf()),
        ),
        nodes=nodes,
    )


def _doing(copy: Copy) -> str:
    leaf, first = copy.leaf.tensor, copy.first.tensor
    if leaf.device != first.device:
        return f"a copy on {first.device}"
    if leaf.dtype != first.dtype:
        return f"a {first.dtype} copy"
    return "a result" if copy.ops[0].name not in op_kinds.COPIES else "a copy"


def _result(case: Case, reads: Reads) -> Finding:
    name, subject = reads.name, reads.subject
    made_here = case.places((subject.stack, f"{name} was computed here"))
    copy = copy_of_leaf(case, subject.step, subject.number)
    where = f" That of {name} is in {copy.leaf.tensor.name}.grad." if copy is not None and copy.leaf.tensor.name else ""
    return GRAD_OF_RESULT.finding(
        f"{name}.grad is None: {name} is a result ({subject.tensor.grad_fn}), not a leaf",
        culprit=case.place(reads.event.moment.stack),
        step=reads.event.step.number,
        confidence=CERTAIN if reads.fatal else LIKELY,
        related=made_here,
        explanation="backward() leaves gradients in leaves only: parameters, and tensors made with requires_grad=True. "
        f"That of a result passes through and is dropped, unless the result was told to keep it.{where}",
        fix=f"call {name}.retain_grad() right after it is computed, before backward(); "
        f"or ask for it: torch.autograd.grad(loss, {name})",
        fixes=case.fixes(
            Way(
                f"let {name} keep its gradient",
                "for looking at; it trains nothing by itself",
                case.bound(subject.stack, name),
                inserted(f"{name}.retain_grad()", before=False),
            )
        ),
        nodes=reads.nodes,
        severity=Severity.ERROR if reads.fatal else None,
    )


# -- copies that took a leaf's place, and leaves that optimizers refuse --------------------------------


@check(COPY_OF_LEAF, MOVED_COPY)
def not_a_leaf_for_the_optimizer(case: Case) -> Iterator[Finding]:
    """An optimizer refused a result: `can't optimize a non-leaf Tensor`."""
    event = case.refusal
    if event is None or event.moment.call != "add_param_group" or not event.moment.inputs:
        return
    wrong = [number for number in event.moment.inputs if not event.step.tensors[number].is_leaf]
    for number in wrong[:1]:
        subject = made(case, event.step, number)
        refused = case.places((event.moment.stack, "the optimizer takes leaves only, and refuses it here"))
        nodes = (tensor_id(event.step.template, number),)
        copy = copy_of_leaf(case, event.step, number)
        if copy is not None:
            yield _copy(case, copy, subject, CERTAIN, refused, nodes)
            continue
        name = case.called(event.step, number)
        yield COPY_OF_LEAF.finding(
            f"{name} is a result ({subject.tensor.grad_fn}), and an optimizer can only change leaves",
            culprit=case.place(subject.stack if subject.stack is not None else event.moment.stack),
            step=event.step.number,
            confidence=CERTAIN,
            related=refused,
            explanation=f"{name} is computed from other tensors: to change it does not change what it comes from.",
            fix=f"give the optimizer the leaves that {name} is computed from; or cut it off and make it a leaf of its "
            f"own: {name}.detach().requires_grad_()",
            nodes=nodes,
        )


@dataclass
class _Carried:
    """A copy of a leaf that steps use again and again."""

    copy: Copy
    subject: Made
    steps: set[int] = field(default_factory=set)


@check(COPY_OF_LEAF, MOVED_COPY)
def copy_used_by_all_steps(case: Case) -> Iterator[Finding]:
    """A copy that was made of a leaf once and is used in every step: it follows no update, and gets none."""
    found: dict[Origin, _Carried] = {}
    for step in case.training():
        used = {number for event in case.events(OpCall, step) for number in event.moment.inputs}
        backward = next(case.events(Backward, step), None)
        if backward is None:
            continue
        for tensor in step.tensors:
            if not tensor.carried or tensor.is_leaf or not tensor.requires_grad or tensor.number not in used:
                continue
            copy = copy_of_leaf(case, step, tensor.number)
            if copy is not None and not _shares_memory(copy):
                subject = made(case, step, tensor.number)
                for row in case.repeats(step):  # each may have taken over a copy of its own
                    origin = case.origin(Step(case.trace, row), tensor.number)
                    found.setdefault(origin, _Carried(copy, subject)).steps.add(row.number)
    for one in found.values():
        if len(one.steps) > 1 and not _changed(case, one.subject) and _starves(case, one.copy, one.subject):
            used_in = f"the same copy is used in {len(one.steps)} steps"
            finding = _copy(case, one.copy, one.subject, SURE, (), ())
            message = f"{finding.message}; {used_in}"
            yield replace(finding, message=message, step=min(one.steps), severity=Severity.WARNING)


def _shares_memory(copy: Copy) -> bool:
    return copy.leaf.step is copy.first.step and copy.leaf.tensor.storage == copy.first.tensor.storage


def _starves(case: Case, copy: Copy, subject: Made) -> bool:
    """Whether the copy stays as it is while its leaf is updated, or the leaf is out of the script's reach."""
    if case.is_optimized(copy.leaf.step, copy.leaf.number):
        return True
    anonymous = not re.fullmatch(r"[A-Za-z_][\w.]*", copy.leaf.tensor.name)
    return anonymous or copy.leaf.tensor.name == subject.tensor.name or _piles_up(case, copy)


def _piles_up(case: Case, copy: Copy) -> bool:
    """Whether the leaf's gradient grows from step to step while the script trains others and never looks at it."""
    if not case.optimizers:
        return False
    grown = 0
    for event in case.events(GradChange):
        for number in event.moment.tensors:
            if _same_leaf(case, copy, event.step, number):
                if event.moment.change not in ("created", "accumulated"):
                    return False
                grown += len(case.repeats(event.step)) if event.moment.change == "accumulated" else 0
    return grown > 1


def _same_leaf(case: Case, copy: Copy, step: Step, number: int) -> bool:
    parameter = copy.leaf.tensor.parameter
    if parameter is not None:
        return step.tensors[number].parameter == parameter
    return step.tensors[number].parameter is None and made(case, step, number).key == copy.leaf.key


def _changed(case: Case, subject: Made) -> bool:
    """Whether a tensor is written to in any step: then the script updates it itself."""
    for event in case.events(Mutation):
        for number in (event.moment.tensor, *event.moment.aliases):
            if made(case, event.step, number).key == subject.key:
                return True
    return False


CHECKS = (gradient_of_a_result, loss_of_an_update, not_a_leaf_for_the_optimizer, copy_used_by_all_steps)
