"""What a model was run for: every call of a root module, the mode it ran in, and whether a backward used it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ...model import op_kinds
from ...model.moments import Backward, ModeChange, ModuleCall, Mutation, OpCall, OptimizerStep
from ...model.records import Detail
from ...model.trace import Step
from .arguments import arguments, were_recorded
from .dataflow import Dataflow
from .index import Case, once_a_case, once_a_step
from .writes import ASSIGNED, op_before


class ModelCall(NamedTuple):
    """One call of a module by the script, no other module around it.

    `ops` are the moments inside, `results` what left it. `used`: a backward of the step went through it or through
    what was made of it. `random` and `settled`: the ops inside (dropout, batch norm) that act as in training, and
    those that act as in evaluation. Of a call in a light step it is only known whether gradients were on: then it is
    taken for one that trains, and was used.
    """

    step: Step
    call: ModuleCall
    ops: Sequence[int]
    results: frozenset[int]
    used: bool
    builds: bool
    without_grad: bool
    random: Sequence[int]
    settled: Sequence[int]


def acts_as_training(op: OpCall) -> bool | None:
    """Whether an op that has two modes acts as in training; None for an op that has one, or was not told in full."""
    given, drops = arguments(op), drop_share(op) > 0
    said: object = None
    if op.name in op_kinds.DROPOUTS and were_recorded(op) and drops:
        said = given.get("training", 1) is not False
    elif op.name == "batch_norm" and len(op.inputs) >= 3:
        said = given.named.get("training")
    elif op.name in op_kinds.RECURRENT and drops:
        layers = given.number("num_layers", 1) or 1  # torch drops between layers: with one there is nothing to drop
        said = given.get("train", 3) if layers > 1 else None
    elif op.name in op_kinds.ATTENTIONS and drops:
        said = True if op.name == "scaled_dot_product_attention" else given.named.get("training")
    return said if isinstance(said, bool) else None


def _acts_as_training(flow: Dataflow, index: int) -> bool | None:
    """The same of an op of a step; where its arguments were not recorded, by the flag of the module that calls it."""
    op = flow.ops[index]
    if were_recorded(op) or op.module not in _modules_with_modes(flow.case):
        return acts_as_training(op)
    if op.name not in op_kinds.DROPOUTS and op.name != "batch_norm":
        return None
    calls = flow.calls_of(index)
    return calls[0].training if calls else None


@once_a_case
def _modules_with_modes(case: Case) -> frozenset[int | None]:
    """Modules whose own flag was seen to say how their dropout or batch norm acts."""
    return frozenset(
        op.module
        for step in case.distinct
        if step.detail is Detail.FULL
        for index, op in Dataflow.of(case, step).ops.items()
        if op.module is not None and (said := acts_as_training(op)) is not None
        if (calls := Dataflow.of(case, step).calls_of(index)) and calls[0].training is said
        if case.modules[op.module].type.startswith(("Dropout", "BatchNorm"))
    )


def drop_share(op: OpCall) -> float:
    """The share of values that an op with a dropout drops."""
    given = arguments(op)
    if op.name in op_kinds.RECURRENT:
        return given.number("dropout", 2) or 0.0
    if op.name in op_kinds.ATTENTIONS:  # it comes after the flag add_zero_attn
        flags = [place for place, value in enumerate(given.positional) if isinstance(value, bool)]
        return given.number("dropout_p", flags[0] + 1 if flags else len(given.positional)) or 0.0
    share = given.number("p", 0)
    return share if share is not None else 0.5


@once_a_step
def model_calls(case: Case, step: Step) -> Sequence[ModelCall]:
    """The calls of root modules in a step, in order."""
    if step.row.light:
        return [
            _light_call(step, event.position, event.moment.module, event.moment)
            for event in case.events(OpCall, step)
            if event.moment.module is not None
        ]
    calls = step.template.calls
    root = list(range(len(calls)))
    for place, call in enumerate(calls):
        if call.parent is not None:
            root[place] = root[call.parent]
    flow = Dataflow.of(case, step)
    places = {(call.module, call.call): place for place, call in enumerate(calls)}
    inside: dict[int, list[int]] = {}
    for index, op in flow.ops.items():
        within = places.get((op.module, op.module_call or 0)) if op.module is not None else None
        if within is not None:
            inside.setdefault(root[within], []).append(index)
    return [_model_call(flow, calls[place], ops) for place, ops in sorted(inside.items())]


def _light_call(step: Step, index: int, module: int, op: OpCall) -> ModelCall:
    call = ModuleCall(module, 0, op.stack, op.grad_enabled, index)
    return ModelCall(step, call, (index,), frozenset(), op.grad_enabled, False, not op.grad_enabled, (), ())


def _model_call(flow: Dataflow, call: ModuleCall, ops: Sequence[int]) -> ModelCall:
    made = [tensor for op in ops for tensor in flow.ops[op].outputs]
    own = set(ops)
    left = {t for t in made if any(reader not in own for reader in flow.readers.get(t, ()))} | set(made[-1:])
    modes = {op: _acts_as_training(flow, op) for op in ops}
    return ModelCall(
        step=flow.step,
        call=call,
        ops=ops,
        results=frozenset(left),
        used=any(tensor in flow.differentiated for tensor in made),
        builds=any(flow.ops[op].grad_nodes for op in ops),
        without_grad=not any(flow.ops[op].grad_enabled for op in ops),
        random=[op for op, mode in modes.items() if mode is True],
        settled=[op for op, mode in modes.items() if mode is False],
    )


def given_to(case: Case, one: ModelCall) -> frozenset[int]:
    """What a call was given: what its ops read and neither made nor have as a parameter."""
    flow = Dataflow.of(case, one.step)
    made = {tensor for op in one.ops for tensor in flow.ops[op].outputs}
    read = {tensor for op in one.ops for tensor in flow.ops[op].inputs}
    return frozenset(tensor for tensor in read - made if one.step.tensors[tensor].parameter is None)


@once_a_step
def evaluates(case: Case, step: Step) -> bool:
    """Whether a step only runs a model that other steps train: no backward, no update."""
    if step.number < 0 or any(True for kind in (Backward, OptimizerStep) for _ in case.events(kind, step)):
        return False
    trained = trained_modules(case)
    return any(one.call.module in trained for one in model_calls(case, step))


@once_a_case
def trained_modules(case: Case) -> Mapping[int, frozenset[int]]:
    """Modules that ran with parameters which the same step updated: the module, and those parameters."""
    found: dict[int, set[int]] = {}
    for step in case.training():
        updates = (event.moment for event in case.events(OptimizerStep, step))
        updated = {one for update in updates for one in step.parameters_of(update.updated)}
        if not updated:
            continue
        flow = Dataflow.of(case, step)
        for index, op in flow.ops.items():
            mine = updated.intersection(step.parameters_of(op.inputs))
            for call in flow.calls_of(index) if mine else ():
                found.setdefault(call.module, set()).update(mine)
    return {module: frozenset(numbers) for module, numbers in found.items()}


def follows(case: Case, one: ModelCall) -> bool:
    """Whether a call's parameters are written from those that training updates: an average of a model, or a copy."""
    flow = Dataflow.of(case, one.step)
    read = {one.step.tensors[tensor].parameter for op in one.ops for tensor in flow.ops[op].inputs}
    return not read.isdisjoint(followers(case))


@once_a_case
def followers(case: Case) -> Mapping[int | None, int | None]:
    """Parameters that no training updates, written from some that it does: the stack of the last such write."""
    leading: set[int | None] = set().union(*trained_modules(case).values())
    found: dict[int | None, int | None] = {}
    for step in case.distinct:
        flow = Dataflow.of(case, step)

        def memory(tensor: int, step: Step = step) -> set[int | None]:
            return {one.parameter for one in step.lasting.get(step.tensors[tensor].storage, ())}

        for event in case.events(Mutation, step):
            written, given = memory(event.moment.tensor) - leading, [event.moment.tensor]
            if written and event.moment.cause == ASSIGNED:
                assigned = step.op(op_before(step, event.position))
                given += assigned.outputs if assigned is not None else ()
            if written and any(memory(one) & leading for one in flow.behind(given)[0]):
                found.update(dict.fromkeys(written, event.moment.stack))
    return found


# -- over the whole trace ------------------------------------------------------------------------------


class Switched(NamedTuple):
    """A call of `train()` or `eval()` as it happened, in a row of the trace."""

    step: int
    moment: int
    change: ModeChange


@dataclass(frozen=True)
class ModelLife:
    """What happened to one root module over the whole trace: switches, calls and updates, by (step, moment)."""

    switches: Sequence[Switched]
    calls: Sequence[tuple[int, int, ModelCall]]
    updates: Sequence[tuple[int, int]]

    def switch_before(self, step: int, moment: int) -> Switched | None:
        """The last train() or eval() before a moment."""
        return next((one for one in reversed(self.switches) if (one.step, one.moment) < (step, moment)), None)

    @cached_property
    def switched_to_train(self) -> set[int | None]:
        """The stacks of the switches that were the last before a training call."""
        found: set[int | None] = set()
        switches, last = iter(self.switches), None
        coming = next(switches, None)
        for step, moment, one in self.calls:
            while coming is not None and (coming.step, coming.moment) < (step, moment):
                last, coming = coming, next(switches, None)
            if one.used and last is not None:
                found.add(last.change.stack)
        return found


@once_a_case
def model_lives(case: Case) -> Mapping[int, ModelLife]:
    """Every root module's life, row by row."""
    switches: dict[int, list[Switched]] = defaultdict(list)
    calls: dict[int, list[tuple[int, int, ModelCall]]] = defaultdict(list)
    updates: list[tuple[int, int]] = []
    for row in case.rows:
        step = case.like(row.number)
        if step is None:
            continue
        for event in case.events(ModeChange, step):
            if event.moment.mode == "training" and event.moment.module is not None:
                switches[event.moment.module].append(Switched(row.number, event.position, event.moment))
        for one in model_calls(case, step):
            calls[one.call.module].append((row.number, one.call.moment, one))
        updates += [(row.number, event.position) for event in case.events(OptimizerStep, step)]
    return {module: ModelLife(switches.get(module, []), found, updates) for module, found in calls.items()}
