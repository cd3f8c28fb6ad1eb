"""Not the leaf you think: copies in a leaf's place, updates that made new tensors, `.grad` read where none can be."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..model.build import tensor_id
from ..model.findings import Finding, Place, Severity
from ..model.records import Backward, GradChange, LeafChange, Mutation, OpCall, StepKind
from ..model.trace import Step
from .case import Case, Event, Origin
from .check import CERTAIN, LIKELY, SURE, Rule, check
from .devices import MOVED_COPY
from .lineage import Copy, Made, copy_of_leaf, is_update, made
from .refused import refusal

COPY_OF_LEAF = Rule(
    "GS301", "copy-of-a-leaf", Severity.ERROR, "A copy of a leaf is used in the leaf's place: it gets no gradient."
)
GRAD_OF_RESULT = Rule(
    "GS302", "grad-of-a-result", Severity.WARNING, "The .grad of a tensor that is no leaf was read; it stays None."
)
UPDATE_MAKES_RESULT = Rule(
    "GS303",
    "update-makes-a-new-tensor",
    Severity.ERROR,
    "An update such as w = w - lr * w.grad made a new tensor, which is not the leaf any more.",
)
UPDATE_LOST = Rule(
    "GS304", "update-lost", Severity.ERROR, "An update was computed and thrown away: the parameters never change."
)
_NOT_FOUND = re.compile(r"NoneType|unsupported operand|can't convert|must be Tensor")


# -- a gradient that is not there ------------------------------------------------------------------


@dataclass
class _Reads:
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


def reads_of_nothing(case: Case) -> Iterator[_Reads]:
    """Reads of `.grad` on tensors that can have none, each tensor once. `fatal`: the script died of the None."""
    found: dict[tuple[int, int], _Reads] = {}
    died = case.failure
    line = case.place(died.moment.stack) if died is not None and _NOT_FOUND.search(died.moment.message) else None
    for event in case.calls("grad"):
        if event.moment.outputs or len(event.moment.inputs) != 1 or not event.moment.direct:
            continue
        subject = made(case, event.step, event.moment.inputs[0])
        reads = found.setdefault(subject.key, _Reads(case, event, subject))
        here = case.place(event.moment.stack)
        if line is not None and here is not None and (here.file, here.line) == (line.file, line.line):
            reads.fatal = True
    yield from found.values()


@check(COPY_OF_LEAF, MOVED_COPY, GRAD_OF_RESULT, UPDATE_MAKES_RESULT)
def gradient_of_a_result(case: Case) -> Iterator[Finding]:
    """`.grad` was read on a result: because an update or a copy took the leaf's place, or because it never was one."""
    told: set[int | None] = set()
    for reads in reads_of_nothing(case):
        subject, confidence = reads.subject, CERTAIN if reads.fatal else SURE
        updated = _update(case, subject)
        if updated is not None:
            if subject.stack not in told:
                yield new_tensor(case, subject, updated, confidence, reads.read, reads.nodes)
            told.add(subject.stack)
        elif not subject.tensor.is_leaf:
            copy = copy_of_leaf(case, subject.step, subject.number)
            if copy is not None and _takes_the_place(case, copy, subject):
                yield _copy(case, copy, subject, confidence, reads.read, reads.nodes)
            else:
                yield _result(case, reads)


def _update(case: Case, subject: Made) -> int | None:
    """The leaf that `subject` is one update away from, a number of its step."""
    if subject.op is None:
        return None
    if subject.op.name in ("detach", "data", "clone", "requires_grad_") and subject.op.inputs:
        return _update(case, made(case, subject.step, subject.op.inputs[0])) if subject.tensor.is_leaf else None
    return is_update(case, subject.step, subject.op)


def new_tensor(
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
        nodes=nodes,
    )


def _doing(copy: Copy) -> str:
    leaf, first = copy.leaf.tensor, copy.first.tensor
    if leaf.device != first.device:
        return f"a copy on {first.device}"
    if leaf.dtype != first.dtype:
        return f"a {first.dtype} copy"
    return "a result" if copy.ops[0].name not in ("clone", "contiguous") else "a copy"


def _result(case: Case, reads: _Reads) -> Finding:
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
        nodes=reads.nodes,
        severity=Severity.ERROR if reads.fatal else None,
    )


# -- copies that took a leaf's place, and leaves that optimizers refuse --------------------------------


@check(COPY_OF_LEAF, MOVED_COPY)
def not_a_leaf_for_the_optimizer(case: Case) -> Iterator[Finding]:
    """An optimizer refused a result: `can't optimize a non-leaf Tensor`."""
    event = refusal(case)
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
    found: dict[tuple[int, int], _Carried] = {}
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
                one = found.setdefault(subject.key, _Carried(copy, subject))
                one.steps.update(row.number for row in case.repeats(step))
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
    if _optimized(case, copy):
        return True
    anonymous = not re.fullmatch(r"[A-Za-z_][\w.]*", copy.leaf.tensor.name)
    return anonymous or copy.leaf.tensor.name == subject.tensor.name or _piles_up(case, copy)


def _optimized(case: Case, copy: Copy) -> bool:
    owner = case.parameter(copy.leaf.step, copy.leaf.number)
    return owner is not None and bool(owner.optimizers)


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


# -- updates that are thrown away ------------------------------------------------------------------------


@check(UPDATE_LOST)
def update_thrown_away(case: Case) -> Iterator[Finding]:
    """`p = p - lr * p.grad` in a loop over parameters: the new tensor is dropped, the parameter never changes."""
    if case.optimizers and any(row.learning_rates for row in case.rows):
        return
    lost: dict[int | None, list[tuple[Step, OpCall, int]]] = defaultdict(list)
    used: set[int | None] = set()  # what the last step computes may be for a step that never came
    for step in case.training():
        for event in case.events(OpCall, step):
            leaf = is_update(case, step, event.moment)
            if leaf is not None and _is_used(case, step, event.moment.outputs[0]):
                used.add(event.moment.stack)
            elif leaf is not None:
                lost[event.moment.stack].append((step, event.moment, leaf))
    for stack, group in lost.items():
        step, op, _ = group[0]
        lasting = [(s, leaf) for s, _, leaf in group if _lasts(case, s, leaf)]
        if stack in used or not lasting or any(_is_written(case, s, leaf) for s, leaf in lasting):
            continue
        names = list(dict.fromkeys(_owner_name(case, s, leaf) for s, leaf in lasting))
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        grads = next(case.events(Backward, step), None)
        yield UPDATE_LOST.finding(
            f"the updated value is thrown away: {shown} never change{'s' if len(names) == 1 else ''}",
            culprit=case.place(stack),
            step=step.number,
            confidence=CERTAIN if sum(len(case.repeats(s)) for s, _ in lasting) > 1 else SURE,
            related=case.places((grads.moment.stack if grads else None, "the gradients that are lost come from here")),
            explanation=f"{op.name} computes a new tensor, and the assignment only makes the name point to it. The "
            "parameter that the model holds stays as it was: nothing uses the new tensor, in this step or later.",
            fix="write into the parameter: with torch.no_grad(): p -= lr * p.grad (or p.sub_(...), p.copy_(...))",
            nodes=(tensor_id(step.template, op.outputs[0]),),
        )


def _owner_name(case: Case, step: Step, leaf: int) -> str:
    """The name of the parameter whose memory `leaf` has."""
    storage = step.tensors[leaf].storage
    owner = next((t for t in step.tensors if t.storage == storage and t.parameter is not None), None)
    return case.called(step, leaf if owner is None else owner.number)


def _is_used(case: Case, step: Step, tensor: int) -> bool:
    """Whether anything but a wrapping of it reads `tensor`, in this step or in a later one."""
    readers = case.once(("readers", step.row.template), lambda: _readers(case, step))
    wraps = case.once(("wraps", step.row.template), lambda: _wraps(case, step))
    waiting, results = [tensor], {tensor}
    for number in waiting:
        fresh = list(wraps.get(number, ()))
        for op in readers.get(number, ()):
            if op.outputs == (number,):
                continue
            if op.name not in ("detach", "data", "clone", "requires_grad_"):
                return True
            fresh += op.outputs
        fresh = [other for other in fresh if other not in results]
        results.update(fresh)
        waiting += fresh
    kept = case.once("carried on", lambda: {Origin(*came) for row in case.rows for _, *came in row.carried})
    if any(Origin(row.number, number) in kept for row in case.repeats(step) for number in results):
        return True
    parameters = {step.tensors[number].parameter for number in results} - {None}
    later = (one for one in case.distinct if one.number > step.number)
    return bool(parameters) and any(tensor.parameter in parameters for one in later for tensor in one.tensors)


def _readers(case: Case, step: Step) -> Mapping[int, Sequence[OpCall]]:
    found: dict[int, list[OpCall]] = defaultdict(list)
    for event in case.events(OpCall, step):
        for number in dict.fromkeys(event.moment.inputs):
            found[number].append(event.moment)
    return found


def _wraps(case: Case, step: Step) -> Mapping[int, Sequence[int]]:
    """The tensors that were wrapped as parameters or cut off, by what they were made of."""
    found: dict[int, list[int]] = defaultdict(list)
    for event in case.events(LeafChange, step):
        if event.moment.source is not None:
            found[event.moment.source].append(event.moment.tensor)
    return found


def _lasts(case: Case, step: Step, leaf: int) -> bool:
    """Whether the leaf outlives the step: a module's, or one that other steps meet too."""
    record = step.tensors[leaf]
    owner = next((t for t in step.tensors if t.storage == record.storage and t.parameter is not None), None)
    if owner is not None and case.parameters[owner.parameter or 0].role == "parameter":
        return True
    return owner is not None or any(t.carried and t.storage == record.storage for t in step.tensors)


def _is_written(case: Case, step: Step, leaf: int) -> bool:
    """Whether any training step changes the leaf after all."""
    record = step.tensors[leaf]
    owner = next((t for t in step.tensors if t.storage == record.storage and t.parameter is not None), None)
    origin = made(case, step, leaf).key
    for event in case.events(Mutation):
        if event.step.kind is StepKind.SETUP:
            continue
        sharing = case.once(("parameters by storage", event.step.row.template), lambda: _by_storage(event.step))  # noqa: B023
        for number in (event.moment.tensor, *event.moment.aliases):
            if owner is None and made(case, event.step, number).key == origin:
                return True
            if owner is not None and owner.parameter in sharing.get(event.step.tensors[number].storage, ()):
                return True
    return False


def _by_storage(step: Step) -> Mapping[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for tensor in step.tensors:
        if tensor.parameter is not None:
            found[tensor.storage].add(tensor.parameter)
    return found


CHECKS = (gradient_of_a_result, not_a_leaf_for_the_optimizer, copy_used_by_all_steps, update_thrown_away)
