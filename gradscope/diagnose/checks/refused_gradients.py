"""Derivatives that torch does not have, gradients that do not fit, and uses of a tensor that a graph forbids."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...model.findings import Finding, Severity
from ...model.moments import Backward, Failure, OpCall
from ...model.trace import Step
from ..evidence.index import Case, Event
from ..evidence.refusals import Cause, Meaning, told
from ..evidence.source_lines import decorator_of, fills, given_first
from ..evidence.torch_errors import ErrorKind
from ..evidence.wording import call_at
from ..rules import Rule, check, finding_of

NO_DERIVATIVE = Rule(
    "GS231", "no-derivative", Severity.ERROR, "A gradient was asked of an op that torch has no derivative for."
)
GRADIENT_REFUSED = Rule(
    "GS232", "gradient-does-not-fit", Severity.ERROR, "A gradient that was given to torch does not fit its tensor."
)
GRAPH_IN_THE_WAY = Rule(
    "GS312", "graph-in-the-way", Severity.ERROR, "A tensor with a graph was used as only plain data can be."
)


def _op_without_derivative(case: Case, event: Event[Failure]) -> Cause | None:
    """The op that the message names: the one that made such a node, else the last with most of the words."""
    name = case.error.parts.get("op") or ""
    made = _node_of(case, event.step, name.replace("_", "").lower())
    words = [word for word in re.split(r"_+", name) if word]
    best: tuple[int, OpCall] | None = (0, made) if made is not None else None
    for one in case.events(OpCall, event.step) if made is None else ():
        own = [word for word in one.moment.name.split("_") if word]
        fits = all(any(word.startswith(part) for word in words) for part in own)
        if own and fits and (best is None or len(own) >= best[0]):
            best = len(own), one.moment
    return Cause(case.place(best[1].stack), "its derivative is needed here", best[1].name) if best is not None else None


def _node_of(case: Case, step: Step, name: str) -> OpCall | None:
    """The op that made the last grad node of a name in the graph of the backward that failed."""
    failed = [one.moment for one in case.events(Backward, step) if one.moment.error is not None]
    graph = step.behind(failed[-1]) if failed else None
    nodes = [node for node in graph.nodes if _called(node.name) == name] if graph is not None and name else []
    return step.op(nodes[-1].op) if nodes else None


def _put_in(case: Case, _event: Event[Failure]) -> Cause | None:
    """Where a tensor was put into the list that numpy is asked of."""
    last = case.failure
    name = given_first(call_at(case, last.moment.stack, "")) if last is not None else ""
    filled = fills(case, case.place(last.moment.stack), name) if last is not None and name else []
    return Cause(filled[0], "numpy is asked for here", name) if filled else None


_NUMPY_OF_MANY = Meaning(
    "numpy is asked of {thing}, which holds tensors that have a graph",
    "An array knows nothing of autograd: torch refuses to lose the gradient without being told to. Until it leaves "
    "{thing}, each of them also keeps its whole graph in memory.",
    "put the values in without their graph: .detach(), or .item() for a number",
    _put_in,
)


def _called(node: str) -> str:
    return node.partition("Backward")[0].lower()


def _function_of_user(case: Case, event: Event[Failure]) -> Cause | None:
    """The mark of the custom Function that was applied last in the graph of the backward that failed, or that line."""
    failed = [one.moment for one in case.events(Backward, event.step) if one.moment.error is not None]
    graph = event.step.behind(failed[-1]) if failed else None
    made = [(node.name, event.step.op(node.op)) for node in graph.nodes] if graph is not None else []
    found = next((op for name, op in made if op is not None and name == f"{op.name}Backward"), None)
    if found is None:
        return None
    mark = decorator_of(case, found.name, "backward", "once_differentiable")
    return Cause(mark or case.place(found.stack), "it is differentiated twice here", found.name)


_DERIVATIVES = {
    ErrorKind.NO_DERIVATIVE: Meaning(
        "{thing} has no derivative of the order that is asked for here ({op})",
        "torch knows no formula for the derivative of {op}. A fused op often has a first derivative and no second: "
        "what create_graph=True built cannot be differentiated again.",
        "use ops that have the derivative (a fused one from its plain parts), or detach() what needs no gradient here",
        _op_without_derivative,
    ),
    ErrorKind.NO_FORWARD_DERIVATIVE: Meaning(
        "{thing} has no derivative in forward mode ({op})",
        "Forward mode (jvp, jacfwd, hessian) needs a formula of its own for each op, and torch has none for {op}.",
        "use reverse mode: torch.func.jacrev or torch.func.vjp, and jacrev(jacrev(f)) for a hessian",
        _op_without_derivative,
    ),
    ErrorKind.NOT_TWICE: Meaning(
        "a custom Function whose backward is marked with @once_differentiable is differentiated twice",
        "The mark says that the backward's own computation is not recorded, so there is nothing to differentiate.",
        "take the mark away and write the backward in torch ops; or do without create_graph=True",
        _function_of_user,
    ),
    ErrorKind.ANOMALY_NAN: Meaning(
        "{node} gives NaN: detect_anomaly stopped the backward at its result {place}",
        "The derivative of this op has no finite value at what it was given (sqrt and norm at 0, log at 0, a division "
        "by 0), or Inf met 0.",
        "keep the op away from that value: torch.sqrt(x + eps), x.clamp_min(eps).log(); anomaly mode's other "
        "traceback names the op's line in forward",
    ),
}

_GRADIENTS = {
    ErrorKind.GRADIENT_HAS_OTHER_SHAPE: Meaning(
        "the gradient that is given has shape {given}, and what is differentiated has shape {wanted}",
        "backward(gradient) and grad_outputs weigh each value of the result with one number, so both have one shape.",
        "give none for a single number (loss.backward()); else torch.ones_like(result), or the weights in the shape "
        "{wanted}",
    ),
    ErrorKind.GRADIENT_HAS_OTHER_DTYPE: Meaning(
        "the gradient that is given is {given}, and what is differentiated is {wanted}",
        "The gradient of a complex tensor is complex too.",
        "make it so: torch.ones_like(result)",
    ),
    ErrorKind.GRADIENT_IS_NO_TENSOR: Meaning(
        "the gradient that is given is a {given}, no tensor",
        "backward(gradient) takes a tensor of the shape of what is differentiated.",
        "leave it out for a single number: loss.backward(); else give torch.ones_like(result)",
    ),
    ErrorKind.GRADIENT_ASSIGNED: Meaning(
        "a gradient of another {what} was assigned: {given}, where the tensor has {wanted}",
        "A tensor's .grad has its shape, its dtype and its device, for the optimizer subtracts one from the other.",
        "make it fit first: p.grad = g.reshape(p.shape).to(p)",
    ),
    ErrorKind.GRADIENT_ASSIGNED_NO_TENSOR: Meaning(
        "a {given} was assigned to .grad, which holds a tensor or None",
        "An optimizer reads .grad as a tensor of the parameter's shape.",
        "assign None to clear it, or torch.zeros_like(p)",
    ),
    ErrorKind.INPUTS_EMPTY: Meaning(
        "the list of tensors to differentiate for is empty",
        "What selects them found none: a filter by requires_grad where all is frozen, or a generator that was used up.",
        "look at what the list is made of; leave out `inputs` for all leaves",
    ),
    ErrorKind.LOSS_IS_COMPLEX: Meaning(
        "the loss is a complex number: backward() needs a real one",
        "A gradient tells how a real number grows. Of a complex one there is none without a choice.",
        "make it real first: loss.abs(), loss.real, or (z * z.conj()).real",
    ),
    ErrorKind.MANY_AS_ONE_NUMBER: Meaning(
        "{name} holds several values and is asked for its one number",
        "item(), float() and int() take a tensor of exactly one element.",
        "reduce it first: {code}.mean().item(), or take one element, or .tolist() for all",
    ),
    ErrorKind.MANY_AS_A_CONDITION: Meaning(
        "a tensor of several values stands where one truth is needed",
        "`if`, `and`, `not` and `in` ask a tensor for a single bool.",
        "say which is meant: (condition).any() or .all(); choose element by element with torch.where; "
        "ask `x is None` for None",
    ),
}

_DATA_ONLY = {
    ErrorKind.NUMPY_OF_GRAPH: Meaning(
        "numpy is asked of {name}, which has a graph",
        "An array knows nothing of autograd: torch refuses to lose the gradient without being told to.",
        "where no gradient should come back: {code}.detach().cpu().numpy(); what is part of the loss stays in torch",
    ),
    ErrorKind.OUT_OF_GRAPH: Meaning(
        "{op}(..., out=...) was given something that requires a gradient",
        "out= writes into memory that is there already, and autograd does not record that.",
        "use the result instead of out=: result = torch.{op}(...); or wrap it in torch.no_grad() if no gradient is "
        "meant",
    ),
    ErrorKind.RESIZED: Meaning(
        "{name} requires a gradient and is resized in place",
        "resize_ changes the memory under a tensor that its graph relies on.",
        "make a tensor of the new shape: {code}.reshape(...), or torch.nn.functional.pad to grow it",
    ),
    ErrorKind.VIEW_DETACHED: Meaning(
        "{name} is a view, and a view cannot be detached in place",
        "detach_() would have to take the tensor that it is a view of out of its graph too.",
        "use the result of detach(): x = x.detach()",
    ),
    ErrorKind.DATA_WITHOUT_GRADIENT: Meaning(
        "values without a derivative (whole numbers or bools) were set as the .data of a tensor that wants a gradient",
        "A tensor that requires a gradient holds real or complex numbers, through .data too.",
        "convert them first: p.data = values.to(p.dtype); or freeze it: p.requires_grad_(False)",
    ),
    ErrorKind.DATA_IS_NO_TENSOR: Meaning(
        "a {given} was set as the .data of a tensor",
        ".data is replaced by a tensor.",
        "write the value into it: with torch.no_grad(): p.fill_(value), or p.copy_(values)",
    ),
}


@check(NO_DERIVATIVE, GRADIENT_REFUSED, GRAPH_IN_THE_WAY)
def refused_gradients(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if torch refused a derivative, a gradient, or to forget a graph."""
    event = case.refusal
    many = event is not None and case.error.kind is ErrorKind.NUMPY_OF_GRAPH and _put_in(case, event) is not None
    for rule, meanings in (
        (NO_DERIVATIVE, _DERIVATIVES),
        (GRADIENT_REFUSED, _GRADIENTS),
        (GRAPH_IN_THE_WAY, {ErrorKind.NUMPY_OF_GRAPH: _NUMPY_OF_MANY} if many else _DATA_ONLY),
    ):
        yield from finding_of(case, rule, told(case, meanings))


CHECKS = (refused_gradients,)
