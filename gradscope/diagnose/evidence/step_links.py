"""What steps take over from earlier ones: where it was made, and what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ...model.moments import Backward, OpCall
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case, Origin, once_a_case


class Home(NamedTuple):
    """Where a tensor was made. `number` is that step's: `step` may be an equal one that stands for it.

    `op` made it there; None where that was not seen.
    """

    step: Step
    tensor: int
    op: OpCall | None
    number: int


@dataclass
class Lasting:
    """A tensor beyond its step: the later rows in which it was still there; (row, number) where one took it over."""

    rows: set[int] = field(default_factory=set)
    used: set[tuple[int, int]] = field(default_factory=set)


def home_of(case: Case, step: Step, tensor: int) -> Home:
    """Where a tensor that was carried into `step` comes from, as far back as steps were kept."""
    origin = case.origin(step, tensor)
    kept = step.tensors[tensor].parameter
    if kept is not None and origin.step == step.number:  # a module's buffer has a name of its own in every step
        origin = _last_made(case, kept, step.number) or origin
    home = case.like(origin.step)
    if home is None or origin.tensor >= len(home.tensors):
        return Home(step, tensor, None, step.number)
    return Home(home, origin.tensor, home.maker(origin.tensor), origin.step)


def _last_made(case: Case, parameter: int, before: int) -> Origin | None:
    """The last step before `before` whose op made this buffer's value."""
    for row in reversed(case.rows):
        home = case.like(row.number) if row.number < before else None
        for tensor in home.tensors if home is not None else ():
            if tensor.parameter == parameter and tensor.made_by is not None:
                return Origin(row.number, tensor.number)
    return None


@once_a_case
def differentiated_later(case: Case) -> set[tuple[int, int]]:
    """Tensors (step, number) that a backward of a later step went through, without an error."""
    found: set[tuple[int, int]] = set()
    for step in case.distinct:
        backwards = [event.moment for event in case.events(Backward, step) if event.moment.error is None]
        graphs = (graph for one in backwards if (graph := step.behind(one)) is not None)
        if not any(node.carried for graph in graphs for node in graph.nodes):
            continue
        behind, _ = Dataflow.of(case, step).behind([root for one in backwards for root in one.roots])
        for row in case.repeats(step):
            found.update((came, number) for tensor, came, number in row.carried if tensor in behind)
    return found


@once_a_case
def outlasting(case: Case) -> Mapping[tuple[int, int], Lasting]:
    """Tensors (step, number) that outlived their step, or were used in a later one."""
    found: dict[tuple[int, int], Lasting] = defaultdict(Lasting)
    for row in case.rows:
        for kept in row.kept:
            found[kept.step, kept.tensor].rows.add(row.number)
        for here, came, number in row.carried:
            found[came, number].used.add((row.number, here))
    return found


def unseen_after(case: Case, number: int) -> bool:
    """Whether what the next step did with what it took over was not seen: it is a light one."""
    following = case.by_number.get(number + 1)
    return following is not None and following.light
