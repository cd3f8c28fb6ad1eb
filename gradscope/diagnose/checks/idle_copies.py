"""Copies that keep nothing: a tensor written onto itself, and averages of a model that leave its statistics behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...model import op_kinds
from ...model.findings import Finding, Severity
from ...model.moments import LeafChange, Mutation, OpCall, OptimizerStep
from ...model.order import reached
from ...model.trace import Step
from ...repair.changes.calls import state_copied
from ...repair.changes.loops import buffers_copied
from ...repair.ways import Way
from ...text import plural
from ..evidence.dataflow import Dataflow
from ..evidence.grad_lifetimes import GradLifetimes
from ..evidence.index import Case, Event
from ..evidence.model_runs import acts_as_training, followers
from ..evidence.parameters import Ownership
from ..evidence.statements import loop_over_itself
from ..evidence.wording import call_at, optimizer_name, parameter_names
from ..evidence.writes import ASSIGNED, op_before, op_of
from ..rules import LIKELY, SURE, Rule, check

ONTO_ITSELF = Rule(
    "GS521",
    "copied-onto-itself",
    Severity.WARNING,
    "A parameter or buffer is written with its own values: no copy is kept.",
)
STATISTICS_LEFT = Rule(
    "GS522",
    "average-without-statistics",
    Severity.WARNING,
    "An average of a model follows its parameters, but not the statistics of its batch norms.",
    frozenset({"GS521"}),
)
MOVED_TWICE = Rule(
    "GS523",
    "follower-is-trained",
    Severity.WARNING,
    "Parameters that follow another network are moved by gradients as well.",
)
_WEIGHED_SUM = op_kinds.ADDS | op_kinds.SCALES
_COPIES = frozenset({"copy_", "lerp_", "add_", "iadd"})


# -- GS521 -----------------------------------------------------------------------------------------


@check(ONTO_ITSELF)
def copied_onto_itself(case: Case) -> Iterator[Finding]:
    """Writes that give a module's tensor the values of its own memory, which training had changed meanwhile."""
    found: dict[int | None, list[tuple[Step, OpCall]]] = defaultdict(list)
    for event in case.events(Mutation):
        op = event.step.op(op_of(event.step, event.position))
        if op is None or op.name not in _COPIES or len(op.inputs) < 2 or event.step.number < 0:
            continue
        one, other = (event.step.tensors[tensor] for tensor in op.inputs[:2])
        itself = one.storage == other.storage or _mixes(case, event.step, other.number, one.storage)
        if itself and one.shape == other.shape and event.step.lasting.get(one.storage):
            found[op.stack].append((event.step, op))
    for stack, copies in found.items():
        if _moves(case, [one for step, op in copies for one in _owners(step, op)]):
            yield _onto_itself(case, stack, copies)


def _owners(step: Step, op: OpCall) -> list[int]:
    lasting = step.lasting.get(step.tensors[op.inputs[0]].storage, ())
    return [tensor.parameter for tensor in lasting if tensor.parameter is not None]


def _mixes(case: Case, step: Step, value: int, storage: int) -> bool:
    """Whether a value is a weighed sum of one memory alone: `0.9 * a + 0.1 * b`, where a and b are the same."""
    flow, sums = Dataflow.of(case, step), set()

    def parts(tensor: int) -> Sequence[int]:
        op = step.tensors[tensor].made_by
        if op is None or step.tensors[tensor].storage == storage or flow.ops[op].name not in _WEIGHED_SUM:
            return ()
        sums.update([op] if flow.ops[op].name in op_kinds.ADDS and len(flow.ops[op].inputs) == 2 else [])
        return flow.ops[op].inputs

    met = reached([value], parts)
    return bool(sums) and all(parts(one) or step.tensors[one].storage == storage for one in met)


def _moves(case: Case, parameters: list[int]) -> bool:
    """Whether training changes anything of the same kind, so that a copy was worth something."""
    trained = GradLifetimes.of(case).trained
    buffers = all(case.parameters[one].role == "buffer" for one in parameters)
    shapes = {case.parameters[one].shape for one in trained if one in case.parameters}
    twins = len(parameters) > 1 and all(case.parameters[one].shape in shapes for one in parameters)
    return bool(trained) and (buffers or twins or not trained.isdisjoint(parameters))


def _onto_itself(case: Case, stack: int | None, copies: list[tuple[Step, OpCall]]) -> Finding:
    step, op = copies[0]
    names = parameter_names(case, (one for step, op in copies for one in _owners(step, op)))
    alias = _alias(case, step, op.inputs[1])
    call, kept = call_at(case, stack, op.name), call_at(case, alias, "what was kept")
    explanation = (
        f"What {kept} gave shares the memory of {names}, and every update since has changed both: they are one tensor."
        if alias is not None
        else f"The values are those of {names} itself, so the write changes nothing."
    )
    fix = f"keep a copy: copy.deepcopy({kept})" if alias is not None else "read the values from the other module"
    loop = loop_over_itself(case, stack) if alias is None else None
    return ONTO_ITSELF.finding(
        f"{call} gives {names} the values that {'they have' if len(copies) > 1 else 'it has'} already",
        culprit=loop or case.place(alias if alias is not None else stack),
        step=step.number,
        confidence=SURE,
        related=case.places((stack, "written onto itself here")),
        explanation=explanation,
        fix=fix,
        fixes=case.fixes(
            Way("keep copies of the values", "later updates do not change them", case.place(alias), state_copied())
        ),
    )


def _alias(case: Case, step: Step, tensor: int) -> int | None:
    """Where a tensor was made that shares a parameter's memory: the stack of a detach() or .data of an earlier step."""
    home, first = case.original(step, tensor)
    made = home.maker(first.number)
    if made is not None:
        return made.stack if home is not step else None
    changes = (event.moment for event in case.events(LeafChange, home) if event.moment.tensor == first.number)
    return next((change.stack for change in changes if home is not step), None)


# -- GS522 -----------------------------------------------------------------------------------------


@check(STATISTICS_LEFT)
def statistics_left(case: Case) -> Iterator[Finding]:
    """Averaged copies that are run in evaluation mode with statistics that nothing ever gave them."""
    following, written = followers(case), _written(case)
    for step in case.distinct if not _passed_on(case) else ():
        flow = Dataflow.of(case, step)
        for index, op in flow.ops.items():
            if op.name != "batch_norm" or acts_as_training(op) is not False or len(op.inputs) < 5:
                continue
            buffers, weights = step.parameters_of(op.inputs[1:3]), step.parameters_of(op.inputs[3:5])
            followed = [one for one in weights if one in following]
            if not followed or not buffers or written.intersection(buffers):
                continue
            stack = following[followed[0]]
            calls = flow.calls_of(index)
            yield STATISTICS_LEFT.finding(
                f"{parameter_names(case, buffers)} never follow: {call_at(case, stack, 'the average')} is for "
                "parameters only",
                culprit=case.place(stack),
                step=step.number,
                confidence=SURE,
                related=case.places((calls[-1].stack if calls else op.stack, "the average is run with them here")),
                explanation="Batch norm in evaluation mode divides by its running statistics. "
                f"{parameter_names(case, weights)} follow the trained model, but the statistics are buffers, not "
                "parameters, and nothing has written them since the copy was made.",
                fix="copy the buffers as well: for a, b in zip(average.buffers(), model.buffers()): a.copy_(b)",
                fixes=case.fixes(
                    Way(
                        "copy the buffers as well",
                        "the average is run with the statistics of the model",
                        case.place(stack),
                        buffers_copied(),
                    )
                ),
            )
            return


def _passed_on(case: Case) -> bool:
    """Whether statistics that a batch norm moves are written anywhere else, which may be the average."""
    moved = {
        one
        for step, _, op in case.calls("batch_norm")
        if acts_as_training(op) is not False
        for one in step.parameters_of(op.inputs[1:3])
    }
    for step in case.distinct:
        flow = Dataflow.of(case, step)
        for event in case.events(Mutation, step):
            sources = flow.behind([event.moment.tensor])[0]
            mine = step.tensors[event.moment.tensor].storage
            behind = [one for one in sources if step.tensors[one].storage != mine]
            if not moved.isdisjoint(step.parameters_of(sorted(behind))) and event.moment.cause != "batch_norm":
                return True
    return False


def _written(case: Case) -> frozenset[int]:
    """The parameters and buffers that the loop wrote: with other values than their own, or by a batch norm."""
    found: set[int] = set()
    for event in case.events(Mutation):
        if event.step.number >= 0:
            op = event.step.op(op_of(event.step, event.position))
            own = op is not None and op.name in _COPIES and len({event.step.tensors[t].storage for t in op.inputs}) == 1
            lasting = event.step.lasting.get(event.step.tensors[event.moment.tensor].storage, ())
            found.update(one.parameter for one in lasting if one.parameter is not None and not own)
    for step, _, op in case.calls("batch_norm"):
        if acts_as_training(op) is not False:
            found.update(step.parameters_of(op.inputs[1:3]))
    return frozenset(found)


# -- GS523 -----------------------------------------------------------------------------------------


@check(MOVED_TWICE)
def follower_is_trained(case: Case) -> Iterator[Finding]:
    """Parameters that an optimizer moves, and that are drawn towards another trained network's after each update."""
    lives, owners = GradLifetimes.of(case), Ownership.of(case)
    drawn: dict[int, int] = defaultdict(int)
    stacks: dict[int, int | None] = {}
    for step in case.training():
        for one, stack in _drawn(case, step, lives.trained).items():
            drawn[one] += len(case.repeats(step))
            stacks[one] = stack
    for optimizer, members in case.members.items():
        times = sum(use.times for use in lives.of_optimizer(optimizer))
        both = [one for one in members if drawn[one] >= max(3, 0.8 * times)]
        if not both:
            continue
        built = owners.built[optimizer].stack if optimizer in owners.built else None
        name, names = optimizer_name(case, optimizer), parameter_names(case, both)
        yield MOVED_TWICE.finding(
            f"{names} follow other parameters, and {name} moves them by gradients as well",
            culprit=case.place(built),
            confidence=LIKELY,
            related=case.places((stacks[both[0]], "drawn towards the other network here")),
            explanation=f"In {plural(drawn[both[0]], 'step')} {call_at(case, stacks[both[0]], 'a write')} draws them "
            "towards the trained network. A follower (a target, a teacher, an average) lags behind it and does nothing "
            f"else; gradients from {name} move it to suit the loss.",
            fix=f"leave them out of {name}, and run them under torch.no_grad()",
        )


def _drawn(case: Case, step: Step, trained: frozenset[int]) -> dict[int, int | None]:
    """The trained parameters that a write in the step gave a mix of their own value and of another trained one's."""
    if not any(True for _ in case.events(OptimizerStep, step)):
        return {}
    flow, found = Dataflow.of(case, step), {}
    for event in case.events(Mutation, step):
        lasting = step.lasting.get(step.tensors[event.moment.tensor].storage, ())
        mine = {one.parameter for one in lasting} & trained
        behind = {one for one in step.parameters_of(_made_of(flow, event)) if one in trained}
        others = [one for one in behind - mine if case.parameters[one].shape == step.tensors[event.moment.tensor].shape]
        if mine and len(others) == 1:
            found.update({one: event.moment.stack for one in mine if one is not None})
    return found


def _made_of(flow: Dataflow, write: Event[Mutation]) -> list[int]:
    """What was written into a tensor without a gradient, and what that was made of."""
    op = op_before(flow.step, write.position) if write.moment.cause == ASSIGNED else op_of(flow.step, write.position)
    if op is None or (flow.ops[op].grad_enabled and any(flow.needs_grad(one, op) for one in flow.ops[op].inputs)):
        return []
    return sorted(flow.behind(flow.ops[op].inputs)[0])


CHECKS = (copied_onto_itself, statistics_left, follower_is_trained)
