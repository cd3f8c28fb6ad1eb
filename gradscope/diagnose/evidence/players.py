"""Losses of different optimizers: where the value of one player's parameters enters the other player's loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...model.moments import Backward, OptimizerStep
from ...model.records import Site
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case


class Entry(NamedTuple):
    """A value of another player's that goes into a loss: the op that takes it, and the value (a step's tensor)."""

    op: int
    tensor: int


def reached_by(case: Case, step: Step, backward: Backward) -> dict[int, set[int]]:
    """The parameters that a backward's graph ends in, by the optimizer that has them."""
    graph = step.behind(backward)
    leaves = [node.tensor for node in graph.nodes if node.tensor is not None] if graph is not None else []
    numbers = {step.tensors[leaf].parameter for leaf in leaves}
    found = {which: numbers & set(members) for which, members in case.members.items()}
    return {which: {one for one in members if one is not None} for which, members in found.items() if members}


def steps_between(case: Case, step: Step, first: int, last: int) -> set[int]:
    """The optimizers that stepped between two moments."""
    return {e.moment.optimizer for e in case.events(OptimizerStep, step) if first < e.position < last}


def own_player(case: Case, step: Step, earlier: tuple[int, Backward], later: tuple[int, Backward]) -> set[int] | None:
    """The optimizers that the earlier of two losses is for, if they are not those of the later one."""
    first, second = reached_by(case, step, earlier[1]), reached_by(case, step, later[1])
    own = steps_between(case, step, earlier[0], later[0]) & set(first) or set(first) - set(second)
    others = set(second) - own
    return own if own and others and others & set(first) else None


def entry_of(case: Case, step: Step, position: int, backward: Backward, own: set[int]) -> Entry | None:
    """Where a value that only other players' parameters are behind meets one of this player's, on the way to a loss."""
    mine = {one for which in own for one in case.members.get(which, ())}
    theirs = {one for which, members in case.members.items() if which not in own for one in members} - mine
    flow = Dataflow.of(case, step)
    _, ops = flow.behind(backward.roots, position)

    def behind(tensor: int, op: int) -> tuple[bool, bool]:
        numbers = {step.tensors[one].parameter for one in (tensor, *flow.behind([tensor], op)[0])}
        return bool(numbers & mine), bool(numbers & theirs)

    for op in sorted(ops):
        sides = {tensor: behind(tensor, op) for tensor in flow.ops[op].inputs if flow.needs_grad(tensor, op)}
        if any(own_side for own_side, _ in sides.values()):
            for tensor, (own_side, other) in sides.items():
                if other and not own_side and step.tensors[tensor].parameter is None:
                    return Entry(op, tensor)
    return None


def names_at(case: Case, step: Step, entry: Entry | None, site: Site) -> Iterator[str]:
    """What the value may be called on a line of its op's stack: its own name, and those of what it was passed on as."""
    tensor = entry.tensor if entry is not None else None
    flow = Dataflow.of(case, step)
    for _ in range(16):
        if tensor is None:
            return
        name = step.tensors[tensor].name
        if name and name in site.code:
            yield name
        writers = flow.writers.get(tensor, ())
        inputs = flow.ops[writers[-1]].inputs if writers else ()
        inside = bool(writers) and any(one == site for one in case.sites(step.stack(writers[-1])))
        alive = [one for one in inputs if flow.needs_grad(one) and step.tensors[one].parameter is None]
        tensor = alive[0] if inside and len(alive) == 1 else None
