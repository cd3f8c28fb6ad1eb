"""Backwards that raise because of what they start from or are asked for, and tensors of inference mode in a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward, Failure, ModeChange, OpCall
from ...model.trace import Step
from ...repair.changes.calls import argument_replaced, renamed, with_keyword, without_call
from ...repair.changes.rebuilt import from_array, not_rebuilt, stacked_from
from ...repair.changes.values import argument_followed_by, receiver_followed_by
from ...repair.ways import Way
from ..evidence.cut_fixes import rejoined
from ..evidence.dataflow import Dataflow
from ..evidence.gradient_cuts import Cut, first_cuts, place_of, reason
from ..evidence.index import Case, at
from ..evidence.source_lines import switched_by, yields_under
from ..evidence.step_links import home_of
from ..evidence.torch_errors import ErrorKind, torch_error
from ..evidence.unused_inputs import Derived, Late, asked_late, copy_used, derived_of, like_leaves, named_here
from ..evidence.wording import listed, variable
from ..rules import CERTAIN, SURE, Rule, check

_NEVER_ASKED = frozenset({"GS303", "GS309"})  # nothing was cut: a tensor on the way never asked for a gradient
NO_GRAPH = Rule(
    "GS201",
    "no-graph-behind-loss",
    Severity.ERROR,
    "The loss has no graph: nothing connects it to a parameter.",
    yields_to=_NEVER_ASKED,
)
INFERENCE_TENSOR = Rule(
    "GS205", "inference-tensor-in-graph", Severity.ERROR, "A tensor made in inference mode is used where gradients are."
)
UNUSED_INPUT = Rule(
    "GS206",
    "unused-in-graph",
    Severity.ERROR,
    "autograd.grad is asked for a tensor that the loss does not depend on.",
    yields_to=_NEVER_ASKED,
)
NOT_SCALAR = Rule("GS209", "non-scalar-backward", Severity.ERROR, "backward() was called on a tensor of many values.")

_KEPT = "the loss keeps its graph"
_EACH = "where each value depends on its own input alone, each gets its own derivative"
_UNUSED = (ErrorKind.INPUT_UNUSED, ErrorKind.INPUT_WANTS_NO_GRAD)


@check(NO_GRAPH, NOT_SCALAR, UNUSED_INPUT)
def backward_that_fails(case: Case) -> Iterator[Finding]:
    """Backwards that raised because of what their root or their inputs are."""
    for event in case.events(Backward):
        kind = torch_error(event.moment.error).kind
        if kind is ErrorKind.NO_GRAPH:
            yield from _no_graph(case, event.step, event.position, event.moment)
        elif kind in _UNUSED:
            yield _unused(case, event.step, event.moment)
    died = case.failure
    if died is not None and case.error.kind is ErrorKind.NOT_SCALAR:
        yield _not_scalar(case, died.step, died.moment)
    if died is not None and case.error.kind is ErrorKind.NUMBER_HAS_NO_BACKWARD:
        yield from _number(case, died.step, died.moment, died.position)


def _no_graph(case: Case, step: Step, position: int, backward: Backward) -> Iterator[Finding]:
    flow = Dataflow.of(case, step)
    root = next((tensor for tensor in backward.roots if not flow.needs_grad(tensor)), None)
    if root is None:
        return
    found = first_cuts(flow, [root], position)
    name = case.called(step, root)
    if not found:
        hidden = [op for op in flow.behind([root], position)[1] if flow.ops[op].name == "CheckpointFunction"]
        if hidden:
            yield _checkpointed(case, step, flow, root, min(hidden), backward)
            return
        exit_ = flow.last_exit(position)
        if exit_ is None:
            return
        yield _rebuilt(case, step, flow, root, exit_, backward)
        return
    cut = _towards_weights(flow, found)
    why, fix = reason(flow, cut)
    leaks = cut.kind == "mode" and yields_under(case, place_of(flow, cut))
    if leaks:
        why += " The block yields: until its generator goes on, gradients are off for the caller, too."
        fix = "end the block before the yield: compute the value inside it, and yield the value outside"
    yield NO_GRAPH.finding(
        f"{name} has no graph: the path to the parameters ends at {flow.ops[cut.op].name}",
        culprit=place_of(flow, cut),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((flow.ops[cut.op].stack, "the path ends here"), (backward.stack, "this backward raises")),
        explanation=why + f" So {name} does not require a gradient, and backward() has nothing to go back through.",
        fix=fix,
        fixes=() if leaks else rejoined(flow, cut),
        nodes=[tensor_id(step.template, tensor) for tensor in (*flow.ops[cut.op].outputs[:1], root)],
    )


def _towards_weights(flow: Dataflow, cuts: Sequence[Cut]) -> Cut:
    """Of several cuts the last one that has a parameter behind it: what else was cut off is no loss."""

    def has_weights(cut: Cut) -> bool:
        behind = flow.behind(flow.ops[cut.op].inputs, cut.op)[0]
        owners = (flow.case.parameter(flow.step, tensor) for tensor in behind)
        return any(one is not None and one.requires_grad and one.role == "parameter" for one in owners)

    return next((cut for cut in reversed(cuts) if has_weights(cut)), cuts[-1])


def _checkpointed(case: Case, step: Step, flow: Dataflow, root: int, op: int, backward: Backward) -> Finding:
    name = case.called(step, root)
    return NO_GRAPH.finding(
        f"{name} has no graph: all of it comes from a reentrant checkpoint whose inputs need no gradient",
        culprit=case.place(flow.ops[op].stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((backward.stack, "this backward raises")),
        explanation="With use_reentrant=True the checkpoint becomes a node of the graph only if a tensor that it is "
        "given requires a gradient. The parameters inside do not count.",
        fix="pass use_reentrant=False",
        fixes=case.fixes(
            Way(
                "use the checkpoint that is not reentrant",
                "the parameters inside are trained",
                case.place(flow.ops[op].stack),
                with_keyword(("checkpoint", "checkpoint_sequential"), "use_reentrant", "False"),
            )
        ),
        nodes=[tensor_id(step.template, tensor) for tensor in flow.ops[op].outputs[:1]],
    )


def _number(case: Case, step: Step, failure: Failure, position: int) -> Iterator[Finding]:
    """backward() of a plain number: the call that made it one."""
    flow = Dataflow.of(case, step)
    exit_ = flow.last_exit(position)
    if exit_ is None:
        return
    op = flow.ops[exit_]
    yield NO_GRAPH.finding(
        f"backward() is called on a plain number: {op.name}() took it out of its tensor",
        culprit=case.place(op.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((failure.stack, "this call raises")),
        explanation=f"{op.name}() gives the value without its graph. Only a tensor knows how it was computed.",
        fix="leave the loss a tensor for backward(); take the number only for printing",
        fixes=case.fixes(Way("leave it a tensor", "it keeps its graph", case.place(op.stack), without_call(op.name))),
        nodes=[tensor_id(step.template, tensor) for tensor in op.inputs[:1]],
    )


def _rebuilt(case: Case, step: Step, flow: Dataflow, root: int, exit_: int, backward: Backward) -> Finding:
    made = _entry(flow, [root], exit_)
    name = case.called(step, root)
    op = flow.ops[exit_]
    stack = step.moments[made].stack if made is not None else op.stack
    place, left = case.place(stack), case.place(op.stack)
    return NO_GRAPH.finding(
        f"{name} was built from plain numbers: {op.name} took them out of the graph",
        culprit=place,
        step=step.number,
        confidence=SURE,
        related=case.places((op.stack, "the value leaves the graph here"), (backward.stack, "this backward raises")),
        explanation=f".{op.name}() gives a number (or array) that autograd knows nothing of. A tensor made of it is "
        "new: no parameter lies behind it.",
        fix="compute with the tensors themselves, without item() / numpy() / float()",
        fixes=case.fixes(*_kept_as_tensors(place, left, op.name)),
        nodes=[tensor_id(step.template, root)],
    )


def _kept_as_tensors(made: Place | None, left: Place | None, exit_: str) -> Iterator[Way]:
    """The tensors themselves, where numbers were taken out of them: on one line, or by way of a list."""
    in_place = made is not None and left is not None and (made.file, made.line) == (left.file, left.line)
    words = "compute with the tensors themselves"
    if in_place and exit_ == "numpy":
        yield Way(words, _KEPT, made, from_array())
    elif in_place:
        yield Way(words, _KEPT, made, not_rebuilt())
    elif exit_ == "item":
        yield Way("keep the tensors and stack them", _KEPT, made, stacked_from(left))


def _entry(flow: Dataflow, tensors: Sequence[int], after: int) -> int | None:
    """The first op after moment `after` among those behind `tensors` that makes a tensor of no other."""
    ops = sorted(op for op in flow.behind(tensors)[1] if op > after and not flow.ops[op].inputs)
    return ops[0] if ops else None


def _not_scalar(case: Case, step: Step, failure: Failure) -> Finding:
    place = case.place(failure.stack)
    called = (place.expression if place is not None else "").partition(".backward(")[0]
    many = [
        tensor
        for tensor in step.tensors
        if math.prod(tensor.shape) > 1 and tensor.requires_grad and tensor.parameter is None and tensor.made_by
    ]
    named = [tensor for tensor in many if tensor.name and tensor.name == called]
    found = (named or many)[-1:]
    name = case.called(step, found[0].number) if found else "the loss"
    size = f"{math.prod(found[0].shape)} values, of shape {found[0].shape}" if found else "several values"
    return NOT_SCALAR.finding(
        f"{name} holds {size}: backward() needs one number",
        culprit=place,
        step=step.number,
        confidence=CERTAIN,
        related=case.places((step.stack(found[0].made_by) if found else None, f"{name} is made here")),
        explanation="A gradient is the derivative of one number. For several, backward would have to be told how much "
        "each of them counts.",
        fix=f"reduce it first: {variable(name, 'loss')}.mean().backward() (or .sum()); or leave out reduction='none'",
        fixes=case.fixes(
            Way("take the mean", "of each value alike", place, receiver_followed_by("backward", call=".mean()")),
            Way("take the sum", "larger steps for more values", place, receiver_followed_by("backward", call=".sum()")),
            Way("take the sum", _EACH, place, argument_followed_by(("grad",), 0, ".sum()")),
        ),
        nodes=[tensor_id(step.template, tensor.number) for tensor in found],
    )


def _unused(case: Case, step: Step, backward: Backward) -> Finding:
    flow = Dataflow.of(case, step)
    graph = step.behind(backward)
    reached = {tensor for node in graph.nodes for tensor in (node.tensor, *node.output_tensors)} if graph else set()
    unused = [tensor for tensor in backward.inputs if tensor not in reached]
    names = listed(dict.fromkeys(named_here(case, step, tensor) for tensor in unused))
    frozen = [tensor for tensor in backward.inputs if not flow.needs_grad(tensor)]
    root = case.called(step, backward.roots[0]) if backward.roots else "the result"
    used = [step.tensors[tensor].first_use for tensor in unused]
    derived = next((one for tensor in unused if (one := derived_of(flow, backward, tensor)) is not None), None)
    if derived is not None:
        return _asked_of_derived(case, step, backward, derived, root)
    late = next((found for tensor in unused if (found := asked_late(flow, backward, tensor)) is not None), None)
    if late is not None:
        return _asked_too_late(case, step, backward, late, root)
    here, copy = case.place(backward.stack), copy_used(flow, graph, unused)
    copied = case.called(step, copy) if copy is not None else ""
    ways = [Way("ask for the tensor that is used", _OF_USED, here, without_call("clone"))]
    if copied.isidentifier() and len(backward.inputs) == 1:
        ways.insert(0, Way(f"ask for {copied}", _OF_USED, here, argument_replaced(("grad",), 1, copied)))
    if len(unused) < len(backward.inputs):  # of one alone, zeros would only hide that nothing depends on it
        zeros = with_keyword(("grad",), "materialize_grads", "True")
        ways.append(Way("take zeros for what is not used", "only what the loss depends on counts", here, zeros))
    others = like_leaves(case, step, graph, unused)
    fix = (
        f"ask for those that it is computed with: {listed(others)}; if they are copies, the gradient is theirs"
        if others
        else "ask only for what the loss uses; or pass allow_unused=True and skip the None that comes back"
    )
    if copied:
        fix = f"ask for {copied}, which {root} is computed from"
    return UNUSED_INPUT.finding(
        f"{root} does not depend on {names}: torch.autograd.grad has no gradient for it",
        culprit=here,
        step=step.number,
        confidence=CERTAIN,
        related=case.places(
            (used[0] if used else None, f"{names} is used here, but not for {root}"),
            (step.stack(step.tensors[copy].made_by) if copy is not None else None, f"{copied} is made of it here"),
        ),
        explanation=f"No path leads from {root} back to {names}."
        + (f" {copied} was made of it without its graph, and that is what was used." if copied else "")
        + (" It does not require a gradient." if frozen else "" if copied else " It took no part in computing it.")
        + (f" It was computed with other leaves of the very same shapes: {listed(others)}." if others else ""),
        fix=fix,
        fixes=case.fixes(*ways),
        nodes=[tensor_id(step.template, tensor) for tensor in unused],
    )


_OF_USED = "the gradient is that of what the loss is computed from"


def _asked_of_derived(case: Case, step: Step, backward: Backward, derived: Derived, root: str) -> Finding:
    op = Dataflow.of(case, step).ops[derived.op]
    source, here = case.called(step, derived.source), case.place(backward.stack)
    name = case.called(step, derived.tensor)
    name = f"a {op.name} of {source}" if name.startswith("the result of") else name
    root = "the loss" if root.startswith("the result of") else root
    return UNUSED_INPUT.finding(
        f"{root} was computed with {source}, not with what is asked for: {name}",
        culprit=here,
        step=step.number,
        confidence=CERTAIN,
        related=case.places((op.stack, f"{name} is made here"), (backward.stack, "its gradient is asked for here")),
        explanation=f"{op.name} makes a new tensor, a branch off {source}. The loss does not go through it, so "
        "no path leads from it back there.",
        fix=f"ask for {source}, and pick the part of its gradient; or compute the loss from the new tensor",
        fixes=case.fixes(
            Way(
                "ask for the tensor that is used",
                "the gradient is that of what the loss is computed from",
                here,
                without_call("clone"),
            )
        ),
        nodes=[tensor_id(step.template, derived.tensor)],
    )


def _asked_too_late(case: Case, step: Step, backward: Backward, late: Late, root: str) -> Finding:
    name, op = case.called(step, late.tensor), Dataflow.of(case, step).ops[late.op]
    return UNUSED_INPUT.finding(
        f"{root} was computed from {name} before {name} asked for a gradient",
        culprit=case.place(op.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places(
            (step.stack(late.asked), f"{name} asks for a gradient here"),
            (backward.stack, "its gradient is asked for here"),
        ),
        explanation=f"{op.name} read {name} while it required no gradient, so nothing of that was recorded. To ask "
        f"later changes what comes after alone: no path leads from {root} back to {name}.",
        fix=f"ask before {name} is first used: {variable(name, 'x')}.requires_grad_() in front of this line; or "
        f"compute what {root} needs of it after that",
        nodes=[tensor_id(step.template, late.tensor)],
    )


@check(INFERENCE_TENSOR)
def inference_tensors(case: Case) -> Iterator[Finding]:
    """An op or a backward that raised because of a tensor from inference mode: the region that made it."""
    for event in case.events(Failure):
        if event.moment.caught and case.failure is not None:
            continue
        if torch_error(event.moment.message).kind is not ErrorKind.INFERENCE_TENSOR:
            continue
        region, made = _region(case, event.step, event.position)
        name = case.called(event.step, made) if made is not None else "a tensor"
        opened = case.place(region.stack) if region is not None else None
        refused = case.refusal.moment.inputs if case.refusal is not None else ()
        own = _mode_of(case, event.step, refused)
        both = own is not None and opened is not None and (own.file, own.line) != (opened.file, opened.line)
        yield INFERENCE_TENSOR.finding(
            f"{name} was made in inference mode and is now used where autograd records",
            culprit=own or opened or case.place(event.moment.stack),
            step=event.step.number,
            confidence=CERTAIN,
            related=(
                *((replace(opened, note="in inference mode here, too"),) if both and opened is not None else ()),
                *case.places((event.moment.stack, "this op would have to save it for backward")),
            ),
            explanation="Tensors made under inference_mode keep no version and no autograd data, for ever: autograd "
            "refuses to save them.",
            fix=f"use torch.no_grad() instead of torch.inference_mode() {'in both places' if both else 'here'}, or "
            "clone() the result outside the block",
            fixes=case.fixes(
                Way(
                    "use no_grad here",
                    "its results may be used where autograd records",
                    None if both else own or opened,
                    renamed(("inference_mode",), "no_grad"),
                )
            ),
            nodes=[tensor_id(event.step.template, made)] if made is not None else [],
        )
        return


def _mode_of(case: Case, step: Step, refused: Sequence[int]) -> Place | None:
    """What switched inference mode on around the op that made the refused tensor: the innermost that its text tells."""
    number = next((one for one in refused if step.tensors[one].is_inference), None)
    op = home_of(case, step, number).op if number is not None else None
    for site in case.sites(op.stack if op is not None else None):
        found = switched_by(case, at(site), "inference_mode")
        if found is not None:
            return found
    return None


def _region(case: Case, step: Step, before: int) -> tuple[ModeChange | None, int | None]:
    """The last switch to inference mode before a moment under which a tensor was made, and that tensor."""
    steps = [one for one in case.distinct if one.number < step.number]
    for one in (step, *reversed(steps)):
        region: ModeChange | None = None
        best: tuple[ModeChange | None, int | None] = (None, None)
        for moment in one.moments[: before if one is step else None]:
            if isinstance(moment, ModeChange) and moment.mode == "inference":
                region = moment if moment.value == "on" else None
            elif isinstance(moment, OpCall) and region is not None:
                made = [tensor for tensor in moment.outputs if one.tensors[tensor].is_inference]
                best = (region, made[-1] if made and one is step else None) if made else best
        if best[0] is not None:
            return best
    return None, None


CHECKS = (backward_that_fails, inference_tensors)
