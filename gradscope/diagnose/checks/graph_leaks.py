"""Graphs that grow from step to step: results that are kept with theirs, values built from their own last ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ...model import op_kinds
from ...model.build import tensor_id
from ...model.findings import Finding, Severity
from ...model.fixes import said
from ...model.moments import Backward
from ...model.records import Kept, StepKind, StepRow
from ...model.trace import Step
from ...repair.changes.values import added_detached, assigned_followed_by, named_followed_by
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case
from ..evidence.keepers import binding
from ..evidence.model_runs import evaluates
from ..evidence.step_links import differentiated_later, home_of, unseen_after
from ..rules import LIKELY, SURE, Rule, check

GRAPHS_KEPT = Rule(
    "GS404", "graphs-kept", Severity.WARNING, "Results are kept with their graphs, so no step's graph can be freed."
)
ENDLESS_GRAPH = Rule(
    "GS405", "graph-grows", Severity.WARNING, "A value is built from its own last one: its graph grows with each step."
)

_ENOUGH = 3  # steps that add to a pile before it counts as growing


# -- results that are kept -------------------------------------------------------------------------------


@check(GRAPHS_KEPT)
def graphs_kept(case: Case) -> Iterator[Finding]:
    """Results with graphs that stay alive after their step, step after step, held by the same place."""
    if not _goes_back(case):
        return
    used = differentiated_later(case)
    piles: dict[tuple[int | None, str], list[tuple[StepRow, Kept]]] = defaultdict(list)
    for row in case.rows:
        for kept in row.kept:
            home = case.like(kept.step)
            if home is None or (kept.step, kept.tensor) in used or kept.tensor >= len(home.tensors):
                continue
            if evaluates(case, home):
                continue  # told as an evaluation that builds graphs
            made = home.maker(kept.tensor)
            key = kept.stack if kept.stack is not None else (made.stack if made is not None else None)
            piles[key, kept.holder].append((row, kept))
    for pile in piles.values():
        together = _together(case, pile)
        if together >= _ENOUGH and not _only_newest(case, pile) and not _steady(case, pile[0][0].number):
            yield _kept(case, pile, together)


def _goes_back(case: Case) -> bool:
    """Whether the script runs any backward: without one, steps are the elements of a sequence, and nothing piles up."""
    return any(True for _ in case.events(Backward))


def _together(case: Case, pile: Sequence[tuple[StepRow, Kept]]) -> int:
    """The most steps of which a pile can have held results at once: what is let go of counts no more."""
    new: dict[int, set[int]] = defaultdict(set)
    for row, kept in pile:
        new[row.number].add(kept.step)
    most = held = 0
    for row in case.rows:
        held += len(new.get(row.number, ()))
        if row.alive is not None:
            held = min(held, row.alive[0])
        most = max(most, held)
    return most


def _steady(case: Case, first: int) -> bool:
    """Whether no more results are alive each time that the same step has come round, from row `first` on."""
    alive: dict[int, list[int]] = defaultdict(list)
    for row in case.rows:
        if row.number >= first and row.alive is not None:
            alive[row.template].append(row.alive[0])
    often = [counts for counts in alive.values() if len(counts) >= _ENOUGH]
    return bool(often) and all(max(counts) == min(counts) for counts in often)


def _only_newest(case: Case, pile: Sequence[tuple[StepRow, Kept]]) -> bool:
    """Whether the results are held by the very variable that they were given to, which holds one at a time."""
    for _, kept in pile:
        home = case.like(kept.step)
        name = home.tensors[kept.tensor].name if home is not None else ""
        if kept.stack is not None or not name.isidentifier() or kept.holder != name:
            return False
    return True


def _kept(case: Case, pile: Sequence[tuple[StepRow, Kept]], together: int) -> Finding:
    row, kept = pile[0]
    home = case.like(kept.step)
    assert home is not None
    made = home.maker(kept.tensor)
    name = home.tensors[kept.tensor].name
    if not name.strip("_"):  # `_` names nothing
        name = f"the result of {made.name}" if made is not None else "a result"
    line = case.place(kept.stack) if kept.stack is not None else None
    origin = case.place(made.stack) if made is not None else None
    steps = len({one.step for _, one in pile})
    known = kept.holder not in ("", name)
    holder = kept.holder if known else "a variable"
    bounded = together < steps / 2  # what is kept is let go of again
    return GRAPHS_KEPT.finding(
        f"{holder} keeps {name} of {together} steps with their graphs"
        if known
        else f"{name} of {together} steps is kept with its graphs",
        culprit=line or origin,
        step=row.number,
        confidence=SURE if line is not None else LIKELY,
        related=case.places((made.stack if made is not None and line is not None else None, f"{name} is made here")),
        explanation=f"{name} has a grad_fn, and behind it stands the whole graph of its step: as long as {holder} "
        f"holds it, nothing of that graph can be freed.{_growth([r for r, _ in pile])}",
        fix="keep the number or the values only, as .item() and .detach() give them",
        fixes=case.fixes(
            Way(
                "keep the values alone",
                "what is kept trains nothing",
                line,
                named_followed_by(name, ".detach()"),
            ),
            *(
                Way("keep the values without their graph", "what is kept trains nothing", line, change)
                for change in (assigned_followed_by(".detach()"), added_detached())
            ),
        ),
        severity=Severity.NOTE if bounded else None,
        nodes=[tensor_id(home.template, kept.tensor)],
    )


def _growth(rows: Sequence[StepRow]) -> str:
    """How the live graph grew over some steps, as a sentence; "" if it was not seen to grow."""
    counted = [(row.number, row.alive[1]) for row in rows if row.alive is not None and row.alive[1] >= 0]
    if len(counted) < 2 or counted[-1][1] <= counted[0][1]:
        return ""
    (first, few), (last, many) = counted[0], counted[-1]
    return f" The live graph grew from {few} grad nodes in step {first} to {many} in step {last}."


# -- graphs without an end -------------------------------------------------------------------------------


@check(ENDLESS_GRAPH)
def endless_graphs(case: Case) -> Iterator[Finding]:
    """Values that are made, with a gradient, from what the same line made in the step before."""
    if not _goes_back(case):
        return
    used = differentiated_later(case)
    chains: dict[int, list[tuple[StepRow, int]]] = defaultdict(list)
    for step in case.distinct:
        feeds = {} if evaluates(case, step) else _feeds(case, step)
        for row in case.repeats(step) if feeds else ():
            if unseen_after(case, row.number):
                continue  # a backward may go through all of it there
            for tensor, came, number in row.carried:
                stack = feeds.get(tensor)
                if stack is not None and (came, number) not in used and came >= 0:
                    chains[stack].append((row, tensor))
    for stack, links in chains.items():
        if len({row.number for row, _ in links}) >= _ENOUGH:
            yield _endless(case, stack, sorted(links, key=lambda link: link[0].number))


def _feeds(case: Case, step: Step) -> Mapping[int, int]:
    """Carried tensors with a graph -> the stack of the op that makes of them what was made of the last ones."""
    found: dict[int, int] = {}
    carried = [t for t in step.tensors if t.carried and t.requires_grad and t.grad_fn is not None and not t.is_leaf]
    if not carried:
        return found
    flow = Dataflow.of(case, step)
    for tensor in carried:
        home, there, op, _ = home_of(case, step, tensor.number)
        stacks = {home.moments[index].stack for index in Dataflow.of(case, home).writers.get(there, ())}
        if op is not None:
            stacks.add(op.stack)
        _, ops = flow.ahead([tensor.number], with_grad=True)
        for index in sorted(ops):
            call = flow.ops[index]
            grows = any(flow.needs_grad(result) for result in flow.results(index))
            if grows and (call.stack in stacks or tensor.number in flow.results(index)) and call.stack is not None:
                found[tensor.number] = call.stack
                break
    return found


def _endless(case: Case, stack: int, links: Sequence[tuple[StepRow, int]]) -> Finding:
    row, tensor = links[0]
    step = case.like(row.number)
    assert step is not None
    name = case.called(step, tensor)
    growth = _growth([r for r, _ in links])
    place = binding(case, step, stack) if step.kind is not StepKind.SETUP else case.place(stack)
    meaning = "it is for looking at, and trains nothing"
    fixes = case.fixes(Way("add the value without its graph", meaning, place, assigned_followed_by(".detach()")))
    return ENDLESS_GRAPH.finding(
        f"{name} is built from its own last value, graph and all: {len(links)} steps hang together",
        culprit=place,
        step=row.number,
        confidence=SURE if growth else LIKELY,
        explanation=f"Each new {name} has the last one behind it, and that one the one before: the graphs of all steps "
        f"stay in memory.{growth}",
        fix=said(
            fixes,
            f"add the number only to {name}, as .item() gives it, or use .detach() on what goes into it"
            if _adds_up(case, step, stack, tensor)
            else f"put numbers into {name}, as .item() gives them, or use .detach() on what goes into it",
        ),
        fixes=fixes,
        nodes=[tensor_id(step.template, tensor)],
    )


def _adds_up(case: Case, step: Step, stack: int, tensor: int) -> bool:
    """Whether the line adds to the value as it is: a sum, not a mean that weighs it anew."""
    calls = Dataflow.of(case, step).ops.values()
    return any(op.stack == stack and op.name in op_kinds.ADDS and tensor in op.inputs for op in calls)


CHECKS = (graphs_kept, endless_graphs)
