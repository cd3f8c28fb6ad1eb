"""Backwards that go once more through a graph: it was freed, or the weights it was made with are updated since."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.moments import Backward
from ...model.trace import Step
from ...repair.changes.calls import with_keyword
from ...repair.changes.statements import built_before, moved
from ...repair.changes.values import assigned_followed_by, detached_each, named_followed_by, rebound
from ...repair.ways import Way
from ..evidence.dataflow import Dataflow
from ..evidence.index import Case, at
from ..evidence.players import entry_of, names_at, own_player, steps_between
from ..evidence.step_links import binding, home_of
from ..evidence.torch_errors import ErrorKind, torch_error
from ..evidence.wording import variable
from ..rules import CERTAIN, Rule, check

CARRIED_GRAPH = Rule(
    "GS401", "graph-carried-over", Severity.ERROR, "A tensor carries the graph of an earlier step into this one."
)
BUILT_ONCE = Rule(
    "GS402", "graph-built-once", Severity.ERROR, "A value is computed once, and every step goes back through its graph."
)
BACKWARD_TWICE = Rule(
    "GS403", "backward-twice", Severity.ERROR, "A second backward goes through a graph that the first one freed."
)


@check(CARRIED_GRAPH, BUILT_ONCE, BACKWARD_TWICE)
def second_backwards(case: Case) -> Iterator[Finding]:
    """Backwards that raised since the graph behind them was freed, or since its weights have been updated."""
    for event in case.events(Backward):
        kind = torch_error(event.moment.error).kind
        freed, changed = kind is ErrorKind.GRAPH_FREED, kind is ErrorKind.SAVED_TENSOR_MODIFIED
        if not freed and not changed:
            continue
        step, backward = event.step, event.moment
        carrier = _carrier(case, step, backward, event.position, stale=changed)
        if carrier is not None and carrier in backward.roots and not _was_root(case, step, carrier, event.position):
            yield _twice(case, step, event.position, backward)
        elif carrier is not None:
            yield _carried(case, step, backward, carrier, freed)
        elif freed:
            yield _twice(case, step, event.position, backward)


def _carrier(case: Case, step: Step, backward: Backward, position: int, *, stale: bool) -> int | None:
    """The tensor of an earlier step through which a backward reaches that step's graph."""
    graph = step.behind(backward)
    if graph is None:
        return None
    old = [node for node in graph.nodes if node.carried]
    if stale:
        here = any(saved.stale for node in graph.nodes if not node.carried for saved in node.saved)
        old = [] if here or not any(saved.stale for node in old for saved in node.saved) else old
    if not old:
        return None
    flow = Dataflow.of(case, step)
    behind, _ = flow.behind(backward.roots, position)
    found = [
        tensor.number
        for tensor in step.tensors
        if tensor.made_by is None and tensor.requires_grad and tensor.grad_fn is not None and tensor.number in behind
    ]
    direct = [root for root in backward.roots if step.tensors[root].carried]
    return next(iter((*direct, *found)), None)


def _carried(case: Case, step: Step, backward: Backward, carrier: int, freed: bool) -> Finding:
    home, there, op, number = home_of(case, step, carrier)
    name = home.tensors[there].name or case.called(step, carrier)
    again = op is not None and any(one.stack == op.stack for one in Dataflow.of(case, step).ops.values())
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
            fix=f"detach it before the next step: {variable(name)} = {variable(name)}.detach()"
            ", each tensor of it if it is a tuple" + ("" if freed else "; and leave out retain_graph=True"),
            fixes=case.fixes(*_let_go(case, name, culprit, backward)),
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
        fix=f"compute {variable(name)} inside the loop, anew for each backward (or detach it if it is a constant)",
        fixes=case.fixes(*_made_anew(case, step, name, culprit, backward, carrier)),
        nodes=[tensor_id(step.template, carrier)],
    )


def _let_go(case: Case, name: str, culprit: Place | None, backward: Backward) -> Iterator[Way]:
    """The ways to end a state's history with its step."""
    meaning, place = "each step trains by its own graph; the values go on", case.place(backward.stack)
    if name.isidentifier():
        yield Way("detach it after the backward", meaning, place, rebound(name, ".detach()", before=False))
        yield Way("detach it before it is used", meaning, culprit, rebound(name, ".detach()", before=True))
        yield Way("detach each tensor of it", meaning, place, detached_each(name))
    yield Way("keep it without its history", meaning, culprit, named_followed_by(name, ".detach()"))
    yield Way("keep it without its history", meaning, culprit, assigned_followed_by(".detach()"))


def _made_anew(
    case: Case, step: Step, name: str, culprit: Place | None, backward: Backward, carrier: int
) -> Iterator[Way]:
    """The ways to have a graph for each backward; a value that trains nothing is a constant."""
    use = case.place(step.tensors[carrier].first_use)
    graph = step.behind(backward)
    leaves = [node.tensor for node in graph.nodes if node.tensor is not None and node.carried] if graph else []
    if any(case.is_optimized(step, leaf) for leaf in leaves) or carrier in backward.roots:
        meaning = "it is computed with the weights of that step"
        yield Way(f"compute {name} in each step", meaning, use, built_before(name))
        yield Way(f"compute {name} in each step", meaning, culprit, moved(use, before=True, same_loops=False))
    else:
        yield Way("keep it as a constant", "nothing behind it is trained", culprit, assigned_followed_by(".detach()"))


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
    earlier = _freed_by(step, case, position, backward) if not step.row.light else None
    root = case.called(step, backward.roots[0]) if backward.roots else "the loss"
    other = case.called(step, earlier.roots[0]) if earlier is not None and earlier.roots else "the first loss"
    same = earlier is not None and earlier.roots == backward.roots
    shared = _shared(case, step, earlier, backward) if earlier is not None else ""
    if step.row.light:
        message = f"{root} goes back through a graph that an earlier backward has freed"
        fix = "call backward once for each forward, and detach what is taken over from earlier steps"
    elif same:
        message, fix = f"{root} is differentiated a second time", f"call {variable(root)}.backward() once in each step"
    else:
        message = f"{root} goes back through a graph that the backward of {other} has freed"
        fix = f"add them and call backward once: ({variable(other)} + {variable(root)}).backward()"
    return BACKWARD_TWICE.finding(
        message,
        culprit=case.place(backward.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((earlier.stack if earlier is not None else None, "this backward freed the graph")),
        explanation=f"A backward frees what its graph saved.{shared} The second one finds it gone.",
        fix=fix,
        fixes=case.fixes(*_apart(case, step, position, backward, earlier)) if earlier is not None and not same else (),
        nodes=[tensor_id(step.template, tensor) for tensor in backward.roots],
    )


def _apart(case: Case, step: Step, position: int, backward: Backward, earlier: Backward) -> Iterator[Way]:
    """The ways for two losses that share a graph: those of one player are both wanted, others are kept apart."""
    first = next((event.position for event in case.events(Backward, step) if event.moment is earlier), None)
    if first is None:
        return
    own = own_player(case, step, (first, earlier), (position, backward))
    if own is not None:
        entry = entry_of(case, step, first, earlier, own)
        stack = step.stack(entry.op) if entry is not None else None
        meaning = "each loss trains its own player only"
        for site in case.sites(stack) if entry is not None else ():
            for name in names_at(case, step, entry, site):
                yield Way(f"detach {name} in the first loss", meaning, at(site), named_followed_by(name, ".detach()"))
        return
    between = steps_between(case, step, first, position)
    if not between:
        yield Way(
            "keep the graph for the second loss",
            "both losses are followed, as their sum would be",
            case.place(earlier.stack),
            with_keyword(("backward",), "retain_graph", "True"),
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
    graph = step.behind(backward)
    return {node.op for node in graph.nodes if node.op is not None} if graph is not None else set()


def _shared(case: Case, step: Step, one: Backward, other: Backward) -> str:
    ops = sorted(_ops(step, one) & _ops(step, other))
    made = step.op(ops[-1]) if ops else None
    if made is None or not made.outputs:
        return ""
    return f" Both go through {case.called(step, made.outputs[0])}."


CHECKS = (second_backwards,)
