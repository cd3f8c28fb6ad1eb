"""Updates that are computed and thrown away: `p = p - lr * p.grad` in a loop over the parameters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, LeafChange, Mutation, OpCall
from ...model.order import reached
from ...model.records import Phase, StepKind, Tensor
from ...model.trace import Step
from ...repair.changes.leaves import written_in_place
from ...repair.changes.results import value_copied
from ...repair.changes.statements import replaced_by
from ...repair.ways import Way
from ...text import elide_list
from ..evidence.ancestry import is_update, made
from ..evidence.dataflow import Dataflow
from ..evidence.hook_runs import running_hook
from ..evidence.index import Case, Origin, once_a_case, once_a_step
from ..evidence.statements import forgets, lets_go
from ..evidence.wording import variable
from ..evidence.writes import ASSIGNED, op_before, op_of
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

UPDATE_LOST = Rule(
    "GS304", "update-lost", Severity.ERROR, "An update was computed and thrown away: the parameters never change."
)
RESULT_LOST = Rule(
    "GS524",
    "result-thrown-away",
    Severity.WARNING,
    "A new value is computed and never read: it was to be written into a tensor, or to take its place.",
)


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
        lasting = [(s, leaf) for s, _, leaf in group if _lasts(s, leaf)]
        if stack in used or not lasting or any(_is_written(case, s, leaf) for s, leaf in lasting):
            continue
        names = list(dict.fromkeys(_owner_name(case, s, leaf) for s, leaf in lasting))
        shown = elide_list(names, 3)
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
            fixes=case.fixes(
                Way(
                    "write into the parameter",
                    "the model has the new value",
                    case.place(stack),
                    written_in_place(under_no_grad=op.grad_enabled),
                )
            ),
            nodes=(tensor_id(step.template, op.outputs[0]),),
        )


# -- results that nobody keeps -------------------------------------------------------------------------

_CHANGES = op_kinds.ADDS | op_kinds.SUBTRACTS | op_kinds.SCALES | {"clamp", "clip", "clamp_min", "clamp_max", "lerp"}


@check(RESULT_LOST)
def result_thrown_away(case: Case) -> Iterator[Finding]:
    """`p.clamp(-c, c)`, or `average = d * average + (1 - d) * p` in a loop: a new tensor, which nothing reads."""
    lost: dict[int | None, list[tuple[Step, OpCall, int]]] = defaultdict(list)
    used: set[int | None] = set()
    for step in case.training():
        given = {op_before(step, position) for position in _assignments(case, step)}
        for event in case.events(OpCall, step):
            op = event.moment
            plain = _is_of_the_loop(op) and op.module is None and op.name in _CHANGES and bool(op.outputs)
            if not plain or event.position in given or op.outputs[:1] == op.inputs[:1]:
                continue
            leaf = _changed(case, step, op)
            if leaf is None or is_update(case, step, op) is not None:
                continue
            if _is_used(case, step, op.outputs[0]):
                used.add(op.stack)
            else:
                lost[op.stack].append((step, op, leaf))
    for stack, group in lost.items():
        if stack not in used and sum(len(case.repeats(step)) for step, *_ in group) > 1:
            yield _lost_result(case, stack, group)


@check(RESULT_LOST)
def statement_without_effect(case: Case) -> Iterator[Finding]:
    """`F.relu(h)` as a whole statement of a step that trains: the new tensor has no name, and `h` stays as it was.

    So it is with a gradient that is scaled under a name which nothing reads.
    """
    lost: dict[int | None, list[tuple[Step, OpCall]]] = defaultdict(list)
    for step in case.training():
        written = {op_of(step, event.position) for event in case.events(Mutation, step)}
        for event in case.events(OpCall, step) if step.positions(Backward) else ():
            if event.position in written or not _only_returns(step, event.moment):
                continue
            if event.moment.phase is Phase.BACKWARD and running_hook(case, event.moment.stack) is not None:
                continue  # told of the hook
            if _changed(case, step, event.moment) is None:  # else told above
                lost[event.moment.stack].append((step, event.moment))
    for stack, group in lost.items():
        step, op = group[0]
        if sum(len(case.repeats(step)) for step, _ in group) < 2:
            continue
        if lets_go(case, stack) or (_is_gradient(step, op) and forgets(case, stack)):
            yield _without_effect(case, stack, step, op)


def _only_returns(step: Step, op: OpCall) -> bool:
    """Whether the script's own line called an op that gives a tensor of the same size, and does nothing else."""
    if not op.direct or op.name.endswith("_") or len(op.outputs) != 1 or not op.inputs or op.outputs[0] in op.inputs:
        return False
    sizes = [math.prod(step.tensors[tensor].shape) for tensor in (op.outputs[0], op.inputs[0])]
    return sizes[0] == sizes[1] and op.name not in op_kinds.LEAVES_TORCH


def _is_gradient(step: Step, op: OpCall) -> bool:
    """Whether an op works on a `.grad`, and nothing reads its result."""
    return step.tensors[op.inputs[0]].gradient_of is not None


def _is_of_the_loop(op: OpCall) -> bool:
    """Whether the script's own line called it, and not in a hook, whose result is the engine's."""
    return op.direct and op.phase is not Phase.BACKWARD


def _assignments(case: Case, step: Step) -> Iterator[int]:
    """The moments that gave a tensor its `.data` or its `.grad`."""
    yield from (event.position for event in case.events(Mutation, step) if event.moment.cause == ASSIGNED)
    yield from (event.position for event in case.events(GradChange, step) if event.moment.change == "assigned")


def _changed(case: Case, step: Step, op: OpCall) -> int | None:
    """The module's tensor whose new value an op computes: it, or what the line made of it, is the first operand."""
    flow, shape = Dataflow.of(case, step), step.tensors[op.outputs[0]].shape
    waiting, here = list(op.inputs), _line(case, op)
    for tensor in waiting:
        record = step.tensors[tensor]
        owner = next((one for one in step.lasting.get(record.storage, ()) if one.shape == shape), None)
        if owner is not None and owner.role in ("parameter", "buffer"):
            return owner.number
        made = flow.step.maker(tensor)
        if made is not None and _line(case, made) == here and made.name in _CHANGES and len(waiting) < 8:
            waiting += made.inputs
    return None


def _line(case: Case, op: OpCall) -> tuple[str, int] | None:
    sites = case.sites(op.stack)
    return (sites[0].file, sites[0].line) if sites else None


def _lost_result(case: Case, stack: int | None, group: Sequence[tuple[Step, OpCall, int]]) -> Finding:
    step, op, _ = group[0]
    names = elide_list(list(dict.fromkeys(case.called(s, leaf) for s, _, leaf in group)), 3)
    return RESULT_LOST.finding(
        f"the result of {op.name} on {names} is thrown away: nothing is changed",
        culprit=case.place(stack),
        step=step.number,
        confidence=LIKELY,
        explanation=f"{op.name} gives a new tensor and leaves its operands as they are; assigned to a loop's variable, "
        "it only takes over that name. Nothing reads it, in this step or later.",
        fix=f"write in place, under torch.no_grad(): {op.name}_(…), mul_(…).add_(…), lerp_(…) or copy_(…)",
        fixes=case.fixes(
            Way(
                "write it into the tensor",
                "it has the new value",
                case.place(stack),
                value_copied(recorded=op.grad_enabled),
            )
        ),
        nodes=(tensor_id(step.template, op.outputs[0]),),
    )


def _without_effect(case: Case, stack: int | None, step: Step, op: OpCall) -> Finding:
    operand = _begun_with(case, step, op)
    name, place = case.called(step, operand), case.place(stack)
    assigned = f"{variable(name, 'x')} = {place.expression if place is not None else op.name}"
    return RESULT_LOST.finding(
        f"the result of {op.name} is thrown away: {name} stays as it was",
        culprit=place,
        step=step.number,
        confidence=SURE,
        explanation=f"{op.name} gives a new tensor and leaves {name} alone. Here its call is the whole statement: the "
        f"new tensor has no name, and what follows goes on with {name}.",
        fix=assigned,
        fixes=case.fixes(Way("give the result the name", "what follows goes on with it", place, replaced_by(assigned)))
        if variable(name, "")
        else (),
        nodes=(tensor_id(step.template, op.outputs[0]),),
    )


def _begun_with(case: Case, step: Step, op: OpCall) -> int:
    """What the chain of calls on the op's line begins with: `x` of `x.sub(1).div(2)`."""
    operand = op.inputs[0]
    while (made := step.maker(operand)) is not None and made.inputs and _line(case, made) == _line(case, op):
        operand = made.inputs[0]
    return operand


def _owner(step: Step, leaf: int) -> Tensor | None:
    """The tensor of a module, or of a leaf that outlives steps, whose memory `leaf` has."""
    return next(iter(step.lasting.get(step.tensors[leaf].storage, ())), None)


def _owner_name(case: Case, step: Step, leaf: int) -> str:
    """The name of the parameter whose memory `leaf` has."""
    owner = _owner(step, leaf)
    return case.called(step, leaf if owner is None else owner.number)


def _is_used(case: Case, step: Step, tensor: int) -> bool:
    """Whether anything but a wrapping of it reads `tensor`, in this step or in a later one."""
    flow = Dataflow.of(case, step)
    wraps = _wraps(case, step)

    def readers(number: int) -> list[OpCall]:
        ops = (flow.ops[op] for op in flow.readers.get(number, ()))
        return [op for op in ops if op.outputs != (number,)]

    def named_anew(number: int) -> Iterator[int]:
        yield from wraps.get(number, ())
        yield from (one for op in readers(number) if op.name in op_kinds.NAMED_ANEW for one in op.outputs)

    results = reached([tensor], named_anew)
    if any(op.name not in op_kinds.NAMED_ANEW for number in results for op in readers(number)):
        return True
    if any(Origin(row.number, number) in _carried_on(case) for row in case.repeats(step) for number in results):
        return True
    parameters = {step.tensors[number].parameter for number in results} - {None}
    later = (one for one in case.distinct if one.number > step.number)
    return bool(parameters) and any(tensor.parameter in parameters for one in later for tensor in one.tensors)


@once_a_case
def _carried_on(case: Case) -> set[Origin]:
    """All tensors that a later step took over."""
    return {Origin(*came) for row in case.rows for _, *came in row.carried}


@once_a_step
def _wraps(case: Case, step: Step) -> Mapping[int, Sequence[int]]:
    """The tensors that were wrapped as parameters or cut off, by what they were made of."""
    found: dict[int, list[int]] = defaultdict(list)
    for event in case.events(LeafChange, step):
        if event.moment.source is not None:
            found[event.moment.source].append(event.moment.tensor)
    return found


def _lasts(step: Step, leaf: int) -> bool:
    """Whether the leaf outlives the step: a module's, or one that other steps meet too."""
    storage = step.tensors[leaf].storage
    return _owner(step, leaf) is not None or any(t.carried and t.storage == storage for t in step.tensors)


def _is_written(case: Case, step: Step, leaf: int) -> bool:
    """Whether any training step changes the leaf after all."""
    owner = _owner(step, leaf)
    origin = made(case, step, leaf).key
    for event in case.events(Mutation):
        if event.step.kind is StepKind.SETUP:
            continue
        for number in (event.moment.tensor, *event.moment.aliases):
            if owner is None and made(case, event.step, number).key == origin:
                return True
            sharing = event.step.lasting.get(event.step.tensors[number].storage, ())
            if owner is not None and any(one.parameter == owner.parameter for one in sharing):
                return True
    return False


CHECKS = (update_thrown_away, result_thrown_away, statement_without_effect)
