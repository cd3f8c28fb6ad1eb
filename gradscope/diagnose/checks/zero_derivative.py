"""Ops whose derivative is zero everywhere, where every gradient to a parameter has to pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.moments import Backward
from ...model.order import reached
from ...model.records import GradGraph
from ...model.trace import Step
from ...repair.changes.values import straight_through
from ...repair.ways import Way
from ..evidence.arguments import arguments
from ..evidence.dataflow import ACCUMULATE
from ..evidence.index import Case
from ..evidence.wording import listed
from ..rules import SURE, Rule, check

ZERO_DERIVATIVE = Rule(
    "GS204", "zero-derivative", Severity.WARNING, "Every gradient passes an op whose derivative is zero everywhere."
)
ALL_ZERO = Rule(
    "GS215",
    "gradients-all-zero",
    Severity.WARNING,
    "Backwards reach the parameters, and every gradient is exactly 0 in every step.",
    frozenset({"GS204", "GS814", "GS823", "GS824", "GS801", "GS802"}),
)
_ENOUGH = 3  # steps: the first alone may well begin with zeros


@check(ZERO_DERIVATIVE)
def zero_derivatives(case: Case) -> Iterator[Finding]:
    """Parameters that every backward reaches only through a rounding op."""
    starved: dict[int, tuple[Step, int, int]] = {}
    fed: set[int] = set()
    for step in case.training():
        for backward in (event.moment for event in case.events(Backward, step)):
            if backward.error is None and 0 <= backward.graph < len(step.graphs):
                _starved(step, backward.graph, starved, fed)
    # A gradient that was seen is proof: light steps have no graph, and a user's own backward may give what it likes.
    fed.update(parameter for row in case.rows for parameter, _, grad in row.norms if grad)
    by_op: dict[tuple[int, int], set[int]] = defaultdict(set)
    home: dict[tuple[int, int], Step] = {}
    for parameter, (step, _, op) in starved.items():
        if parameter not in fed:
            by_op[step.number, op].add(parameter)
            home[step.number, op] = step
    for key, parameters in by_op.items():
        yield _zero_derivative(case, home[key], key[1], parameters)


def _starved(step: Step, graph: int, starved: dict[int, tuple[Step, int, int]], fed: set[int]) -> None:
    """Tell the leaves of a backward that only zero gradients can reach from those that others can."""
    walked = step.graphs[graph]
    zero = {node.index for node in walked.nodes if _is_zero(step, node.name, node.op)}
    if not zero:
        fed.update(_leaves(step, walked, range(len(walked.nodes))))
        return
    reached = _reached(walked, zero)
    fed.update(_leaves(step, walked, reached))
    behind = {index: _reached(walked, set(), [index]) for index in zero if walked.nodes[index].op is not None}
    for leaf in _leaves(step, walked, set(range(len(walked.nodes))) - reached):
        for index, found in behind.items():
            op = walked.nodes[index].op
            if op is not None and leaf in set(_leaves(step, walked, found)):
                starved.setdefault(leaf, (step, index, op))


def _is_zero(step: Step, name: str, op: int | None) -> bool:
    if op_kinds.has_zero_derivative(name):
        return True
    call = step.op(op)
    rounds = call is not None and arguments(call).named.get("rounding_mode") is not None
    return name.startswith("DivBackward") and rounds


def _leaves(step: Step, graph: GradGraph, nodes: Sequence[int] | set[int] | range) -> Iterator[int]:
    for index in nodes:
        node = graph.nodes[index]
        number = step.tensors[node.tensor].parameter if node.tensor is not None and node.name == ACCUMULATE else None
        if number is not None:
            yield number


def _reached(graph: GradGraph, stops: set[int], roots: Sequence[int] | None = None) -> set[int]:
    """Nodes that a backward reaches without going through `stops`."""
    targets: dict[int, list[int]] = defaultdict(list)
    for edge in graph.edges:
        targets[edge.source].append(edge.target)
    starts = [root for root in (graph.roots if roots is None else roots) if root not in stops]
    return set(reached(starts, lambda node: (target for target in targets[node] if target not in stops)))


def _zero_derivative(case: Case, step: Step, moment: int, parameters: set[int]) -> Finding:
    op = step.op(moment)
    names = listed(sorted(case.parameters[p].name for p in parameters if p in case.parameters))
    name = op.name if op is not None else "the op"
    zeros = _zero_norms(case, parameters)
    proof = f" In {zeros} steps their gradients were exactly 0." if zeros else ""
    drawn = name in op_kinds.DRAWS
    return ZERO_DERIVATIVE.finding(
        f"{name} has derivative zero everywhere: every gradient of {names} is 0",
        culprit=case.place(step.stack(moment)),
        step=step.number,
        confidence=SURE,
        explanation=(
            f"{name} draws a random number: autograd takes its derivative to be 0, "
            if drawn
            else f"The result of {name} does not change when its input changes a little, so its derivative is 0, "
        )
        + f"and all gradients to {names} pass through it.{proof}",
        fix="draw with a reparametrisation (mu + sigma * torch.randn_like(sigma)), or pass the gradient straight "
        "through: drawn + p - p.detach()"
        if drawn
        else f"use a straight-through estimator: y = x + (torch.{name}(x) - x).detach()",
        fixes=case.fixes(
            Way(
                "let the gradient pass straight through",
                "the values stay; the gradient is that of the input",
                case.place(step.stack(moment)),
                straight_through((name,)),
            )
        )
        if not drawn
        else (),
        nodes=[tensor_id(step.template, tensor) for tensor in (op.outputs[:1] if op is not None else ())],
    )


def _zero_norms(case: Case, parameters: set[int]) -> int:
    return sum(1 for row in case.rows if any(grad == 0 for parameter, _, grad in row.norms if parameter in parameters))


# -- every gradient is zero ----------------------------------------------------------------------------


@check(ALL_ZERO)
def all_gradients_zero(case: Case) -> Iterator[Finding]:
    """Trained parameters, all of them, whose gradients are exactly 0 in each step that gave them any."""
    owned = {one for members in case.members.values() for one in members}
    rows = [row for row in case.rows if row.number >= 0]
    given = [[grad for one, _, grad in row.norms if one in owned and grad is not None] for row in rows]
    steps = [(row, grads) for row, grads in zip(rows, given) if grads]
    if len(steps) < _ENOUGH or any(grad != 0 for _, grads in steps for grad in grads):
        return
    step = case.like(steps[0][0].number)
    last = next((event.moment for event in reversed(list(case.events(Backward, step)))), None) if step else None
    if step is None or last is None or not last.roots:
        return
    made = step.maker(last.roots[0])
    names = listed(sorted({case.parameters[one].name for one in owned if one in case.parameters}))
    alone = made is not None and made.name == "cross_entropy" and step.tensors[made.inputs[0]].shape[1:] == (1,)
    yield ALL_ZERO.finding(
        f"every gradient of {names} is exactly 0 in all of {len(steps)} steps",
        culprit=case.place(made.stack if made is not None else last.stack),
        step=step.number,
        confidence=SURE,
        related=case.places((last.stack, "this backward gives them")),
        explanation="The softmax of a single class is always 1, whatever the score: the loss is constant, and nothing "
        "changes it."
        if alone
        else "The loss does not change when the parameters change a little: it is constant where they are, or a factor "
        "of 0 stands before all of it.",
        fix="give cross_entropy a score for each class, or use binary_cross_entropy_with_logits (one score) or mse_loss"
        if alone
        else "look at the values that the loss is made of: a clamp at its end, a mask of zeros, a weight of 0",
        nodes=[tensor_id(step.template, last.roots[0])],
    )


CHECKS = (zero_derivatives, all_gradients_zero)
