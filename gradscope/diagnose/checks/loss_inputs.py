"""The loss and what goes into it: shapes that broadcast, softmax applied twice, batches of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.build import op_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward, Failure, OpCall
from ...model.order import reached
from ...model.records import LOADER, Tensor
from ...model.sizes import all_known, elements
from ...model.trace import Step
from ...repair.changes.calls import renamed, with_keyword, without_op
from ...repair.changes.elsewhere import at_call
from ...repair.changes.values import side_followed_by
from ...repair.ways import Way
from ...text import sizes
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, Event
from ..evidence.torch_errors import ErrorKind
from ..evidence.wording import shape_of
from ..rules import CERTAIN, LIKELY, SURE, Rule, check

BROADCAST = Rule(
    "GS901", "loss-broadcast", Severity.WARNING, "Prediction and target have different shapes and were broadcast."
)
SOFTMAX_TWICE = Rule(
    "GS902", "softmax-twice", Severity.WARNING, "A loss that applies softmax or sigmoid got probabilities."
)
NO_LOGARITHM = Rule(
    "GS903", "probabilities-not-logarithms", Severity.WARNING, "A loss that needs log-probabilities got something else."
)
BATCH_OF_ONE = Rule("GS905", "batch-of-one", Severity.ERROR, "BatchNorm in training got one value for each channel.")


def _source(step: Step, tensor: int) -> tuple[int, OpCall] | None:
    """The call that computed a tensor's values, looking through what only arranges them: (moment, call)."""
    for _ in range(64):
        made, call = step.tensors[tensor].made_by, step.maker(tensor)
        if made is None or call is None:
            return None
        if call.name not in op_kinds.PASSES_ON or not call.inputs:
            return made, call
        tensor = call.inputs[0]
    return None


def _line(case: Case, call: OpCall) -> Place | None:
    """The line to change for a call: of a module of torch's own that its container calls, where it was made."""
    module = case.modules.get(call.module) if call.module is not None else None
    if (
        module is not None
        and module.stack is not None
        and module.type.lower().replace("2d", "") == call.name.replace("_", "")
    ):
        return case.place(module.stack)
    return case.place(call.stack)


_SOFTMAX = ("Softmax",)

# -- shapes --------------------------------------------------------------------------------------------


@check(BROADCAST)
def broadcast(case: Case) -> Iterator[Finding]:
    """A loss of two tensors whose shapes differ, and differences that a hand-written loss averages."""
    for event in case.calls(*op_kinds.COMPARES):
        if len(event.moment.inputs) >= 2:
            yield from _compared(case, event, SURE)
    for event in case.calls(*op_kinds.SUBTRACTS):
        if len(event.moment.inputs) == 2 and _only_reduced(case, event):
            yield from _compared(case, event, LIKELY)


@check(BROADCAST)
def becomes_a_matrix(case: Case) -> Iterator[Finding]:
    """A row and a column of values, of which an operator makes a matrix that only its mean or sum is used of."""
    told: set[int | None] = set()
    for event in case.calls(*op_kinds.SUBTRACTS, *op_kinds.ADDS, *op_kinds.MULTIPLIES):
        step, call = event.step, event.moment
        if len(call.inputs) != 2 or len(call.outputs) != 1 or call.stack in told or call.outputs[0] in call.inputs:
            continue
        column, row = sorted(call.inputs, key=lambda one: -len(step.tensors[one].shape))
        shapes = step.tensors[column].shape, step.tensors[row].shape
        if not shapes[1] or shapes[0] != (shapes[1][0], *(1 for _ in shapes[1])) or shapes[1][0] < 2:
            continue  # one value for each sample, with as many axes more as put the samples on another one
        alike = step.tensors[column].storage == step.tensors[row].storage  # the same values: all pairs are meant
        product = call.name in op_kinds.MULTIPLIES  # of all pairs: its mean is that of the two means
        pairs = alike or (len(shapes[1]) == 1 and _stood_up(step, column, reduced=not product))
        if not pairs and _only_summed(case, event) and not _averaged(case, event):
            told.add(call.stack)
            yield _matrix(case, event, column, row)


def _stood_up(step: Step, tensor: int, *, reduced: bool) -> bool:
    """Whether the script itself made a column of the values, which it then compares with all others: x[:, None].

    `reduced`: or one that a sum or mean with keepdim gave, as squared norms are for distances.
    """
    reductions = {"sum", "mean", "amax", "norm"} if reduced else set()
    for _ in range(8):
        call = step.maker(tensor)
        if call is None or not call.inputs:
            return False
        wider = len(step.tensors[call.outputs[0]].shape) >= len(step.tensors[call.inputs[0]].shape)
        if wider and call.name in op_kinds.RESHAPES | {"__getitem__", "expand"} | reductions:
            return call.name != "__getitem__" or "None" in call.arguments
        if call.name not in op_kinds.CASTS | op_kinds.DETACHES | op_kinds.COPIES:
            return False
        tensor = call.inputs[0]
    return False


def _only_summed(case: Case, event: Event[OpCall]) -> bool:
    """Whether a matrix reaches a backward through elementwise ops, and then as one number."""
    step, flow = event.step, Dataflow.of(case, event.step)
    size = step.tensors[event.moment.outputs[0]].shape
    grown = set(reached(event.moment.outputs, lambda one: _same_size(flow, one, size)))
    ends = [flow.ops[op] for one in grown for op in flow.readers.get(one, ()) if not grown & set(flow.results(op))]
    ends = [op for op in ends if op.name not in op_kinds.LEAVES_TORCH]
    whole = all(op.name in op_kinds.SUMS | op_kinds.AVERAGES and not op.arguments for op in ends)
    return bool(ends) and whole and any(set(op.outputs) & flow.differentiated for op in ends)


def _averaged(case: Case, event: Event[OpCall]) -> bool:
    """Whether the mean is taken of a sum's own matrix: it is that of both, whatever meets what."""
    flow, sums = Dataflow.of(case, event.step), op_kinds.ADDS | op_kinds.SUBTRACTS
    readers = [flow.ops[op] for op in flow.readers.get(event.moment.outputs[0], ())]
    whole = all(op.name in op_kinds.AVERAGES and not op.arguments for op in readers)
    return event.moment.name in sums and bool(readers) and whole


def _same_size(flow: Dataflow, tensor: int, size: Sequence[int]) -> Iterator[int]:
    for op in flow.readers.get(tensor, ()):
        if flow.ops[op].name not in op_kinds.SOFTMAXES | op_kinds.GIVES_LOGARITHMS:
            yield from (one for one in flow.results(op) if flow.step.tensors[one].shape == size)


def _matrix(case: Case, event: Event[OpCall], column: int, row: int) -> Finding:
    step, call = event.step, event.moment
    names = case.called(step, column), case.called(step, row)
    shapes = shape_of(step.tensors[column]), shape_of(step.tensors[row])
    made = _times(step.tensors[call.outputs[0]].shape)
    return BROADCAST.finding(
        f"{names[0]} has shape {shapes[0]} and {names[1]} {shapes[1]}: {call.name} makes {made} of them",
        culprit=case.place(call.stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((step.stack(step.tensors[column].made_by), "the column")),
        explanation=f"Each value of {names[0]} meets every value of {names[1]}, not its own. All that follows is the "
        "mean or sum of that, so nothing tells one sample from another.",
        fix=f"give both the same shape: {names[1]}.unsqueeze(-1), or .squeeze(-1) of {names[0]} and of whatever goes "
        "with it",
        fixes=case.fixes(
            Way(
                "make a row of the column",
                "each value meets its own",
                case.place(call.stack),
                side_followed_by(call.inputs.index(column), ".squeeze(-1)"),
            )
        ),
        nodes=(column, row, op_id(step.template, event.position)),
    )


def _compared(case: Case, event: Event[OpCall], confidence: float) -> Iterator[Finding]:
    step, call = event.step, event.moment
    one, other = (step.tensors[tensor] for tensor in call.inputs[:2])
    if one.requires_grad == other.requires_grad or not _spreads(one.shape, other.shape):
        return
    prediction, target = (one, other) if one.requires_grad else (other, one)
    rows = _broadcast(one.shape, other.shape)
    names = case.called(step, prediction.number), case.called(step, target.number)
    yield BROADCAST.finding(
        f"{names[0]} has shape {shape_of(prediction)} and {names[1]} {shape_of(target)}: {call.name} compares "
        f"{_times(rows)} pairs",
        culprit=case.place(call.stack),
        step=step.number,
        confidence=confidence,
        related=case.places(
            (step.stack(prediction.made_by), "the prediction"), (step.stack(target.made_by), "the target")
        ),
        explanation=f"Shapes that differ are stretched to {_times(rows)}: every prediction is compared with every "
        "target, not with its own. The loss falls only as far as the mean of the targets.",
        fix=_same_shape(prediction, target, *names),
        fixes=case.fixes(*_paired(case, call, prediction, target)),
        nodes=(*call.inputs[:2], op_id(step.template, event.position)),
    )


def _spreads(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether comparing them makes more pairs than either has elements, of (N, 1) against (N,) and their like."""
    if tuple(one) == tuple(other) or elements(one) <= 1 or elements(other) <= 1:
        return False
    rows = _broadcast(one, other)
    alike = [size for size in one if size > 1] == [size for size in other if size > 1]
    return len(one) != len(other) and math.prod(rows) > max(math.prod(one), math.prod(other)) and alike


def _broadcast(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    width = max(len(one), len(other))
    padded = [(1,) * (width - len(shape)) + tuple(shape) for shape in (one, other)]
    return tuple(max(pair) for pair in zip(*padded))


def _only_reduced(case: Case, event: Event[OpCall]) -> bool:
    """Whether a difference goes nowhere but into a loss: powers, absolute values, sums, and then a backward."""
    step = event.step
    roots = {root for backward in case.events(Backward, step) for root in backward.moment.roots}
    flow = Dataflow.of(case, step)
    made, ops = flow.ahead(event.moment.outputs)
    users = (flow.ops[op] for op in ops if roots.isdisjoint(flow.ops[op].inputs))
    return not made.isdisjoint(roots) and all(op.name in op_kinds.REDUCES | {"item", "detach"} for op in users)


def _same_shape(prediction: Tensor, target: Tensor, name: str, wanted: str) -> str:
    if len(prediction.shape) > len(target.shape) and prediction.shape[-1] == 1:
        return f"give both the same shape: {name}.squeeze(-1), or {wanted}.unsqueeze(-1)"
    return f"give both the same shape: {name}.view_as({wanted})"


def _paired(case: Case, call: OpCall, prediction: Tensor, target: Tensor) -> Iterator[Way]:
    """The ways to give prediction and target one shape."""
    place = case.place(call.stack)
    if len(prediction.shape) > len(target.shape) and prediction.shape[-1] == 1:
        squeezed = 0 if call.inputs[0] == prediction.number else 1
        meaning = "each prediction meets its own target"
        yield Way("drop the last axis of the prediction", meaning, place, side_followed_by(squeezed, ".squeeze(-1)"))
        yield Way("give the target a last axis", meaning, place, side_followed_by(1 - squeezed, ".unsqueeze(-1)"))


def _times(shape: Sequence[int]) -> str:
    return sizes(shape, " × ")


# -- probabilities ---------------------------------------------------------------------------------------


@check(SOFTMAX_TWICE, NO_LOGARITHM)
def probabilities(case: Case) -> Iterator[Finding]:
    """What each loss expects of its first input, against the call that computed it."""
    for event in case.calls("cross_entropy", "binary_cross_entropy_with_logits"):
        source = _source(event.step, event.moment.inputs[0]) if event.moment.inputs else None
        wanted = op_kinds.SOFTMAXES if event.moment.name == "cross_entropy" else op_kinds.SOFTMAXES | op_kinds.SIGMOIDS
        if source is not None and source[1].name in wanted and _learns(event):
            yield _twice(case, event, *source)
    for event in case.calls("nll_loss", "kl_div"):
        source = _source(event.step, event.moment.inputs[0]) if event.moment.inputs else None
        if source is not None and _is_no_logarithm(source[1]) and _learns(event):
            yield _no_logarithm(case, event, *source)


def _learns(event: Event[OpCall]) -> bool:
    return event.step.tensors[event.moment.inputs[0]].requires_grad


def _is_no_logarithm(call: OpCall) -> bool:
    """Whether a call gives probabilities, or the scores of a layer."""
    return call.name in op_kinds.GIVES_PROBABILITIES | op_kinds.GIVES_SCORES


def _twice(case: Case, event: Event[OpCall], moment: int, made: OpCall) -> Finding:
    step, loss = event.step, event.moment
    inside = "log_softmax" if loss.name == "cross_entropy" else "the sigmoid"
    shape = step.tensors[made.outputs[0]].shape
    classes = shape[-1] if shape and all_known(shape) else 2
    least = math.log(1 + (classes - 1) / math.e) if loss.name == "cross_entropy" else math.log(1 + 1 / math.e)
    return SOFTMAX_TWICE.finding(
        f"{loss.name} applies {inside} itself, and its input comes out of {made.name} already",
        culprit=_line(case, made),
        step=step.number,
        confidence=SURE,
        related=case.places((loss.stack, "the loss that applies it again")),
        explanation="Probabilities lie between 0 and 1; taken for scores they are all nearly equal. The loss cannot "
        f"fall below {least:.2f}, even for a perfect answer, and its gradient is small.",
        fix=f"return the scores without {made.name}; apply it where probabilities are read",
        fixes=case.fixes(
            Way(
                f"pass on the scores without {made.name}",
                "the loss sees scores; whoever reads probabilities has to apply it",
                _line(case, made),
                without_op((made.name,)),
            )
        ),
        nodes=(*loss.inputs[:1], op_id(step.template, moment), op_id(step.template, event.position)),
    )


def _no_logarithm(case: Case, event: Event[OpCall], moment: int, made: OpCall) -> Finding:
    step, loss = event.step, event.moment
    what = "probabilities" if made.name in op_kinds.GIVES_PROBABILITIES else "raw scores"
    better = "log_softmax" if made.name in op_kinds.GIVES_PROBABILITIES else "log_softmax of them"
    return NO_LOGARITHM.finding(
        f"{loss.name} needs logarithms of probabilities, and gets {what} from {made.name}",
        culprit=_line(case, made),
        step=step.number,
        confidence=SURE if made.name in op_kinds.GIVES_PROBABILITIES else LIKELY,
        related=case.places((loss.stack, "the loss")),
        explanation=f"{loss.name} takes the mean of its input's negative at the right class. Without a logarithm it "
        "has no lower bound, or one that means nothing: it is not the likelihood.",
        fix=f"use {better} in the model, or cross_entropy on the raw scores",
        fixes=case.fixes(
            *(
                Way("take their logarithm", "the loss is the likelihood of the classes", _line(case, made), change)
                for change in (renamed(("softmax",), "log_softmax"), at_call(_SOFTMAX, renamed(_SOFTMAX, "LogSoftmax")))
            )
        )
        if made.name == "softmax"
        else (),
        nodes=(*loss.inputs[:1], op_id(step.template, moment), op_id(step.template, event.position)),
    )


# -- a batch of one ----------------------------------------------------------------------------------


@check(BATCH_OF_ONE)
def batch_of_one(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if BatchNorm was given one value for each channel."""
    failure = case.failure
    if failure is not None and case.error.kind is ErrorKind.BATCH_OF_ONE:
        yield _batch_of_one(case, failure)


def _batch_of_one(case: Case, failure: Event[Failure]) -> Finding:
    step = failure.step
    batch = _smallest_batch(case, step, failure.position)
    loader = batch is not None and batch.behind is not None
    stack = None if batch is None else batch.behind if loader else batch.stack
    shown = case.place(failure.moment.stack, "BatchNorm is reached from here")
    return BATCH_OF_ONE.finding(
        "a batch of one sample reached BatchNorm in training",
        culprit=case.place(stack) or shown,
        step=step.number,
        confidence=CERTAIN,
        related=[shown] if shown is not None and stack is not None else [],
        explanation="BatchNorm divides by the spread of the batch, and one value has none. "
        + (
            "The last batch of a DataLoader is what is left over."
            if loader
            else "The last slice of the data is what is left."
        ),
        fix="DataLoader(..., drop_last=True)"
        if loader
        else "leave out a last slice of one sample, or use eval() for it",
        fixes=case.fixes(
            Way(
                "leave out the last, smaller batch",
                "its samples come in other epochs, if the data are shuffled",
                case.place(stack),
                with_keyword(("DataLoader",), "drop_last", "True"),
            )
        ),
    )


def _smallest_batch(case: Case, step: Step, end: int) -> OpCall | None:
    """The call that brought in the batch: the last before the failure that returned a first axis of 1."""
    found: OpCall | None = None
    for event in case.events(OpCall, step):
        call = event.moment
        rows = [step.tensors[tensor].shape[:1] for tensor in call.outputs]
        if event.position < end and call.module is None and (1,) in rows:
            if call.name == LOADER:
                return call
            source = [step.tensors[tensor].shape[:1] for tensor in call.inputs]
            if not source or (1,) not in source:
                found = call
    return found or _carried_batch(case, step)


def _carried_batch(case: Case, step: Step) -> OpCall | None:
    """The call of an earlier step that cut the batch of one."""
    for tensor in step.tensors:
        if tensor.carried and tensor.shape[:1] == (1,) and len(tensor.shape) > 1 and tensor.parameter is None:
            home, first = case.original(step, tensor.number)
            made = home.maker(first.number)
            if made is not None:
                return made
    return None


CHECKS = (broadcast, becomes_a_matrix, probabilities, batch_of_one)
