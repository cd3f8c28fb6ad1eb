"""Graphs that live too long: freed by one backward and needed by the next, or growing from step to step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..model.build import tensor_id
from ..model.findings import Finding, Place, Severity
from ..model.records import Backward, Kept, OpCall, StepKind, StepRow
from ..model.trace import Step
from .case import Case, Origin
from .check import CERTAIN, LIKELY, SURE, Rule, check
from .evaluation import evaluates
from .reach import Reach, binding

CARRIED_GRAPH = Rule(
    "GS401", "graph-carried-over", Severity.ERROR, "A tensor carries the graph of an earlier step into this one."
)
BUILT_ONCE = Rule(
    "GS402", "graph-built-once", Severity.ERROR, "A value is computed once, and every step goes back through its graph."
)
BACKWARD_TWICE = Rule(
    "GS403", "backward-twice", Severity.ERROR, "A second backward goes through a graph that the first one freed."
)
GRAPHS_KEPT = Rule(
    "GS404", "graphs-kept", Severity.WARNING, "Results are kept with their graphs, so no step's graph can be freed."
)
ENDLESS_GRAPH = Rule(
    "GS405",
    "graph-grows",
    Severity.WARNING,
    "A value is built from its own last one: its graph grows with each step.",
)

_FREED = "backward through the graph a second time"
_CHANGED = "modified by an inplace operation"
_ENOUGH = 3  # steps that add to a pile before it counts as growing


# -- backwards that raise --------------------------------------------------------------------------------


@check(CARRIED_GRAPH, BUILT_ONCE, BACKWARD_TWICE)
def second_backwards(case: Case) -> Iterator[Finding]:
    """Backwards that raised since the graph behind them was freed, or since its weights have been updated."""
    for event in case.events(Backward):
        error = event.moment.error or ""
        if _FREED not in error and _CHANGED not in error:
            continue
        step, backward = event.step, event.moment
        carrier = _carrier(case, step, backward, event.position, stale=_CHANGED in error)
        if carrier is not None and carrier in backward.roots and not _was_root(case, step, carrier, event.position):
            yield _twice(case, step, event.position, backward)
        elif carrier is not None:
            yield _carried(case, step, backward, carrier, _FREED in error)
        elif _FREED in error:
            yield _twice(case, step, event.position, backward)


def _carrier(case: Case, step: Step, backward: Backward, position: int, *, stale: bool) -> int | None:
    """The tensor of an earlier step through which a backward reaches that step's graph."""
    graph = step.graphs[backward.graph] if 0 <= backward.graph < len(step.graphs) else None
    if graph is None:
        return None
    old = [node for node in graph.nodes if node.carried]
    if stale:
        here = any(saved.stale for node in graph.nodes if not node.carried for saved in node.saved)
        old = [] if here or not any(saved.stale for node in old for saved in node.saved) else old
    if not old:
        return None
    reach = Reach.of(case, step)
    behind, _ = reach.behind(backward.roots, position)
    found = [
        tensor.number
        for tensor in step.tensors
        if tensor.made_by is None and tensor.requires_grad and tensor.grad_fn is not None and tensor.number in behind
    ]
    direct = [root for root in backward.roots if step.tensors[root].carried]
    return next(iter((*direct, *found)), None)


def _home(case: Case, step: Step, tensor: int) -> tuple[Step, int, OpCall | None, int]:
    """(step, number there, the op that made it, that step's number) of a tensor that was carried over."""
    origin = case.origin(step, tensor)
    kept = step.tensors[tensor].parameter
    if kept is not None and origin.step == step.number:  # a module's buffer has a name of its own in every step
        origin = _last_made(case, kept, step.number) or origin
    home = case.like(origin.step)
    if home is None or origin.tensor >= len(home.tensors):
        return step, tensor, None, step.number
    made = home.tensors[origin.tensor].made_by
    op = home.moments[made] if made is not None else None
    return home, origin.tensor, op if isinstance(op, OpCall) else None, origin.step


def _last_made(case: Case, parameter: int, before: int) -> Origin | None:
    """The last step before `before` whose op made this buffer's value."""
    for row in reversed(case.rows):
        home = case.like(row.number) if row.number < before else None
        for tensor in home.tensors if home is not None else ():
            if tensor.parameter == parameter and tensor.made_by is not None:
                return Origin(row.number, tensor.number)
    return None


def _carried(case: Case, step: Step, backward: Backward, carrier: int, freed: bool) -> Finding:
    home, there, op, number = _home(case, step, carrier)
    name = home.tensors[there].name or case.called(step, carrier)
    again = op is not None and any(one.stack == op.stack for one in Reach.of(case, step).ops.values())
    before = _backward_of(case, number, home)
    use = step.tensors[carrier].first_use
    places = case.places(
        (before.stack if before is not None else None, "the backward that freed it" if freed else "its own backward"),
        (use, f"{name} comes into this step here"),
        (backward.stack, "this backward raises"),
    )
    then = "the setup" if number < 0 else f"step {number}"
    happened = (
        f"The backward of {then} freed that graph, and this one needs it again."
        if freed
        else "Its weights have been updated by the optimizer since, so what that graph saved is out of date."
    )
    if again:
        culprit = _stored(case, number, there) or (binding(case, home, op.stack) if op is not None else None)
        return CARRIED_GRAPH.finding(
            f"{name} brings the graph of {then} into step {step.number}",
            culprit=culprit,
            step=step.number,
            confidence=CERTAIN,
            related=places,
            explanation=f"{name} still has its history when the next step uses it, so this backward goes on into "
            f"{then}. {happened}",
            fix=f"detach it before the next step: {_plain(name)} = {_plain(name)}.detach()"
            ", each tensor of it if it is a tuple" + ("" if freed else "; and leave out retain_graph=True"),
            nodes=[tensor_id(step.template, carrier)],
        )
    culprit = binding(case, step, op.stack) if op is not None else None
    return BUILT_ONCE.finding(
        f"{name} was computed once, in {then}, and every step goes back through its graph",
        culprit=culprit,
        step=step.number,
        confidence=CERTAIN,
        related=places,
        explanation=f"The graph behind {name} is built where it is computed. {happened}",
        fix=f"compute {_plain(name)} inside the loop, anew for each backward (or detach it if it is a constant)",
        nodes=[tensor_id(step.template, carrier)],
    )


def _plain(name: str) -> str:
    return name if all(part.isidentifier() for part in name.split(".")) else "state"


def _stored(case: Case, step: int, tensor: int) -> Place | None:
    """The statement that kept the tensor beyond its step, if it was found."""
    for row in case.rows:
        for kept in row.kept:
            if (kept.step, kept.tensor) == (step, tensor) and kept.stack is not None:
                return case.place(kept.stack)
    return None


def _backward_of(case: Case, number: int, home: Step) -> Backward | None:
    """The last backward of the step that made a tensor."""
    found = [event.moment for event in case.events(Backward, home) if event.moment.error is None]
    if found:
        return found[-1]
    later = [row for row in case.rows if row.number > number]
    for row in later[:1]:
        step = case.like(row.number)
        done = [event.moment for event in case.events(Backward, step) if event.moment.error is None] if step else []
        return done[0] if done else None
    return None


def _twice(case: Case, step: Step, position: int, backward: Backward) -> Finding:
    earlier = _freed_by(step, case, position, backward)
    root = case.called(step, backward.roots[0]) if backward.roots else "the loss"
    other = case.called(step, earlier.roots[0]) if earlier is not None and earlier.roots else "the first loss"
    same = earlier is not None and earlier.roots == backward.roots
    shared = _shared(case, step, earlier, backward) if earlier is not None else ""
    if same:
        message, fix = f"{root} is differentiated a second time", f"call {_plain(root)}.backward() once in each step"
    else:
        message = f"{root} goes back through a graph that the backward of {other} has freed"
        fix = f"add them and call backward once: ({_plain(other)} + {_plain(root)}).backward()"
    return BACKWARD_TWICE.finding(
        message,
        culprit=case.place(backward.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((earlier.stack if earlier is not None else None, "this backward freed the graph")),
        explanation=f"A backward frees what its graph saved.{shared} The second one finds it gone.",
        fix=fix,
        nodes=[tensor_id(step.template, tensor) for tensor in backward.roots],
    )


def _freed_by(step: Step, case: Case, position: int, backward: Backward) -> Backward | None:
    """The earlier backward of the step that ran through some of the same nodes."""
    ops = _ops(step, backward)
    found = None
    for event in case.events(Backward, step):
        if event.position < position and event.moment.error is None and ops & _ops(step, event.moment):
            found = event.moment
    if found is None and not ops:  # all of its graph is of an earlier step
        earlier = [
            event.moment for one in case.distinct if one.number < step.number for event in case.events(Backward, one)
        ]
        found = earlier[-1] if earlier else None
    return found


def _was_root(case: Case, step: Step, tensor: int, position: int) -> bool:
    """Whether an earlier backward started from this very tensor."""
    origin = case.origin(step, tensor)
    for row in case.rows:
        one = case.like(row.number)
        if row.number > step.number or one is None:
            break
        for event in case.events(Backward, one):
            if row.number == step.number and event.position >= position:
                break
            here = Step(case.trace, row)
            if any(case.origin(here, root) == origin for root in event.moment.roots):
                return True
    return False


def _ops(step: Step, backward: Backward) -> set[int]:
    graph = step.graphs[backward.graph] if 0 <= backward.graph < len(step.graphs) else None
    return {node.op for node in graph.nodes if node.op is not None} if graph is not None else set()


def _shared(case: Case, step: Step, one: Backward, other: Backward) -> str:
    ops = sorted(_ops(step, one) & _ops(step, other))
    made = step.moments[ops[-1]] if ops else None
    if not isinstance(made, OpCall) or not made.outputs:
        return ""
    return f" Both go through {case.called(step, made.outputs[0])}."


# -- graphs that pile up ---------------------------------------------------------------------------------


class Pile(NamedTuple):
    """Results that one statement keeps: (row in which each was found, what was kept)."""

    kept: Sequence[tuple[StepRow, Kept]]


@check(GRAPHS_KEPT)
def graphs_kept(case: Case) -> Iterator[Finding]:
    """Results with graphs that stay alive after their step, step after step, held by the same place."""
    used = differentiated_later(case)
    piles: dict[tuple[int | None, str], list[tuple[StepRow, Kept]]] = defaultdict(list)
    for row in case.rows:
        for kept in row.kept:
            home = case.like(kept.step)
            if home is None or (kept.step, kept.tensor) in used or kept.tensor >= len(home.tensors):
                continue
            if evaluates(case, home):
                continue  # told as an evaluation that builds graphs
            made = _made(home, kept.tensor)
            key = kept.stack if kept.stack is not None else (made.stack if made is not None else None)
            piles[key, kept.holder].append((row, kept))
    for pile in piles.values():
        together = _together(case, pile)
        if together >= _ENOUGH and not _only_newest(case, pile):
            yield _kept(case, pile, together)


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


def _only_newest(case: Case, pile: Sequence[tuple[StepRow, Kept]]) -> bool:
    """Whether the results are held by the very variable that they were given to, which holds one at a time."""
    for _, kept in pile:
        home = case.like(kept.step)
        name = home.tensors[kept.tensor].name if home is not None else ""
        if kept.stack is not None or not name.isidentifier() or kept.holder != name:
            return False
    return True


def _made(home: Step, tensor: int) -> OpCall | None:
    index = home.tensors[tensor].made_by
    op = home.moments[index] if index is not None else None
    return op if isinstance(op, OpCall) else None


def differentiated_later(case: Case) -> set[tuple[int, int]]:
    """Tensors (step, number) that a backward of a later step went through, without an error."""
    return case.once(differentiated_later, lambda: _differentiated_later(case))


def _differentiated_later(case: Case) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for step in case.distinct:
        backwards = [event.moment for event in case.events(Backward, step) if event.moment.error is None]
        old = any(
            node.carried
            for one in backwards
            if 0 <= one.graph < len(step.graphs)
            for node in step.graphs[one.graph].nodes
        )
        if not old:
            continue
        behind, _ = Reach.of(case, step).behind([root for one in backwards for root in one.roots])
        for row in case.repeats(step):
            found.update((came, number) for tensor, came, number in row.carried if tensor in behind)
    return found


def _kept(case: Case, pile: Sequence[tuple[StepRow, Kept]], together: int) -> Finding:
    row, kept = pile[0]
    home = case.like(kept.step)
    assert home is not None
    made = _made(home, kept.tensor)
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
        fix=f"keep the number or the values only: {_plain(name)}.item(), or {_plain(name)}.detach()",
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
    used = differentiated_later(case)
    chains: dict[int, list[tuple[StepRow, int]]] = defaultdict(list)
    for step in case.distinct:
        feeds = {} if evaluates(case, step) else _feeds(case, step)
        for row in case.repeats(step) if feeds else ():
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
    reach = Reach.of(case, step)
    for tensor in carried:
        home, there, op, _ = _home(case, step, tensor.number)
        stacks = {home.moments[index].stack for index in Reach.of(case, home).writers.get(there, ())}
        if op is not None:
            stacks.add(op.stack)
        _, ops = reach.ahead([tensor.number], with_grad=True)
        for index in sorted(ops):
            call = reach.ops[index]
            grows = any(reach.needs_grad(result) for result in reach.results(index))
            if grows and (call.stack in stacks or tensor.number in reach.results(index)) and call.stack is not None:
                found[tensor.number] = call.stack
                break
    return found


def _endless(case: Case, stack: int, links: Sequence[tuple[StepRow, int]]) -> Finding:
    row, tensor = links[0]
    step = case.like(row.number)
    assert step is not None
    name = case.called(step, tensor)
    growth = _growth([r for r, _ in links])
    return ENDLESS_GRAPH.finding(
        f"{name} is built from its own last value, graph and all: {len(links)} steps hang together",
        culprit=binding(case, step, stack) if step.kind is not StepKind.SETUP else case.place(stack),
        step=row.number,
        confidence=SURE if growth else LIKELY,
        explanation=f"Each new {name} has the last one behind it, and that one the one before: the graphs of all steps "
        f"stay in memory.{growth}",
        fix=f"add the number only: {_plain(name)} += loss.item(), or use .detach() on what goes into it"
        if _adds_up(case, step, stack, tensor)
        else f"put numbers into {name}, as .item() gives them, or use .detach() on what goes into it",
        nodes=[tensor_id(step.template, tensor)],
    )


def _adds_up(case: Case, step: Step, stack: int, tensor: int) -> bool:
    """Whether the line adds to the value as it is: a sum, not a mean that weighs it anew."""
    ops = Reach.of(case, step).ops.values()
    return any(op.stack == stack and "add" in op.name and tensor in op.inputs for op in ops)


CHECKS = (second_backwards, graphs_kept, endless_graphs)
