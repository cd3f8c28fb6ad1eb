"""Code of the user's that runs inside the backward: custom Functions and hooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...model.build import grad_node_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward, OpCall
from ...model.records import Detail, GradNode
from ...model.trace import Step
from ...repair.changes.functions import padded_return, returned_followed_by, returns_parameter, times_incoming
from ...repair.ways import Way
from ..evidence.index import Case
from ..evidence.statistics import Run, Statistics, backwards, size
from ..evidence.torch_errors import ErrorKind, torch_error
from ..rules import CERTAIN, SURE, Rule, check

WRONG_COUNT = Rule(
    "GS811",
    "backward-returns-wrong",
    Severity.ERROR,
    "A custom Function's backward does not return one gradient for each input of forward.",
)
RETURNS_NONE = Rule(
    "GS812",
    "backward-returns-none",
    Severity.ERROR,
    "A custom Function's backward returns None for an input that needs a gradient.",
)
WRONG_DERIVATIVE = Rule(
    "GS813",
    "backward-is-not-the-derivative",
    Severity.WARNING,
    "A custom Function's backward is not the derivative of its forward.",
)
HOOK_ZEROES = Rule("GS814", "hook-zeroes-gradient", Severity.WARNING, "A hook replaced a gradient by zeros.")

_OFF = 0.1  # a derivative is wrong where it differs by more than this from the slope, relative to the larger
_MOST_POINTS = 0.6  # of the points that were compared


class CustomCall(NamedTuple):
    """One call of a custom Function that a backward ran through."""

    step: Step
    graph: int
    node: GradNode
    op: OpCall


def _custom_calls(case: Case, step: Step) -> Iterator[CustomCall]:
    for _, backward in backwards(case, step):
        for node in step.graphs[backward.graph].nodes:
            op = step.op(node.op)
            if op is not None and op.behind is not None and node.name.startswith(op.name):
                yield CustomCall(step, backward.graph, node, op)


# Of two axes: the place of a gradient, its shape, and the one that is wanted.
_SHAPES = re.compile(r"at index (\d+) - got \[(\d+, \d+)\] but expected shape compatible with \[(\d+, \d+)\]")


@check(WRONG_COUNT)
def wrong_count(case: Case) -> Iterator[Finding]:
    """The error that torch raises when a backward's result does not fit forward's inputs."""
    for event in case.events(Backward):
        error = torch_error(event.moment.error)
        if error.kind is not ErrorKind.FUNCTION_RETURNED_WRONG:
            continue
        step = event.step
        calls = [call for call in _custom_calls(case, step) if call.node.name == error.parts["node"]]
        message = (event.moment.error or "").partition(": ")[2]
        op = calls[0].op if calls else None
        made = _computed(case, step, op, message)
        yield WRONG_COUNT.finding(
            message,
            culprit=case.place(made if made is not None else op.behind) if op is not None else None,
            step=step.number,
            confidence=CERTAIN,
            related=case.places(
                (op.stack if op is not None else None, "applied here"), (event.moment.stack, "the backward that raised")
            ),
            explanation="backward must return one gradient for each argument that forward got after ctx, in their "
            "order and with their shapes; None for an argument that is no tensor or needs none.",
            fix=_advice(message),
            fixes=case.fixes(
                Way(
                    "return None for the other arguments",
                    "they are numbers or need no gradient",
                    case.place(op.behind if op is not None else None),
                    padded_return(least=_wanting(step, op)),
                ),
                *_in_shape(message, case.place(op.behind if op is not None else None)),
            ),
            nodes=[grad_node_id(step.template, call.graph, call.node.index) for call in calls],
        )


def _advice(message: str) -> str:
    """What to return, by what does not fit: a gradient's shape, else the number of gradients."""
    shaped = re.search(r"at index (\d+) - got (\[[\d, ]*\]) but expected shape compatible with (\[[\d, ]*\])", message)
    if shaped is None:
        return (
            "return as many values as forward has arguments: `return grad * ctx.scale, None` for forward(ctx, x, scale)"
        )
    got, wanted = shaped[2], shaped[3]
    turned = _SHAPES.search(message)
    how = "transpose it" if turned and turned[2].split(", ") == turned[3].split(", ")[::-1] else f"it has {got}"
    return f"return value {int(shaped[1]) + 1} in the shape of the argument that it is the gradient of, {wanted}: {how}"


def _in_shape(message: str, place: Place | None) -> Iterator[Way]:
    """The way to turn a gradient whose two axes are exchanged."""
    found = _SHAPES.search(message)
    if found is not None and found[2] != found[3] and found[2].split(", ") == found[3].split(", ")[::-1]:
        turned = returned_followed_by(int(found[1]), ".t()")
        yield Way("transpose it", "it has the shape of what it is the gradient of", place, turned)


def _computed(case: Case, step: Step, op: OpCall | None, message: str) -> int | None:
    """The stack of the backward's own op that made the gradient of the shape that the message tells of."""
    given = re.search(r"got \[([\d, ]*)\] but expected shape", message)
    home = next(iter(case.sites(op.behind)), None) if op is not None else None
    if given is None or home is None:
        return None
    shape = tuple(int(size) for size in given[1].split(",") if size.strip())
    for event in reversed(list(case.events(OpCall, step))):
        site = next(iter(case.sites(event.moment.stack)), None)
        inside = site is not None and (site.file, site.function) == (home.file, home.function)
        if inside and any(tuple(step.tensors[out].shape) == shape for out in event.moment.outputs):
            return event.moment.stack
    return None


def _wanting(step: Step, op: OpCall | None) -> int:
    """How many of an op's inputs need a gradient."""
    return sum(step.tensors[tensor].requires_grad for tensor in op.inputs) if op is not None else 0


@check(RETURNS_NONE)
def returns_none(case: Case) -> Iterator[Finding]:
    """An edge that leads on from a custom Function's node, and no gradient that went over it."""
    for step in case.distinct:
        if step.detail is not Detail.FULL:
            continue
        values: Statistics | None = None
        for call in _custom_calls(case, step):
            values = values or Statistics(case, step)
            run = values.runs_of(call.graph).get(call.node.index)
            if run is not None and run.incoming:
                yield from _without_gradient(case, call, run)


def _without_gradient(case: Case, call: CustomCall, run: Run) -> Iterator[Finding]:
    step, graph = call.step, call.step.graphs[call.graph]
    for edge in graph.edges:
        if edge.source != call.node.index or edge.index in run.outgoing or edge.index >= 8:
            continue
        target = graph.nodes[edge.target]
        number = target.tensor if target.tensor is not None else next(iter(target.output_tensors), None)
        name = case.called(step, number) if number is not None else "an input"
        if number is not None and not step.tensors[number].dtype.startswith(("float", "bfloat", "complex")):
            continue
        yield RETURNS_NONE.finding(
            f"{name} needs a gradient, and the backward of {call.op.name} returns None for it",
            culprit=case.place(call.op.behind),
            step=step.number,
            confidence=SURE,
            related=case.places((call.op.stack, "applied here")),
            explanation=f"{name} goes into {call.op.name}, so its gradient has to come out of the backward of "
            f"{call.op.name}. With None autograd takes it to be zero: {name} gets nothing from this path.",
            fix=f"compute the gradient of {name} and return it in its place; None is for arguments that need none "
            "(ctx.needs_input_grad tells)",
            nodes=(
                grad_node_id(step.template, call.graph, call.node.index),
                *((number,) if number is not None else ()),
            ),
        )


@check(WRONG_DERIVATIVE)
def wrong_derivative(case: Case) -> Iterator[Finding]:
    """The derivative that a backward gave against the slope of its forward, as far as capture could compare them."""
    for step in case.distinct:
        if next(_custom_calls(case, step), None) is None:
            continue
        compared = [sample for sample in step.samples if sample.what == "derivative" and sample.values]
        if not compared:
            continue
        runs = {run.moment: run for run in Statistics(case, step).runs}
        for sample in compared:
            run = runs[sample.moment]
            op = step.op(run.node.op)
            numbers = sample.values or ()
            points = list(zip(numbers[::3], numbers[1::3], numbers[2::3]))
            worst = _contradiction(points)
            if worst is None or op is None:
                continue
            x, given, slope = worst
            yield WRONG_DERIVATIVE.finding(
                f"the backward of {op.name} gives the derivative {given:.3g} at x = {x:.3g}, where its forward rises "
                f"by {slope:.3g}",
                culprit=case.place(op.behind),
                step=step.number,
                confidence=SURE,
                related=case.places((op.stack, "applied here")),
                explanation=f"{op.name} works on each element by itself, so its own results show its slope. At "
                f"{len(points)} points the derivative that backward returned was compared with it; most do not agree.",
                fix="derive it again, all terms of the product and chain rules; "
                "torch.autograd.gradcheck(Function.apply, inputs in float64) tests it. If another gradient is meant "
                "(straight-through, surrogate), silence this line with # gradscope: ignore[GS813]",
                fixes=case.fixes(
                    Way(
                        "multiply by the gradient that comes in",
                        "the chain rule's other factor",
                        case.place(op.behind),
                        times_incoming(),
                    )
                ),
                nodes=(grad_node_id(step.template, run.graph, run.node.index),),
            )


def _contradiction(points: Sequence[tuple[float, float, float]]) -> tuple[float, float, float] | None:
    """The worst point, if most points contradict and no common reason explains why they are meant to.

    Meant: a forward that passes its input on or is flat (straight-through, gradient reversal, surrogate gradients).
    """
    slopes = [slope for _, _, slope in points]
    passes_on = all(abs(slope - 1) < 1e-2 for slope in slopes)
    if passes_on or len(points) < 8:
        return None
    tried = [point for point in points if abs(point[2]) > 1e-3]
    off = [point for point in tried if _error(point) > _OFF]
    if len(tried) < 6 or len(off) < _MOST_POINTS * len(tried):
        return None
    return max(off, key=_error)


def _error(point: tuple[float, float, float]) -> float:
    _, given, slope = point
    return abs(given - slope) / max(abs(given), abs(slope))


@check(HOOK_ZEROES)
def hook_zeroes(case: Case) -> Iterator[Finding]:
    """A gradient that left one node and came into the next as zeros: only a hook stands between them."""
    for step in case.distinct:
        if step.detail is not Detail.FULL:
            continue
        hooks: dict[int, list[OpCall]] = {}
        for event in case.calls("register_hook", step=step):
            hooks.setdefault(event.moment.inputs[0], []).append(event.moment)
        values = Statistics(case, step) if hooks else None
        for tensor, registered in hooks.items():
            assert values is not None
            yield from _zeroed_by(case, values, tensor, registered)


@check(HOOK_ZEROES)
def module_hook_zeroes(case: Case) -> Iterator[Finding]:
    """A module's backward hook: the node that torch puts around the module gets a gradient and gives zeros."""
    registered = [event.moment for event in case.calls("register_full_backward_hook")]
    for step in case.distinct if registered else ():
        if step.detail is not Detail.FULL:
            continue
        for run in Statistics(case, step).runs:
            around = run.node.name.startswith("BackwardHookFunction")
            if around and run.outgoing and size(run.incoming) > 0 and not size(run.outgoing) > 0:
                own = [hook for hook in registered if hook.module == run.node.module]
                path = case.names.box(run.node.module)
                yield _zeroing(
                    case,
                    own or registered,
                    on=f"module {path}" if path else "a module",
                    size=size(run.incoming),
                    explanation="What a full backward hook returns replaces the gradient of the module's input: "
                    "everything before the module gets zeros and does not learn.",
                    step=step,
                    nodes=(grad_node_id(step.template, run.graph, run.node.index),),
                )
                return


def _zeroed_by(case: Case, values: Statistics, tensor: int, hooks: Sequence[OpCall]) -> Iterator[Finding]:
    step = values.step
    for run in values.runs:
        if tensor not in (*run.node.output_tensors, run.node.tensor) or not run.incoming or size(run.incoming) > 0:
            continue
        edges = [edge for edge in step.graphs[run.graph].edges if edge.target == run.node.index]
        sent = [values.runs_of(run.graph).get(edge.source) for edge in edges]
        left = [one.outgoing.get(edge.index) for one, edge in zip(sent, edges) if one is not None]
        before = max((stats.norm for stats in left if stats is not None), default=0.0)
        if not before > 0:
            continue
        name = case.called(step, tensor)
        yield _zeroing(
            case,
            hooks,
            on=name,
            size=before,
            explanation=f"What a tensor hook returns replaces the gradient. Everything before {name} gets a gradient "
            "of zero and does not learn.",
            step=step,
            nodes=(tensor, grad_node_id(step.template, run.graph, run.node.index)),
        )


def _zeroing(
    case: Case, hooks: Sequence[OpCall], *, on: str, size: float, explanation: str, step: Step, nodes: Sequence[int]
) -> Finding:
    """One of `hooks` made zeros of a gradient of norm `size`; where they have one line, that line did."""
    lines = dict.fromkeys(case.place(hook.behind) or case.place(hook.stack) for hook in hooks)
    known = len(lines) == 1
    which = "a hook" if known else f"one of {len(lines)} hooks"
    returning = () if known else ((hook.behind, "one of these hooks") for hook in hooks)
    return HOOK_ZEROES.finding(
        f"{which} on {on} turned a gradient of norm {size:.3g} into zeros",
        culprit=next(iter(lines)) if known else None,
        no_place=None if known else "which of these hooks did it was not recorded",
        step=step.number,
        confidence=SURE,
        related=case.places(*returning, *((hook.stack, "the hook is registered here") for hook in hooks)),
        explanation=explanation,
        fix="remove the hook, or return None (or the gradient itself) from it",
        fixes=case.fixes(
            Way(
                "return the gradient as it came",
                "what lies before it learns again",
                next(iter(lines)) if known else None,
                returns_parameter(-1),
            )
        ),
        nodes=nodes,
    )


CHECKS = (wrong_count, returns_none, wrong_derivative, hook_zeroes, module_hook_zeroes)
