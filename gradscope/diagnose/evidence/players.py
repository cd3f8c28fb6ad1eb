"""Whose loss a backward is, and where a value of the other player enters a loss that is none of its business."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...model.moments import Backward, ModuleCall, Moment, OptimizerStep, ZeroGrad
from ...model.order import reached
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case, Event


class Trespass(NamedTuple):
    """A loss whose backward goes on into what only another optimizer updates, through a value of another loss.

    `value` enters it in `op`, a moment of `home`; `stack` is the script's line for that.
    """

    loss: Event[Backward]
    home: Step
    value: int
    op: int
    stack: int | None
    optimizers: frozenset[int]  # those that own what is reached


def players(case: Case, event: Event[Backward]) -> frozenset[int]:
    """The optimizers for whose parameters a backward computes gradients, as far as the script tells.

    Those that step right after it; else those whose gradients were cleared right before it; else those whose turn
    is still to come.
    """
    moments = event.step.moments
    after = _named(moments[event.position + 1 :], OptimizerStep)
    if after:
        return after
    steps = case.events(OptimizerStep, event.step)
    done = {one.moment.optimizer for one in steps if one.position < event.position}
    cleared = _named(reversed(moments[: event.position]), ZeroGrad) - done
    return cleared or (frozenset(case.optimizers) - done if done else frozenset())


def _named(moments: Iterable[Moment], kind: type[OptimizerStep] | type[ZeroGrad]) -> frozenset[int]:
    """The optimizers of the moments of a kind, up to the next backward."""
    found: set[int] = set()
    for moment in moments:
        if isinstance(moment, kind) and moment.optimizer is not None:
            found.add(moment.optimizer)
        elif isinstance(moment, Backward):
            break
    return frozenset(found)


def trespass(case: Case, one: Event[Backward], other: Event[Backward]) -> Trespass | None:
    """Which of two losses goes into the other player's graph; None where both may, or none is known to."""
    roots = [case.origin(event.step, root) for event in (one, other) for root in event.moment.roots]
    home = case.like(roots[0].step) if len(roots) == 2 and roots[0].step == roots[1].step else None
    if home is None or roots[0] == roots[1]:
        return None
    flow = Dataflow.of(case, home)
    graphs = [_graph(flow, root.tensor) for root in roots]
    found = [_into(flow, event, graph, graphs[0] & graphs[1]) for event, graph in zip((one, other), graphs)]
    known = [trespass for trespass in found if trespass is not None]
    return known[0] if len(known) == 1 else None


def _graph(flow: Dataflow, root: int) -> set[int]:
    """The ops that a backward from a tensor goes back through."""
    ops: set[int] = set()

    def made_of(tensor: int) -> Iterator[int]:
        for op in flow.writers.get(tensor, ()):
            if op not in ops and flow.passes(op, tensor):
                ops.add(op)
                yield from (one for one in flow.ops[op].inputs if flow.needs_grad(one))

    reached([root], made_of)
    return ops


def _into(flow: Dataflow, loss: Event[Backward], graph: set[int], shared: set[int]) -> Trespass | None:
    mine, owners = players(flow.case, loss), _owners(flow, shared)
    if not mine or not owners or owners & mine:
        return None
    for op in sorted(graph - shared):
        for tensor in flow.ops[op].inputs:
            made = next((one for one in flow.writers.get(tensor, ()) if one in shared), None)
            if made is not None and flow.needs_grad(tensor):
                call = outside(flow, op, made)
                stack = call.stack if call is not None else flow.ops[op].stack
                return Trespass(loss, flow.step, tensor, op, stack, owners)
    return None


def _owners(flow: Dataflow, ops: set[int]) -> frozenset[int]:
    """The optimizers of the parameters that ops read."""
    read = {tensor for op in ops for tensor in flow.ops[op].inputs if flow.needs_grad(tensor)}
    known = (flow.case.parameters.get(number) for number in flow.step.parameters_of(read))
    return frozenset(optimizer for one in known if one is not None for optimizer in one.optimizers)


def outside(flow: Dataflow, op: int, made: int) -> ModuleCall | None:
    """The outermost module call that an op ran in and the op `made` did not; None where both ran in the same."""
    around = set(flow.calls_of(made))
    own = [call for call in flow.calls_of(op) if call not in around]
    return own[-1] if own else None
