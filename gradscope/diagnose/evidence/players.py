"""Whose loss a backward is, and where a value of the other player enters a loss that is none of its business."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...model.moments import Backward, ModuleCall, OptimizerStep, ZeroGrad
from ...model.order import reached
from ...model.records import GradGraph
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case, Event


class Entry(NamedTuple):
    """Where a value enters a loss: the value, the op that takes it in, and the stack of the script's line for it."""

    tensor: int
    op: int
    stack: int | None


class Trespass(NamedTuple):
    """A loss whose backward goes on into what only another optimizer updates, through a value of another loss."""

    loss: Event[Backward]
    entry: Entry
    optimizers: frozenset[int]  # those that own what is reached


def players(case: Case, step: Step, position: int) -> frozenset[int]:
    """The optimizers for whose parameters the backward at `position` computes gradients, as far as the script tells.

    Those that step right after it; else those whose gradients were cleared right before it; else those whose turn
    is still to come.
    """
    after = _run(step.moments[position + 1 :], OptimizerStep)
    if after:
        return after
    before = _run(step.moments[:position][::-1], ZeroGrad)
    done = {event.moment.optimizer for event in case.events(OptimizerStep, step) if event.position < position}
    return frozenset(before - done) or (frozenset(case.optimizers) - done if done else frozenset())


def _run(moments: object, kind: type[OptimizerStep] | type[ZeroGrad]) -> frozenset[int]:
    """The optimizers of the first moments of a kind, up to the next backward."""
    found: set[int] = set()
    for moment in moments:  # type: ignore[attr-defined]
        if isinstance(moment, kind) and moment.optimizer is not None:
            found.add(moment.optimizer)
        elif isinstance(moment, Backward):
            break
    return frozenset(found)


def trespass(case: Case, step: Step, one: Event[Backward], other: Event[Backward]) -> Trespass | None:
    """Which of two losses of a step goes into the other player's graph; None where both may, or none is known to."""
    found = [t for t in (_into(case, step, one, other), _into(case, step, other, one)) if t is not None]
    return found[0] if len(found) == 1 else None


def _into(case: Case, step: Step, loss: Event[Backward], other: Event[Backward]) -> Trespass | None:
    graph, others = step.behind(loss.moment), step.behind(other.moment)
    mine = players(case, step, loss.position)
    if graph is None or others is None or not mine:
        return None
    theirs = {node.op for node in others.nodes if node.op is not None}
    shared = {node.index for node in graph.nodes if node.op in theirs}
    owners = _owners(case, step, graph, shared)
    if not owners or owners & mine:
        return None
    entry = entry_of(case, step, graph, shared)
    return Trespass(loss, entry, owners) if entry is not None else None


def _owners(case: Case, step: Step, graph: GradGraph, nodes: set[int]) -> frozenset[int]:
    """The optimizers of the parameters that lie behind some nodes of a graph."""
    following: dict[int, list[int]] = {}
    for edge in graph.edges:
        following.setdefault(edge.source, []).append(edge.target)
    behind = reached(nodes, lambda node: following.get(node, ()))
    leaves = [tensor for node in behind if (tensor := graph.nodes[node].tensor) is not None]
    owned = (case.parameters[number].optimizers for number in step.parameters_of(leaves) if number in case.parameters)
    return frozenset(optimizer for optimizers in owned for optimizer in optimizers)


def entry_of(case: Case, step: Step, graph: GradGraph, shared: set[int]) -> Entry | None:
    """The first op of a graph, outside of some of its nodes, that takes in what those nodes made."""
    found = min(_entries(graph, shared), default=None)
    if found is None:
        return None
    op, node = found
    made = graph.nodes[node].op
    flow = Dataflow.of(case, step)
    given = [t for t in (flow.ops[op].inputs if op in flow.ops else ()) if t in graph.nodes[node].output_tensors]
    results = flow.ops[made].outputs if made in flow.ops else ()
    tensor = next(iter((*given, *graph.nodes[node].output_tensors, *results)), None)
    if tensor is None:
        return None
    call = outside(flow, op, made)
    stack = call.stack if call is not None else step.stack(op)
    return Entry(tensor, op, stack) if stack is not None else None


def _entries(graph: GradGraph, shared: set[int]) -> Iterator[tuple[int, int]]:
    for edge in graph.edges:
        source = graph.nodes[edge.source]
        if edge.source not in shared and edge.target in shared and source.op is not None:
            yield source.op, edge.target


def outside(flow: Dataflow, op: int, made: int | None) -> ModuleCall | None:
    """The outermost module call that an op ran in and the op `made` did not; None where both ran in the same."""
    around = set(flow.calls_of(made)) if made in flow.ops else set()
    own = [call for call in flow.calls_of(op) if call not in around] if op in flow.ops else []
    return own[-1] if own else None
