"""What steps take over from earlier ones: where it was made, what became of it, and the line that keeps it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ...model.findings import Place
from ...model.moments import Backward, OpCall
from ...model.records import Site
from ...model.trace import Step
from .dataflow import Dataflow
from .index import Case, Origin, at, once_a_case, once_a_step

_ADDING = frozenset({"append", "appendleft", "add", "insert", "put", "push"})


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


def binding(case: Case, step: Step, stack: int | None, note: str = "") -> Place | None:
    """The line of a stack that gives a value its lasting name: an attribute's assignment, else the loop's own line."""
    sites = case.sites(stack)
    for site in sites:
        if any("." in target or "[" in target for target in site.targets) or container(site.code, site.expression):
            return at(site, note)
    depth = len(sites) - 1 - common_depth(case, step)
    return at(sites[max(min(depth, len(sites) - 1), 0)], note) if sites else None


@lru_cache(maxsize=256)
def container(code: str, expression: str) -> str:
    """What a line puts the value of an expression into, as code: `self.saved` of `self.saved.append(x)`; else ""."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return ""  # part of a statement
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in _ADDING:
            continue
        if not expression or any(ast.unparse(given) == expression for given in call.args):
            return ast.unparse(call.func.value)
    return ""


@once_a_step
def common_depth(case: Case, step: Step) -> int:
    """How many outer call sites all moments of a step share: those outside the loop's own function."""
    stacks = {moment.stack for moment in step.moments if moment.stack is not None}
    shared: list[Site] | None = None
    for stack in stacks:
        outer = list(reversed(case.sites(stack)))
        if shared is None:
            shared = outer
            continue
        same = next((i for i, (one, other) in enumerate(zip(shared, outer)) if one.id != other.id), None)
        shared = shared[: min(len(shared), len(outer)) if same is None else same]
    return len(shared or ()) if len(stacks) > 1 else max(len(shared or ()) - 1, 0)
