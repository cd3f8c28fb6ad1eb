"""Hooks that give back something else than the changed gradient, and parameters that are written in a backward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, Mutation, NodeRun, OpCall
from ...model.records import Detail, Phase
from ...model.trace import Step
from ...repair.changes.statements import replaced_by
from ...repair.changes.values import rebound
from ...repair.ways import Way
from ...text import plural
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import GradLifetimes
from ..evidence.hook_runs import HookRun, hook_runs, running_hook
from ..evidence.index import Case
from ..evidence.statements import forgets, lets_go
from ..evidence.statistics import Statistics, same_values
from ..evidence.wording import optimizer_name, parameter_names, variable
from ..evidence.writes import op_before, op_of
from ..rules import LIKELY, SURE, Rule, check

RETURNS_OTHER = Rule(
    "GS818",
    "hook-returns-other",
    Severity.WARNING,
    "A hook replaces the gradient by something that was not made of it.",
)
CHANGE_LOST = Rule(
    "GS819",
    "hook-change-lost",
    Severity.WARNING,
    "A hook computes another gradient and does not return it.",
)
WRITTEN_IN_BACKWARD = Rule(
    "GS820",
    "written-in-backward",
    Severity.WARNING,
    "A parameter, or the gradient that came in, is written while a backward runs.",
)


# -- GS818, GS819 ----------------------------------------------------------------------------------


@check(RETURNS_OTHER, CHANGE_LOST)
def hooks_without_gradient(case: Case) -> Iterator[Finding]:
    """What hooks on tensors computed, against what they were given and what went on."""
    told: set[int | None] = set()
    for step in case.training():
        for run in hook_runs(case, step):
            for finding, stack in (_returns_other(case, run), _change_lost(case, run)):
                if finding is not None and stack not in told:
                    told.add(stack)
                    yield finding


def _returns_other(case: Case, run: HookRun) -> tuple[Finding | None, int | None]:
    """The gradient that went on is the parameter, or a result of the hook's ops, and these never read what came."""
    step, after = run.step, run.after
    if run.given or after is None:
        return None, None
    flow, values = Dataflow.of(case, step), Statistics(case, step)
    own, own_value = step.parameters_of([run.tensor]), values.at_start.get(run.tensor)
    if not run.ops and own and after.norm > 0 and own_value is not None and same_values(own_value, after):
        return _replaced(case, run, run.hook.behind, own), run.hook.behind
    for op in reversed(run.ops):
        result = next(iter(flow.ops[op].outputs), None)
        stats = values.results(op).get(result) if result is not None else None
        if result is None or stats is None or not same_values(stats, after):
            continue
        made_of = step.parameters_of(sorted(flow.behind([result], op + 1)[0]))
        if made_of:
            return _replaced(case, run, flow.ops[op].stack, made_of), flow.ops[op].stack
    return None, None


def _replaced(case: Case, run: HookRun, stack: int | None, made_of: list[int]) -> Finding:
    name = case.called(run.step, run.tensor)
    what = "what it makes of the values of" if run.ops else "the values of"
    return RETURNS_OTHER.finding(
        f"the hook on {name} returns {what} {parameter_names(case, made_of)}: the gradient that it is given is lost",
        culprit=case.place(stack),
        step=run.step.number,
        confidence=SURE,
        related=case.places((run.hook.stack, "the hook is registered here")),
        explanation="What a tensor hook returns takes the gradient's place. This one never reads its argument, so "
        f"{name} moves by its own values, whatever the loss is.",
        fix="compute with the hook's argument: lambda grad: grad.clamp(-1, 1)",
        nodes=(run.tensor,),
    )


def _change_lost(case: Case, run: HookRun) -> tuple[Finding | None, int | None]:
    """Another gradient was computed from the one that came, nothing can know of it, and the first went on."""
    step, flow = run.step, Dataflow.of(case, run.step)
    if run.before is not None and run.after is not None and not same_values(run.before, run.after):
        return None, None
    shape = step.tensors[run.tensor].shape
    for op in run.ops:
        call = flow.ops[op]
        result = next(iter(call.outputs), None)
        if result is None or result in call.inputs or flow.readers.get(result) or step.tensors[result].shape != shape:
            continue
        if run.given & flow.behind([result], op + 1)[0] and forgets(case, call.stack):
            return _lost(case, run, call), call.stack
    return None, None


def _lost(case: Case, run: HookRun, op: OpCall) -> Finding:
    name, place = case.called(run.step, run.tensor), case.place(op.stack)
    returned = f"return {place.expression}" if place is not None and place.expression else "return the new gradient"
    how = "has no name" if lets_go(case, op.stack) else "is given to a local name, which nothing reads"
    return CHANGE_LOST.finding(
        f"the hook on {name} computes a changed gradient and does not return it: the gradient stays as it was",
        culprit=place,
        step=run.step.number,
        confidence=SURE,
        related=case.places((run.hook.stack, "the hook is registered here")),
        explanation=f"A tensor hook changes a gradient by what it returns. The result of {op.name} {how}, and a hook "
        "that returns None leaves the gradient alone.",
        fix=returned,
        fixes=case.fixes(Way("return it", "it takes the gradient's place", place, replaced_by(returned))),
        nodes=(run.tensor,),
    )


@check(CHANGE_LOST)
def gradient_set_too_early(case: Case) -> Iterator[Finding]:
    """`.grad` is assigned in a hook that runs before the backward fills it: the backward adds to what is there."""
    told: set[int | None] = set()
    for step in case.training():
        if step.detail is not Detail.FULL:
            continue
        for event in case.events(GradChange, step):
            early = event.moment.change == "assigned" and running_hook(case, event.moment.stack) is not None
            if early and event.moment.stack not in told and _filled_after(step, event.position, event.moment):
                told.add(event.moment.stack)
                yield _set_too_early(case, step, event.position, event.moment)


def _filled_after(step: Step, position: int, change: GradChange) -> bool:
    """Whether the backward that is running fills one of these leaves after the moment."""
    for moment in step.moments[position + 1 :]:
        if isinstance(moment, Backward):
            return False
        if isinstance(moment, NodeRun) and step.graphs[moment.graph].nodes[moment.node].tensor in change.tensors:
            return True
    return False


def _set_too_early(case: Case, step: Step, position: int, change: GradChange) -> Finding:
    name, made = case.called(step, change.tensors[0]), step.op(op_before(step, position))
    value = case.place(made.stack) if made is not None else None
    returned = f"return {value.expression}" if value is not None and value.expression else "return the new gradient"
    return CHANGE_LOST.finding(
        f"{name}.grad is set in a hook that runs before the backward has filled it: the gradient is added to it",
        culprit=case.place(change.stack),
        step=step.number,
        confidence=SURE,
        explanation="A tensor hook is called with the gradient on its way to the leaf. After it the backward adds "
        f"that gradient to what is in {name}.grad, so the update follows the sum of both.",
        fix=f"{returned} from the hook, which replaces the gradient; or use register_post_accumulate_grad_hook, which "
        "runs when .grad is full",
        fixes=case.fixes(Way("return it", "it takes the gradient's place", value, replaced_by(returned))),
        nodes=change.tensors[:1],
    )


# -- GS820 -----------------------------------------------------------------------------------------


@check(WRITTEN_IN_BACKWARD)
def written_in_backward(case: Case) -> Iterator[Finding]:
    """Writes that hooks and backwards of custom Functions make to parameters which an optimizer updates."""
    found: dict[int | None, list[tuple[Step, OpCall, int]]] = defaultdict(list)
    lives = GradLifetimes.of(case)
    stepped = {one: use.optimizer for use in lives.updates if use.optimizer is not None for one in use.slots}
    for step in case.training():
        for event in case.events(Mutation, step):
            op = step.op(op_of(step, event.position))
            if op is None or op.phase is not Phase.BACKWARD:
                continue
            for one in step.lasting.get(step.tensors[event.moment.tensor].storage, ()):
                if one.parameter in lives.trained and one.parameter in stepped:
                    found[op.stack].append((step, op, one.parameter))
    for stack, group in found.items():
        rounds = sum(len(case.repeats(step)) for step in dict.fromkeys(step for step, *_ in group))
        if rounds > 1:
            yield _written(case, stack, group, optimizer_name(case, stepped[group[0][2]]), rounds)


def _written(
    case: Case, stack: int | None, group: list[tuple[Step, OpCall, int]], optimizer: str, rounds: int
) -> Finding:
    step, op, _ = group[0]
    names = parameter_names(case, (one for *_, one in group))
    backward = next((event.moment for event in case.events(Backward, step)), None)
    return WRITTEN_IN_BACKWARD.finding(
        f"{op.name} writes to {names} while a backward runs, in {plural(rounds, 'step')}",
        culprit=case.place(stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((backward.stack if backward is not None else None, "the backward that it runs in")),
        explanation="The gradients are those of the values that the forward used. What is computed after this write "
        f"meets other values, and {optimizer} then moves them by gradients that are not theirs.",
        fix=f"write after {optimizer}.step(), under torch.no_grad(); a hook or a backward should return gradients only",
    )


@check(WRITTEN_IN_BACKWARD)
def incoming_written(case: Case) -> Iterator[Finding]:
    """Backwards of custom Functions that write into the gradient that they are given."""
    told: set[int | None] = set()
    for step in case.training():
        backwards = _custom_backwards(case, step)
        for event in case.events(Mutation, step) if backwards else ():
            op, tensor = step.op(op_of(step, event.position)), step.tensors[event.moment.tensor]
            if op is None or op.phase is not Phase.BACKWARD or op.stack in told or tensor.role != "input":
                continue
            inside = any((site.file, site.function) in backwards for site in case.sites(op.stack))
            if inside and tensor.made_by is None and tensor.parameter is None and not tensor.carried:
                told.add(op.stack)
                yield _incoming_written(case, step, op, case.called(step, tensor.number))


def _custom_backwards(case: Case, step: Step) -> frozenset[tuple[str, str]]:
    """The functions (file, name) that custom Functions of a step have for a backward."""
    ops = (event.moment for event in case.events(OpCall, step) if event.moment.grad_nodes)
    return frozenset((site.file, site.function) for op in ops for site in case.sites(op.behind)[:1])


def _incoming_written(case: Case, step: Step, op: OpCall, name: str) -> Finding:
    return WRITTEN_IN_BACKWARD.finding(
        f"{op.name} writes into {name}, the gradient that this backward was given",
        culprit=case.place(op.stack),
        step=step.number,
        confidence=LIKELY,
        explanation="The engine may hand the same tensor to others: where values were added, both sides get one "
        "gradient. What is written here changes theirs as well, and nothing counts it.",
        fix=f"make a new tensor: {variable(name, 'grad')} = {variable(name, 'grad')} * mask, or write into a clone()",
        fixes=case.fixes(
            Way(
                "write into a copy",
                "what others were given stays as it is",
                case.place(op.stack),
                rebound(name, ".clone()", before=True),
            )
        )
        if variable(name, "")
        else (),
    )


CHECKS = (hooks_without_gradient, gradient_set_too_early, written_in_backward, incoming_written)
