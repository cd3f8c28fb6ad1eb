"""Tensors that autograd saved for the backward and that were changed before it ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.build import grad_node_id, tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...model.moments import Backward, NodeRun, OpCall
from ...model.records import GradNode, SavedTensor
from ...model.trace import Step
from ..evidence.carriers import carrier, is_late_root, update_since
from ..evidence.index import Case, Event
from ..evidence.torch_errors import ErrorKind, torch_error
from ..evidence.write_fixes import Kept, mended, of_a_layer
from ..evidence.writes import OPTIMIZER, Write, deed, same_line, writer, writes
from ..rules import CERTAIN, LIKELY, POSSIBLE, SURE, Rule, check

SAVED_TENSOR_MODIFIED = Rule(
    "GS101",
    "saved-tensor-modified",
    Severity.ERROR,
    "A tensor was changed in place after an op saved it for its backward.",
)


class _Stale(NamedTuple):
    """A node of a backward's graph that keeps a tensor which was written since."""

    event: Event[Backward]
    node: GradNode
    saved: SavedTensor
    rank: tuple[bool, bool, int]  # the smallest is the one at which torch gave up


@check(SAVED_TENSOR_MODIFIED)
def saved_tensor_modified(case: Case) -> Iterator[Finding]:
    """Every backward's saved tensors against the writes between their op and that backward."""
    for event in case.events(Backward):
        stale = _stale(case, event)
        if not stale:
            continue
        written = writes(case, event.step)
        refused = torch_error(event.moment.error).kind is ErrorKind.SAVED_TENSOR_MODIFIED
        for position, one in enumerate(sorted(stale, key=lambda one: one.rank)):
            yield from _finding(case, one, written, refused, first=position == 0)


def _stale(case: Case, event: Event[Backward]) -> list[_Stale]:
    """What a backward's graph keeps that is stale, and that torch has not refused for another reason."""
    step, backward = event.step, event.moment
    if backward.graph < 0:
        return []
    nodes = step.graphs[backward.graph].nodes
    stale = [(node, saved, saved.tensor) for node in nodes for saved in node.saved if saved.stale]
    if not stale:
        return []
    ran = {run.node for _, _, run in case.events(NodeRun, step) if run.graph == backward.graph}
    shape = torch_error(backward.error).parts.get("shape")
    found = []
    for node, saved, tensor in stale:
        if tensor is not None:
            alike = shape is None or ", ".join(map(str, step.tensors[tensor].shape)) == shape
            rank = (not alike, node.index in ran, -(node.op if node.op is not None else -1))
            found.append(_Stale(event, node, saved, rank))
    return found


def _finding(
    case: Case, stale: _Stale, written: Mapping[int, Sequence[Write]], refused: bool, first: bool
) -> Iterator[Finding]:
    event, node, saved, _ = stale
    step = event.step
    assert saved.tensor is not None
    tensor = step.tensors[saved.tensor]
    since = -1 if node.op is None else node.op
    after = [w for w in written.get(tensor.storage, ()) if w.counted and since < w.moment < event.position]
    own = [w for w in after if w.op is not None and w.op == node.op]  # the forward of a custom Function
    after = [w for w in after if w not in own] or own
    known = [w for w in after if case.place(w.stack) is not None]
    if node.carried and not known:  # written in an earlier step
        yield from _late(case, event, node, saved.tensor) if refused and first else ()
        return
    name, saver = case.called(step, saved.tensor), _saver(step, node)
    confidence = CERTAIN if refused and first else SURE if refused else POSSIBLE
    severity = None if refused else Severity.NOTE
    needed = "the backward that needs it" if refused else "the backward that would need it"
    stack = step.stack(node.op)
    nodes = (tensor_id(step.template, saved.tensor), grad_node_id(step.template, event.moment.graph, node.index))
    related = [*case.places((stack, "saved here"), (event.moment.stack, needed))]
    if not known:
        yield SAVED_TENSOR_MODIFIED.finding(
            f"{name} was changed in place, where gradscope could not see it, after {saver} saved it for its backward",
            culprit=case.place(stack),
            step=step.number,
            confidence=min(confidence, LIKELY),
            related=related[1:],
            explanation=_explanation(case, step, node, name, saver, None),
            fix="look for a write between this line and the backward, in compiled or C code; let it write to a copy",
            nodes=nodes,
            severity=severity,
        )
        return
    write = known[0]
    culprit, more = writer(case, step, write, event.moment.stack)
    kept = Kept(name, node, stack)
    fixes = mended(case, event, write, culprit, kept)
    layers = of_a_layer(case, step, kept) and write.cause != OPTIMIZER
    related[1:1] = [*more, *_other_writes(case, known[1:], write, culprit)]
    yield SAVED_TENSOR_MODIFIED.finding(
        f"{name} was changed in place ({deed(case, step, write)}) after {saver} saved it for its backward",
        culprit=culprit,
        step=step.number,
        confidence=confidence,
        related=related,
        explanation=_explanation(case, step, node, name, saver, write),
        fix=said(fixes, _between(name) if layers else _fix(write, name, saver)),
        fixes=fixes,
        nodes=nodes,
        severity=severity,
    )


def _late(case: Case, event: Event[Backward], node: GradNode, tensor: int) -> Iterator[Finding]:
    """A loss of an earlier step, differentiated after an update; else what is wrong is that the graph is still used."""
    step = event.step
    came = carrier(case, event, stale=True)
    update = update_since(case, event, tensor) if came is not None and is_late_root(case, event, came) else None
    if came is None or update is None:
        return
    name, loss = case.called(step, tensor), case.called(step, came)
    yield SAVED_TENSOR_MODIFIED.finding(
        f"{name} was changed in place (optimizer.step()) before the backward of {loss}, which was computed with the "
        "old values",
        culprit=case.place(update.moment.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places(
            (step.tensors[came].first_use, f"{loss} comes into this step here"),
            (event.moment.stack, "this backward raises"),
        ),
        explanation=_explanation(case, step, node, name, _saver(step, node), None)
        + " optimizer.step() writes the new values into the same parameters, in place.",
        fix="call every backward that goes through these parameters first, then every optimizer.step()",
        nodes=(tensor_id(step.template, tensor), grad_node_id(step.template, event.moment.graph, node.index)),
    )


def _saver(step: Step, node: GradNode) -> str:
    op = step.op(node.op)
    return op.name if op is not None else node.name.removesuffix("0").removesuffix("Backward").lower()


def _other_writes(case: Case, others: Sequence[Write], first: Write, culprit: Place | None) -> list[Place]:
    """Up to three further lines that wrote to the same memory."""
    told = (case.place(first.stack), culprit)
    places = dict.fromkeys(case.place(write.stack, "written here too") for write in others)
    return [p for p in places if p is not None and not any(same_line(p, other) for other in told)][:3]


def _explanation(case: Case, step: Step, node: GradNode, name: str, saver: str, write: Write | None) -> str:
    result = step.op(node.op) is not None and any(s.name == "result" for s in node.saved)
    what = "its own result" if result else "its inputs"
    words = [f"The derivative of {saver} is computed from {what}, so {saver} kept {name} as it was then."]
    if write is not None:
        through = case.called(step, write.tensor)
        if through not in (name, "") and write.cause != OPTIMIZER:
            words.append(f"The write went through {through}, which shares its memory with {name}.")
        if write.cause == OPTIMIZER:
            words.append("optimizer.step() writes the new values into the same parameters, in place.")
    words.append("With the new values the gradient would be wrong, so torch refuses to run this backward.")
    return " ".join(words)


def _between(name: str) -> str:
    return f"leave {name} as it is between the forward and its backward: write before the one, or after the other"


def _fix(write: Write, name: str, saver: str) -> str:
    """What words can say."""
    if write.cause == OPTIMIZER:
        return (
            "call every backward that goes through these parameters before optimizer.step(), "
            "or compute the second loss anew after it"
        )
    if write.cause == "__setitem__":
        return (
            "collect the pieces in a list and make one tensor of them with torch.stack or torch.cat, "
            f"or let {saver} keep a copy of {name}, as .clone() makes one"
        )
    return f"make a new tensor instead of writing into this one, or let {saver} keep a copy, as .clone() makes one"


@check(SAVED_TENSOR_MODIFIED)
def result_modified_before_any_backward(case: Case) -> Iterator[Finding]:
    """The same, where no backward ran yet: the next one through this op will be refused."""
    for step in case.distinct:
        if next(case.events(Backward, step), None) is not None:
            continue
        savers = [
            e
            for e in case.calls(*op_kinds.KEEPS_RESULT, step=step)
            if e.moment.grad_nodes and len(e.moment.outputs) == 1
        ]
        written = writes(case, step) if savers else {}
        for event in savers:
            result = event.moment.outputs[0]
            group = written.get(step.tensors[result].storage, ())
            after = [w for w in group if w.counted and w.moment > event.position and w.op != event.position]
            after = [w for w in after if case.place(w.stack) is not None]
            if result not in event.moment.inputs and after:
                yield _will_be_refused(case, event, result, after[0])


def _will_be_refused(case: Case, event: Event[OpCall], result: int, write: Write) -> Finding:
    step, name = event.step, case.called(event.step, result)
    culprit, more = writer(case, step, write, None)
    return SAVED_TENSOR_MODIFIED.finding(
        f"{name} was changed in place ({deed(case, step, write)}) after {event.moment.name} saved it: "
        "a backward through it will be refused",
        culprit=culprit,
        step=step.number,
        confidence=POSSIBLE,
        related=(*case.places((event.moment.stack, "saved here")), *more),
        explanation=f"The derivative of {event.moment.name} is computed from its own result, so it kept {name} as it "
        "was then. No backward has run yet.",
        fix=_fix(write, name, event.moment.name),
        nodes=(tensor_id(step.template, result),),
        severity=Severity.NOTE,
    )


CHECKS = (saved_tensor_modified, result_modified_before_any_backward)
