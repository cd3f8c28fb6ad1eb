"""Gradients that go where they should not: into a target, or from one player's loss into the other player."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.moments import Backward, GradChange, ModuleCall, OptimizerStep
from ...model.trace import Step
from ...repair.changes.values import assigned_followed_by, followed_by, named_followed_by
from ...repair.ways import Way
from ..evidence.arguments import arguments
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.wording import listed, module_name, variable
from ..rules import LIKELY, SURE, Rule, check

_STANDS_STILL = "the value moves to it, and it stands still"
TARGET_WITH_GRADIENT = Rule(
    "GS411", "target-not-detached", Severity.WARNING, "A target made by the model itself sends gradients back into it."
)
WRONG_PLAYER = Rule(
    "GS412", "loss-reaches-other-player", Severity.WARNING, "One network's loss puts gradients on another's parameters."
)


_COMPARES = op_kinds.MEASURES_DISTANCE | op_kinds.SUBTRACTS


class Side(NamedTuple):
    """One side of a comparison followed back to the module call that made it, or to what it is a part of.

    `bootstrapped`: on the way it was multiplied by a constant and added to data, as a target r + gamma * v is.
    `whole`: the tensor that it was cut out of, by `part`, where no module call was met: all values of an episode.
    """

    op: int
    bootstrapped: bool
    calls: Sequence[ModuleCall]
    whole: int | None = None
    part: str = ""


@check(TARGET_WITH_GRADIENT)
def targets_with_gradient(case: Case) -> Iterator[Finding]:
    """Differences between a network's value and a target built from another call of the same network."""
    for step in case.training():
        flow = Dataflow.of(case, step)
        for position, backward in flow.backwards:
            if backward.call != "backward":
                continue
            _, ops = flow.behind(backward.roots, position)
            for op in sorted(ops):
                call = flow.ops[op]
                if call.name in _COMPARES and len(call.inputs) == 2 and not flow.calls_of(op):
                    yield from _compared(case, step, flow, op, backward)
                    yield from _value_detached(case, step, flow, op, backward)


def _compared(case: Case, step: Step, flow: Dataflow, op: int, backward: Backward) -> Iterator[Finding]:
    inputs = flow.ops[op].inputs
    if not all(flow.needs_grad(tensor, op) for tensor in inputs):
        return
    sides = [_side(flow, tensor, op) for tensor in inputs]
    if any(side is None for side in sides) or not _trains(flow, op, backward):
        return
    for target, value in (sides, sides[::-1]):
        if target is None or value is None or not target.bootstrapped or value.bootstrapped:
            continue
        if target.whole is not None and target.whole == value.whole and target.part != value.part:
            yield _next_value(case, step, flow, op, target, backward)
            return
        call = _same_module(target.calls, value.calls)
        if call is None:
            continue
        name = module_name(case, call.module, "the network")
        made = case.place(call.stack)
        result = inputs[0] if target is sides[0] else inputs[1]
        yield TARGET_WITH_GRADIENT.finding(
            f"the target {case.called(step, result)} is computed by {name} itself and not detached",
            culprit=made,
            step=step.number,
            confidence=LIKELY,
            related=case.places(
                (flow.ops[op].stack, "value and target are compared here"), (backward.stack, "backward")
            ),
            explanation=f"Both sides of the difference come from {name}, so backward also changes {name} to make the "
            "target meet the value. A target has to stand still: it is what the value is to move to.",
            fix="compute the target under torch.no_grad(), or detach it",
            fixes=case.fixes(
                Way(
                    "detach the target",
                    "the value moves to it, it stands still",
                    made,
                    assigned_followed_by(".detach()"),
                ),
                Way("detach the target", "the value moves to it, it stands still", made, followed_by(".detach()")),
            ),
            nodes=[tensor_id(step.template, result)],
        )
        return


def _value_detached(case: Case, step: Step, flow: Dataflow, op: int, backward: Backward) -> Iterator[Finding]:
    """The detach on the wrong side: the network's value is cut off, and its bootstrapped target has the gradient."""
    dead = [tensor for tensor in flow.ops[op].inputs if not flow.needs_grad(tensor, op)]
    alive = [tensor for tensor in flow.ops[op].inputs if tensor not in dead]
    cut = flow.step.maker(dead[0]) if len(dead) == len(alive) == 1 else None
    if cut is None or cut.name not in op_kinds.DETACHES or not flow.needs_grad(cut.inputs[0]):
        return
    target, value = _side(flow, alive[0], op), _side(flow, cut.inputs[0], op)
    if target is None or value is None or not target.bootstrapped or value.bootstrapped:
        return
    if not _trains(flow, op, backward) or _same_module(target.calls, value.calls) is None:
        return
    name, goal = case.called(step, cut.inputs[0]), case.called(step, alive[0])
    yield TARGET_WITH_GRADIENT.finding(
        f"{name} is detached, and its target {goal} has the gradient: the target moves to the value",
        culprit=case.place(cut.stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((flow.ops[op].stack, "value and target are compared here"), (backward.stack, "backward")),
        explanation=f"{goal} was built of data and a later value: it is what {name} is to move to. With the detach on "
        f"the other side the later value is moved until its target meets {name}, and {name} itself learns nothing.",
        fix=f"detach the target instead: {variable(goal, 'target')}.detach()",
        nodes=[tensor_id(step.template, alive[0])],
    )


def _trains(flow: Dataflow, op: int, backward: Backward) -> bool:
    """Whether the backward comes back through an op: an advantage that is detached as a whole trains nothing."""
    return not flow.ahead(flow.ops[op].outputs, with_grad=True)[0].isdisjoint(backward.roots)


def _next_value(case: Case, step: Step, flow: Dataflow, op: int, target: Side, backward: Backward) -> Finding:
    """The difference of two values of one episode: the later one is the target of the one before."""
    values = case.called(step, target.whole) if target.whole is not None else "the values"
    later = case.called(step, flow.ops[target.op].outputs[0])
    return TARGET_WITH_GRADIENT.finding(
        f"the target is built from {later}, a value of the network itself that is not detached",
        culprit=case.place(flow.ops[op].stack),
        step=step.number,
        confidence=LIKELY,
        related=case.places((backward.stack, "this backward goes into both values")),
        explanation=f"Both sides of the difference are parts of {values}, so backward moves the later value as well, "
        "to meet the one before it. A target has to stand still: it is what the value is to move to.",
        fix=f"use the values as numbers in the target: {variable(values, 'values')}.detach()",
        fixes=case.fixes(
            Way(
                "detach the later value",
                "the value moves to its target, which stands still",
                case.place(flow.ops[target.op].stack),
                followed_by(".detach()"),
            )
        ),
        nodes=[tensor_id(step.template, flow.ops[op].outputs[0])],
    )


def _side(flow: Dataflow, tensor: int, before: int) -> Side | None:
    """Follow a value back through ops with one differentiable operand, to the module call that it left."""
    scaled, added = False, False
    sliced: Side | None = None
    for _ in range(16):
        writers = [op for op in flow.writers.get(tensor, ()) if op < before]
        if not writers:
            return sliced
        op = writers[-1]
        calls = flow.calls_of(op)
        if calls:
            cut = sliced or Side(op, False, ())
            return Side(cut.op, scaled and added, calls, cut.whole, cut.part)
        call = flow.ops[op]
        alive = [one for one in call.inputs if flow.needs_grad(one, op)]
        if len(alive) != 1:
            return sliced
        if call.name == "__getitem__" and flow.step.tensors[alive[0]].shape[:1] != (1,):
            sliced = Side(op, scaled and added, (), alive[0], call.arguments)
        others = [one for one in call.inputs if one != alive[0]]
        if call.name in op_kinds.ADDS and any(_is_data(flow, one) for one in others):
            added, scaled = True, scaled or "alpha" in arguments(call).named
        elif call.name in op_kinds.MULTIPLIES and added:
            scaled = True
        tensor, before = alive[0], op
    return sliced


def _is_data(flow: Dataflow, tensor: int) -> bool:
    """Whether a tensor is several values without a gradient: rewards, also those of sampled actions."""
    several = any(size > 1 for size in flow.step.tensors[tensor].shape)
    return several and not flow.needs_grad(tensor)


def _same_module(target: Sequence[ModuleCall], value: Sequence[ModuleCall]) -> ModuleCall | None:
    """The target's call of the outermost module that both sides called, each on its own."""
    for one in reversed(target):
        for other in value:
            if one.module == other.module:
                if one.call != other.call:
                    return one
                break
    return None


# -- two players -------------------------------------------------------------------------------------------


class Share(NamedTuple):
    """One backward's part in the gradients that an optimizer then used."""

    moment: int
    backward: Backward


@check(WRONG_PLAYER)
def wrong_player(case: Case) -> Iterator[Finding]:
    """Steps in which one optimizer uses the gradients of another player's loss, added to those of its own."""
    for step in case.training():
        updates = list(case.events(OptimizerStep, step))
        backwards = [(event.position, event.moment) for event in case.events(Backward, step)]
        if len({event.moment.optimizer for event in updates}) < 2 or len(backwards) < 2:
            continue
        shares = {event.moment.optimizer: _shares(case, step, event.moment, event.position) for event in updates}
        for optimizer, parts in shares.items():
            for other, others in shares.items():
                found = _pollution(case, step, optimizer, parts, other, others) if other != optimizer else None
                if found is not None:
                    yield found


def _shares(case: Case, step: Step, update: OptimizerStep, position: int) -> list[Share]:
    """The backwards whose gradients were in an optimizer's parameters when it stepped."""
    owned = case.members.get(update.optimizer, ())
    found: list[Share] = []
    running: Share | None = None
    for index, moment in enumerate(step.moments[:position]):
        if isinstance(moment, Backward):
            running = Share(index, moment) if moment.call == "backward" and moment.error is None else None
        elif isinstance(moment, GradChange):
            mine = any(step.tensors[tensor].parameter in owned for tensor in moment.tensors)
            if mine and moment.change in ("cleared", "zeroed"):
                found.clear()
            elif mine and running is not None and moment.change in ("created", "accumulated") and running not in found:
                found.append(running)
    return found


def _leaves(step: Step, backward: Backward) -> set[int]:
    graph = step.behind(backward)
    tensors = [node.tensor for node in graph.nodes if node.tensor is not None] if graph is not None else []
    return {number for tensor in tensors if (number := step.tensors[tensor].parameter) is not None}


def _pollution(
    case: Case, step: Step, optimizer: int, parts: Sequence[Share], other: int, others: Sequence[Share]
) -> Finding | None:
    """The other player's loss among what this optimizer used, if this player's own loss goes through the other too.

    So it is between a generator and a discriminator; losses that share an encoder are used by both sides alike.
    """
    mine, theirs = set(case.members.get(optimizer, ())), set(case.members.get(other, ()))
    if mine & theirs:
        return None
    alien = [part for part in parts if part in others and _leaves(step, part.backward) & theirs]
    own = [part for part in parts if part not in others and _leaves(step, part.backward) & theirs]
    if not alien or not own:
        return None
    part = alien[0]
    entered = _entry(case, step, part, mine, theirs)
    if entered is None:
        return None
    call, tensor = entered
    names = sorted(case.parameters[number].root for number in mine if number in case.parameters)
    player = names[0] if names and names[0] else "the other network"
    value = case.called(step, tensor)
    loss = case.called(step, part.backward.roots[0]) if part.backward.roots else "this loss"
    grown = listed(sorted(case.parameters[n].name for n in _leaves(step, part.backward) & mine if n in case.parameters))
    return WRONG_PLAYER.finding(
        f"{loss} also puts gradients on {player}: {value} is not detached",
        culprit=case.place(call.stack),
        step=step.number,
        confidence=SURE,
        related=case.places(
            (part.backward.stack, f"this backward reaches {player}"),
            (own[0].backward.stack, f"the loss of {player} itself"),
        ),
        explanation=f"{value} brings the graph of {player} into {loss}. Its backward adds to the gradients of {grown}, "
        f"and the optimizer of {player} steps with the sum of both losses, which pull against each other.",
        fix=f"use {variable(value, 'fake')}.detach() in this loss",
        fixes=case.fixes(
            Way(
                f"detach {value} in this loss",
                f"it trains its own player, not {player}",
                case.place(call.stack),
                named_followed_by(value, ".detach()"),
            )
        ),
        nodes=[tensor_id(step.template, tensor)],
    )


def _entry(case: Case, step: Step, part: Share, mine: set[int], theirs: set[int]) -> tuple[ModuleCall, int] | None:
    """Where this player's result enters the other's network on the way to a loss: the call, and the result."""
    flow = Dataflow.of(case, step)
    _, ops = flow.behind(part.backward.roots, part.moment)
    for op in sorted(ops):
        if not any(step.tensors[tensor].parameter in theirs for tensor in flow.ops[op].inputs):
            continue
        calls = flow.calls_of(op)
        for tensor in flow.ops[op].inputs if calls else ():
            if step.tensors[tensor].parameter is not None or not flow.needs_grad(tensor, op):
                continue
            behind, _ = flow.behind([tensor], op)
            if not any(step.tensors[one].parameter in mine for one in behind):
                continue
            outer = _players_call(case, calls, theirs)
            return outer, _entered(flow, tensor, outer)
    return None


def _players_call(case: Case, calls: Sequence[ModuleCall], theirs: set[int]) -> ModuleCall:
    """The outermost call of a module that has only this player's parameters under it."""
    found = calls[0]
    for call in calls[1:]:
        record = case.modules.get(call.module)
        if record is None:
            break
        prefix = f"{record.path}." if record.path else ""
        under = {
            number
            for number, one in case.parameters.items()
            if one.root == record.root and one.role == "parameter" and case.names.path(number).startswith(prefix)
        }
        if not under <= theirs:
            break
        found = call
    return found


def _entered(flow: Dataflow, tensor: int, outer: ModuleCall) -> int:
    """The value that was given to a call, from one inside that was made of it."""
    for _ in range(16):
        writers = flow.writers.get(tensor, ())
        if not writers or outer not in flow.calls_of(writers[-1]):
            return tensor
        alive = [one for one in flow.ops[writers[-1]].inputs if flow.needs_grad(one)]
        alive = [one for one in alive if flow.step.tensors[one].parameter is None]
        if not alive:
            return tensor
        tensor = alive[0]
    return tensor


CHECKS = (targets_with_gradient, wrong_player)
