"""Writes that the version counter does not see: torch cannot refuse the backward, and its gradient is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...model import op_kinds
from ...model.build import grad_node_id, tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...model.moments import Backward, OptimizerStep
from ...model.records import GradNode, SavedTensor, Stats
from ...model.trace import Step
from ...repair.changes.statements import moved
from ...repair.changes.values import followed_by
from ...repair.changes.writes import out_of_place
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, Event, once_a_step
from ..evidence.model_runs import acts_as_training
from ..evidence.statistics import Statistics, same_values
from ..evidence.wording import parameter_names
from ..evidence.writes import ASSIGNED, OPTIMIZER, Write, deed, owner_of, running_call, same_line, writer, writes
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

DATA_WRITE = Rule(
    "GS151",
    "data-write-unseen",
    Severity.ERROR,
    "A tensor that autograd saved was changed through .data, so the gradient is computed from other values.",
)
OUTSIDE_WRITE = Rule(
    "GS152",
    "shared-memory-written",
    Severity.ERROR,
    "A tensor that autograd saved shares its memory with numpy, and was changed there before the backward.",
)
STATISTICS_REWRITTEN = Rule(
    "GS153",
    "statistics-rewritten",
    Severity.ERROR,
    "A batch norm's running statistics were moved between a forward in evaluation mode and its backward.",
)


@check(DATA_WRITE, OUTSIDE_WRITE)
def saved_tensor_modified_unseen(case: Case) -> Iterator[Finding]:
    """Every backward's saved tensors against the uncounted writes between their op and that backward."""
    told: set[tuple[str, int | None]] = set()
    for event in case.events(Backward):
        step, graph = event.step, event.moment.graph
        if graph < 0:
            continue
        unseen = _uncounted(case, step)
        if not unseen:
            continue
        for node in step.graphs[graph].nodes:
            for saved in node.saved:
                for finding, write in _modified(case, event, node, saved, unseen):
                    key = (finding.code, write.stack)
                    if key not in told:  # a loop over parameters writes to many, one line does it
                        told.add(key)
                        yield finding


@check(STATISTICS_REWRITTEN)
def statistics_rewritten(case: Case) -> Iterator[Finding]:
    """Batch norms run in evaluation mode and then in training mode, before the backward of the first."""
    told: set[int | None] = set()
    for step in case.distinct:
        flow = Dataflow.of(case, step)
        runs = [(index, op) for index, op in flow.ops.items() if op.name == "batch_norm" and len(op.inputs) >= 3]
        settled = [(index, op) for index, op in runs if acts_as_training(op) is False and op.grad_nodes]
        for index, op in settled:
            backward = next((p for p, b in flow.backwards if p > index and index in flow.behind(b.roots, p)[1]), None)
            for later, other in runs:
                moves = acts_as_training(other) is True and other.inputs[1:3] == op.inputs[1:3]
                if backward is not None and index < later < backward and moves and other.stack not in told:
                    told.add(other.stack)
                    yield _rewritten(case, step, index, later, backward)


def _rewritten(case: Case, step: Step, index: int, later: int, backward: int) -> Finding:
    flow = Dataflow.of(case, step)
    call, first = flow.calls_of(later), flow.calls_of(index)
    names = parameter_names(case, step.parameters_of(flow.ops[index].inputs[1:3]))
    moments = step.moments
    return STATISTICS_REWRITTEN.finding(
        f"{names} were moved between a forward in evaluation mode and its backward: the gradient is silently wrong",
        culprit=case.place(call[-1].stack if call else moments[later].stack),
        step=step.number,
        confidence=SURE,
        related=case.places(
            (first[-1].stack if first else moments[index].stack, "run in evaluation mode here"),
            (moments[backward].stack, "this backward divides by the new statistics"),
        ),
        explanation="In evaluation mode batch norm saves its running statistics for the backward. A forward in "
        "training mode moves them in place without counting the write, so torch cannot notice and refuse.",
        fix="call the backward of the first forward before the model is run in training mode",
    )


@once_a_step
def _uncounted(case: Case, step: Step) -> Mapping[int, Sequence[Write]]:
    found = {storage: [w for w in group if not w.counted] for storage, group in writes(case, step).items()}
    return {storage: group for storage, group in found.items() if group}


def _modified(
    case: Case, event: Event[Backward], node: GradNode, saved: SavedTensor, unseen: Mapping[int, Sequence[Write]]
) -> Iterator[tuple[Finding, Write]]:
    step = event.step
    if saved.tensor is None or node.op is None:
        return
    for write in unseen.get(step.tensors[saved.tensor].storage, ()):
        if not node.op < write.moment < event.position or write.op == node.op:
            continue
        if not _reaches(step, write, saved):
            continue
        before, after = _value_before(case, step, write), _value_after(case, step, write)
        if (
            write.cause not in op_kinds.SHARES_MEMORY
            and before is not None
            and after is not None
            and same_values(before, after)
        ):
            continue  # it wrote what was there already; numpy's writes were told by their bytes
        if _put_back(step, write, unseen[step.tensors[saved.tensor].storage], event.position):
            continue
        yield _finding(case, event, node, saved, write, before, after), write
        return


def _reaches(step: Step, write: Write, saved: SavedTensor) -> bool:
    """Whether the write certainly changed elements that were saved."""
    assert saved.tensor is not None
    if write.cause == ASSIGNED:  # what was saved as a result keeps the memory that it had
        return saved.tensor == write.tensor and saved.name != "result"
    kept, written = step.tensors[saved.tensor], step.tensors[write.tensor]
    whole = max(t.nbytes for t in step.tensors if t.storage == kept.storage)
    return whole in (kept.nbytes, written.nbytes)


def _put_back(step: Step, write: Write, group: Sequence[Write], end: int) -> bool:
    """Whether the last write to the same elements gives back what a clone had kept of them since before this one."""
    last = max((one for one in group if one.tensor == write.tensor and one.moment < end), default=write)
    op = step.op(last.op)
    kept = step.maker(op.inputs[1]) if op is not None and op.name == "copy_" and len(op.inputs) == 2 else None
    if op is None or kept is None or kept.name != "clone" or kept.inputs != (write.tensor,):
        return False
    first = min(one.moment for one in group if one.tensor == write.tensor)
    made = step.tensors[op.inputs[1]].made_by
    return made is not None and made < first


def _value_before(case: Case, step: Step, write: Write) -> Stats | None:
    """What the written tensor held last before the write, if that was measured."""
    return _measured(case, step, write.tensor, -1, (write.op if write.op is not None else write.moment) - 1)


def _value_after(case: Case, step: Step, write: Write) -> Stats | None:
    if write.cause == OPTIMIZER:
        return None
    first = write.op if write.op is not None else write.moment
    return _measured(case, step, write.tensor, first, write.moment)


def _measured(case: Case, step: Step, tensor: int, first: int, last: int) -> Stats | None:
    values = Statistics(case, step)
    found = (values.results(moment).get(tensor) for moment in range(last, first - 1, -1))
    return next((stats for stats in found if stats is not None), None)


def _finding(
    case: Case,
    event: Event[Backward],
    node: GradNode,
    saved: SavedTensor,
    write: Write,
    before: Stats | None,
    after: Stats | None,
) -> Finding:
    step = event.step
    assert saved.tensor is not None
    assert node.op is not None
    op = step.op(node.op)
    saver = op.name if op is not None else node.name
    name = case.called(step, saved.tensor)
    outside = write.cause in op_kinds.SHARES_MEMORY
    rule = OUTSIDE_WRITE if outside else DATA_WRITE
    proof = _proof(name, saver, before, after)
    if outside and not proof:
        proof = "A checksum of its memory differs from the one that was taken when it was last used. "
    made = step.tensors[write.tensor].made_by
    alias = step.stack(made) if made != node.op else None
    doing = "was changed" if outside else f"was changed past its version counter ({deed(case, step, write)})"
    through = f" {deed(case, step, write)}" if outside else ""
    culprit, more = writer(case, step, write, event.moment.stack)
    fixes = case.fixes(*_ways(case, event, write, culprit))
    return rule.finding(
        f"{name} {doing}{through} after {saver} saved it for its backward: the gradient is silently wrong",
        culprit=culprit,
        step=step.number,
        confidence=CERTAIN if proof else LIKELY if write.cause == OPTIMIZER else SURE,
        related=(
            *case.places((step.stack(node.op), "saved here")),
            *(p for p in case.places((alias, "the alias was made here")) if not same_line(p, culprit)),
            *more,
            *case.places((event.moment.stack, "this backward computes with the changed values")),
        ),
        explanation=f"The derivative of {saver} is computed from {name} as it was when {saver} ran. "
        f"{proof}{_why(write)}",
        fix=said(fixes, _fix(case, event, write, name)),
        fixes=fixes,
        nodes=(tensor_id(step.template, saved.tensor), grad_node_id(step.template, event.moment.graph, node.index)),
    )


def _proof(name: str, saver: str, before: Stats | None, after: Stats | None) -> str:
    """The numbers that show the change; "" where they were not measured."""
    if before is None or after is None:
        return ""
    for what in ("max", "min", "norm", "mean"):
        was, now = getattr(before, what), getattr(after, what)
        if was != now:
            return f"When {saver} saved it, the {what} of {name} was {was:.6g}; when its backward ran, {now:.6g}. "
    return ""


def _why(write: Write) -> str:
    if write.cause in op_kinds.SHARES_MEMORY:
        return "A numpy array on a tensor's memory writes to it behind torch's back, so torch cannot notice and refuse."
    if write.cause == OPTIMIZER:
        return "This optimizer writes through .data, which no version counts, so torch cannot notice and refuse."
    return "A write through .data is not counted in the tensor's version, so torch cannot notice and refuse."


def _fix(case: Case, event: Event[Backward], write: Write, name: str) -> str:
    if write.cause in op_kinds.ENTERS_TORCH | {"from_dlpack"}:
        place = case.place(write.stack)
        call = place.expression if place is not None else ""
        copy = f"{call}.clone()" if call else "torch.tensor(array)"
        return f"give torch its own copy: {copy}, or fill a new array each time"
    if write.cause in op_kinds.SHARES_MEMORY:
        return f"let numpy have a copy: {name}.detach().numpy().copy(), or write a = a - b instead of a -= b"
    if write.cause == OPTIMIZER:
        return "call every backward of this graph before optimizer.step(); the optimizer should write under no_grad()"
    if running_call(case, event.step, write, event.moment.stack) is not None:
        return f"write to {name} after optimizer.step() and under torch.no_grad(), not while the model runs"
    if owner_of(event.step, write.tensor) is not None:
        return "move this line after the backward and optimizer.step(), and use torch.no_grad() rather than .data"
    return f"make a new tensor, which autograd then sees: {name} = {name}.{write.cause.rstrip('_')}(...), without .data"


def _ways(case: Case, event: Event[Backward], write: Write, culprit: Place | None) -> Iterator[Way]:
    """The ways to write where autograd does not compute with it any more, or so that it sees the write."""
    if write.cause in op_kinds.ENTERS_TORCH | {"from_dlpack"}:
        yield Way("give torch its own copy", "later writes do not reach it", culprit, followed_by(".clone()"))
    elif write.cause in op_kinds.SHARES_MEMORY:
        yield Way("let numpy have a copy", "its writes do not reach the tensor", culprit, followed_by(".copy()"))
    elif owner_of(event.step, write.tensor) is not None:
        after = next((e for e in case.events(OptimizerStep, event.step) if e.position > event.position), None)
        if after is not None:
            yield Way(
                "write after the update",
                "the gradient is that of the weights which the loss was computed with",
                culprit,
                moved(case.meeting(after.moment.stack, write.stack), before=False),
            )
    else:
        yield Way(
            "make a new tensor, which autograd sees",
            "the gradient is that of what the loss was computed from",
            case.place(write.stack),
            out_of_place(attributes=True),
        )


CHECKS = (saved_tensor_modified_unseen, statistics_rewritten)
