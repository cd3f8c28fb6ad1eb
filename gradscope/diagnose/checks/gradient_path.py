"""Gradients that never reach what should be trained: where the path from the loss to a parameter is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.fixes import Fix
from ...model.moments import Backward, OpCall
from ...model.records import Parameter
from ...model.trace import Step
from ...repair.changes.calls import with_keyword
from ...repair.ways import Way
from ..evidence.cut_fixes import rejoined
from ..evidence.dataflow import INTEGER, Dataflow
from ..evidence.gradient_cuts import Cut, cut_of, first_cuts, place_of, reason
from ..evidence.index import Case
from ..evidence.loss_terms import is_number, terms
from ..evidence.parameters import Untrained, untrained
from ..evidence.wording import listed
from ..rules import LIKELY, SURE, Rule, check

CUT_OFF = Rule(
    "GS202",
    "gradient-path-cut",
    Severity.WARNING,
    "The gradient path to parameters that should be trained is cut.",
    frozenset({"GS210", "GS213"}),
)
CONSTANT_TERM = Rule(
    "GS203", "constant-in-loss", Severity.WARNING, "A term of the loss is a constant to autograd: it trains nothing."
)
CHECKPOINT = Rule(
    "GS207",
    "reentrant-checkpoint",
    Severity.WARNING,
    "A reentrant checkpoint whose inputs need no gradient trains nothing.",
)


@check(CUT_OFF, CHECKPOINT)
def parameters_cut_off(case: Case) -> Iterator[Finding]:
    """What lies between the loss and the parameters that never get a gradient."""
    missing = untrained(case)
    groups: dict[tuple[str, int], tuple[Step, Dataflow, Cut, set[int]]] = {}
    for step in case.training():
        flow = Dataflow.of(case, step)
        backwards = [(index, one) for index, one in flow.backwards if one.call == "backward"]
        if not backwards:
            continue
        last = backwards[-1][0]
        roots = [root for _, one in backwards for root in one.roots]
        yield from _checkpoints(case, step, flow, roots, missing)
        for parameter, cut in _cuts_of(flow, missing.parameters, roots, last).items():
            place = place_of(flow, cut)
            key = (place.file, place.line) if place is not None else ("", cut.op)
            groups.setdefault(key, (step, flow, cut, set()))[3].add(parameter)
    for step, flow, cut, parameters in groups.values():
        yield _cut_off(case, step, flow, cut, parameters, missing)


def _cuts_of(flow: Dataflow, parameters: frozenset[int], roots: Sequence[int], before: int) -> dict[int, Cut]:
    """For each parameter that the step used, the cut that keeps the loss's gradient from it."""
    tensors = {tensor.parameter: tensor.number for tensor in flow.step.tensors if tensor.parameter in parameters}
    if not tensors:
        return {}
    behind, ops_behind = flow.behind(roots, before)
    relevant = {op: [t for t in dead if t in behind] for op, dead in flow.cuts.items() if op in ops_behind}
    relevant = {op: dead for op, dead in relevant.items() if dead}
    found: dict[int, Cut] = {}
    for parameter, tensor in tensors.items():
        ahead, ops = flow.ahead([tensor], with_grad=True)
        here = [cut_of(flow, op) for op in sorted(relevant) if op in ops]
        if here:  # an index that was chosen by values has no gradient, and is seldom the way that was meant
            found[parameter] = next((cut for cut in here if cut.kind != "integer"), here[0])
            continue
        left = _left_torch(flow, ahead, roots, before)
        if left is not None:
            found[parameter] = left
    return found


def _left_torch(flow: Dataflow, ahead: set[int], roots: Sequence[int], before: int) -> Cut | None:
    """A value made of a parameter was taken out of torch, and a new tensor goes into the loss afterwards."""
    behind, ops = flow.behind(roots, before)
    beyond, _ = flow.ahead(ahead)
    exits = [op for op in flow.exits if op < before and any(tensor in beyond for tensor in flow.ops[op].inputs)]
    if not exits or ahead & behind:
        return None
    entries = [op for op in sorted(ops) if op > exits[0] and _enters(flow.ops[op])]
    arrays = [op for op in exits if flow.ops[op].name not in op_kinds.GIVES_NUMBER]
    if entries:
        same = [cut.op for cut in _numbers_in(flow, roots, before) if cut.op in entries]
        return Cut((arrays or same or entries)[0], "number")
    return None if arrays else Cut(exits[0], "number")


def _enters(op: OpCall) -> bool:
    """Whether an op makes a tensor of plain numbers or of an array."""
    return op.name in op_kinds.ENTERS_TORCH and not op.inputs


def _cut_off(case: Case, step: Step, flow: Dataflow, cut: Cut, parameters: set[int], missing: Untrained) -> Finding:
    names = sorted(case.parameters[parameter].name for parameter in parameters)
    why, fix = reason(flow, cut)
    copy = cut.kind in ("mode", "detach") and _is_copy(case, parameters, missing)
    steps = sum(len(case.repeats(one)) for one in case.training())
    return CUT_OFF.finding(
        f"{listed(names)} never get a gradient: the path from the loss ends at {flow.ops[cut.op].name}",
        culprit=place_of(flow, cut),
        step=step.number,
        confidence=SURE if cut.kind != "number" else LIKELY,
        related=case.places((flow.ops[cut.op].stack, "the path ends here")),
        explanation=f"{why} The optimizer has {listed(names)} to train, yet in {steps} steps no backward reached "
        + ("it." if len(names) == 1 else "them."),
        fix=fix,
        fixes=rejoined(flow, cut),
        severity=Severity.NOTE if copy else None,
        nodes=[tensor_id(step.template, tensor) for tensor in flow.ops[cut.op].outputs[:1]],
    )


def _is_copy(case: Case, parameters: set[int], missing: Untrained) -> bool:
    """Whether a trained network has a parameter for each of these: they are its target, teacher or average."""
    trained = [case.parameters[number] for number in missing.trained if number in case.parameters]
    return all(any(_twins(case, case.parameters[number], other) for other in trained) for number in parameters)


def _twins(case: Case, one: Parameter, other: Parameter) -> bool:
    """Whether two parameters have one shape and paths that differ in one word: target.0.weight, online.0.weight."""
    paths = [f"{p.root}.{case.names.path(p.id)}".split(".") for p in (one, other)]
    if one.shape != other.shape or len(paths[0]) != len(paths[1]):
        return False
    different = [pair for pair in zip(*paths, strict=True) if pair[0] != pair[1]]
    return len(different) == 1 and not any(word.isdigit() for word in different[0])


def _checkpoints(case: Case, step: Step, flow: Dataflow, roots: Sequence[int], missing: Untrained) -> Iterator[Finding]:
    if not missing.parameters:
        return
    seen = {tensor.parameter for tensor in step.tensors if tensor.first_use is not None}
    read = {flow.step.tensors[tensor].parameter for op in flow.ops.values() for tensor in op.inputs}
    hidden = sorted(case.parameters[p].name for p in missing.parameters if p not in read or p not in seen)
    behind = flow.behind(roots)[0]
    for event in case.calls("CheckpointFunction", step=step):
        op = event.moment
        dead = [t for t in op.outputs if not flow.needs_grad(t) and not step.tensors[t].dtype.startswith(INTEGER)]
        if not hidden or not op.grad_enabled or not dead or not any(tensor in behind for tensor in dead):
            continue
        yield CHECKPOINT.finding(
            f"the checkpointed part gets no gradient, as none of its inputs requires one: {listed(hidden)} stay as "
            "they are",
            culprit=case.place(op.stack),
            step=step.number,
            confidence=SURE,
            explanation="With use_reentrant=True the checkpoint runs its part without gradients and becomes a node of "
            "the graph only if an input tensor requires a gradient. Here none does, so backward ends before it.",
            fix="pass use_reentrant=False",
            fixes=case.fixes(
                Way(
                    "use the checkpoint that is not reentrant",
                    "the parameters inside are trained",
                    case.place(op.stack),
                    with_keyword(("checkpoint", "checkpoint_sequential"), "use_reentrant", "False"),
                )
            ),
            nodes=[tensor_id(step.template, tensor) for tensor in dead[:1]],
        )


# -- constants in the loss -----------------------------------------------------------------------------


@check(CONSTANT_TERM)
def constant_terms(case: Case) -> Iterator[Finding]:
    """Terms that were computed from parameters but are constants by the time they are added to the loss."""
    for step in case.training():
        flow = Dataflow.of(case, step)
        for position, backward in flow.backwards:
            if backward.call == "backward":
                yield from _constant_terms(flow, backward, position)


def _constant_terms(flow: Dataflow, backward: Backward, position: int) -> Iterator[Finding]:
    case, step = flow.case, flow.step
    for term, op in ((one.tensor, one.op) for one in terms(flow, backward, position) if not one.alive):
        found = _constant(flow, term, op)
        if found is None:
            continue
        culprit, why, fix, ways = found
        name = case.called(step, term)
        yield CONSTANT_TERM.finding(
            f"{name} is a constant to autograd: adding it to the loss trains nothing",
            culprit=culprit,
            step=step.number,
            confidence=SURE,
            related=case.places((flow.ops[op].stack, "added to the loss here"), (backward.stack, "this backward")),
            explanation=f"{why} {name} changes the value of the loss, but its derivative is zero for every parameter.",
            fix=fix,
            fixes=ways,
            nodes=[tensor_id(step.template, term)],
        )


def _constant(flow: Dataflow, term: int, before: int) -> tuple[Place | None, str, str, tuple[Fix, ...]] | None:
    """(line, explanation, fix, patches) of what made a term a constant that was computed from what is trained."""
    behind, _ = flow.behind([term], before)
    read = [leaf for tensor in behind if (leaf := flow.step.tensors[tensor].gradient_of) is not None]
    if read:
        filled = [one for index, one in flow.backwards if index < before and one.call == "backward"]
        if filled and not filled[-1].create_graph:
            name = flow.case.called(flow.step, read[0])
            why = f"{name}.grad was filled by a backward without create_graph=True: gradients have no graph then."
            fix = "use torch.autograd.grad(..., create_graph=True) and differentiate what it returns"
            return flow.case.place(filled[-1].stack), why, fix, ()
    cuts = [cut for cut in first_cuts(flow, [term], before) if _unmeant(flow, cut, term) or _mid_way(flow, cut, before)]
    cuts = cuts or _numbers_in(flow, [term], before)
    return (place_of(flow, cuts[0]), *reason(flow, cuts[0]), rejoined(flow, cuts[0])) if cuts else None


def _unmeant(flow: Dataflow, cut: Cut, term: int) -> bool:
    """Whether nobody would cut there on purpose: not the detach() of a finished term, a block without gradients, nor
    what a library does.
    """
    if flow.case.in_library(flow.ops[cut.op].stack):
        return False
    if cut.kind == "detach":
        return cut.op != flow.step.tensors[term].made_by and not all(is_number(flow.step, t) for t in flow.cuts[cut.op])
    return cut.kind in ("copy", "grad", "integer")


def _mid_way(flow: Dataflow, cut: Cut, before: int) -> bool:
    """Whether a mode cut off what the same loss has with its graph: another run of a model, or what it was given."""
    calls = flow.calls_of(cut.op) if cut.kind == "mode" else ()
    if not calls:
        return False
    backward = next((one for moment, one in flow.backwards if moment > before), None)
    used = flow.behind(backward.roots)[1] if backward is not None else set()
    given = {flow.step.tensors[one].made_by for one in flow.ops[cut.op].inputs if flow.needs_grad(one, cut.op)}
    if any(op is not None and flow.calls_of(op) and _read_with_graph(flow, op, used) for op in given):
        return True
    runs = [one for op in used if flow.ops[op].grad_nodes and (one := flow.calls_of(op))]
    return any(one[-1].module == calls[-1].module and one[-1].stack != calls[-1].stack for one in runs)


def _read_with_graph(flow: Dataflow, op: int, used: set[int]) -> bool:
    """Whether one of these ops reads what a model's op gave, and keeps its graph."""
    readers = {reader for one in flow.ops[op].outputs for reader in flow.readers.get(one, ())}
    return any(flow.ops[reader].grad_nodes for reader in readers & used)


def _numbers_in(flow: Dataflow, tensors: Sequence[int], before: int) -> list[Cut]:
    """Ops behind tensors that make one of numbers which item() took from values with a gradient: they are equal."""
    samples = flow.case.samples(flow.step)
    values = {
        number
        for op in flow.exits
        if op < before and any(flow.needs_grad(tensor) for tensor in flow.ops[op].inputs)
        for tensor in flow.ops[op].inputs
        if (made := flow.step.tensors[tensor].made_by) is not None
        for sample in samples.get((made, "value"), ())
        if sample.subject == tensor and not sample.of_parameter
        for number in sample.values or ()
    }
    found = []
    for op in sorted(flow.behind(tensors, before)[1]) if values else ():
        if not _enters(flow.ops[op]):
            continue
        made_of = [n for sample in samples.get((op, "value"), ()) for n in sample.values or ()]
        if made_of and all(any(math.isclose(n, value, rel_tol=1e-6) for value in values) for n in made_of):
            found.append(Cut(op, "number"))
    return found


CHECKS = (parameters_cut_off, constant_terms)
