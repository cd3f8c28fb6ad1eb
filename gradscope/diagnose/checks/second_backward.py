"""Backwards that go once more through a graph: it was freed, or the weights it was made with are updated since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...model.build import tensor_id
from ...model.findings import Finding, Place, Severity
from ...model.fixes import said
from ...model.moments import Backward
from ...model.records import Kept
from ...model.trace import Step
from ..evidence.carriers import carrier, held_before, is_late_root, updated_between
from ..evidence.dataflow import Dataflow
from ..evidence.graph_fixes import both_followed, each_followed, graph_of_grad_kept, kept_apart, let_go, made_anew
from ..evidence.index import Case, Event, Origin, at
from ..evidence.keepers import Keeper, block_around, built_once_at, container, keeper_of, remembered_by
from ..evidence.players import Trespass, trespass
from ..evidence.step_links import Home, home_of
from ..evidence.torch_errors import ErrorKind, torch_error
from ..evidence.wording import optimizer_name, variable
from ..rules import CERTAIN, SURE, Rule, check

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
        came = carrier(case, event, stale=changed)
        if came is not None and freed and not updated_between(case, event, came):
            yield _several(case, event, came)
        elif came is not None and not is_late_root(case, event, came):
            yield _carried(case, event, came, freed)
        elif freed and came is None and (kept := held_before(case, event)) is not None:
            yield _held(case, event, kept)
        elif freed:
            yield _twice(case, event)


def _carried(case: Case, event: Event[Backward], came: int, freed: bool) -> Finding:
    step, backward = event.step, event.moment
    home = home_of(case, step, came)
    again = home.op is not None and any(one.stack == home.op.stack for one in Dataflow.of(case, step).ops.values())
    kept = _kept_in(case, home.number, home.tensor) if again else None
    if kept is not None:
        keeper = Keeper(case.place(kept.stack))
    else:
        keeper = keeper_of(case, home, step, came) if again else built_once_at(case, home, step)
    called = case.called(home.step, home.tensor)
    name = keeper.name or called
    before = _backward_of(case, home.number, home.step)
    places = case.places(
        (before.stack if before is not None else None, "the backward that freed it" if freed else "its own backward"),
        (step.tensors[came].first_use, f"{name} comes into this step here"),
        (backward.stack, "this backward raises"),
    )
    places = (*(replace(place, note="kept here, too") for place in keeper.others), *places)
    happened = (
        f"The backward of {_then(home)} freed that graph, and this one needs it again."
        if freed
        else "Its weights have been updated by the optimizer since, so what that graph saved is out of date."
    )
    if not again:
        return _built_once(case, event, came, keeper._replace(name=name), places, happened)
    culprit = keeper.place
    pile = container(culprit.code, culprit.expression) if culprit is not None else ""
    return CARRIED_GRAPH.finding(
        f"{pile} still holds {name} of {_then(home)}, graph and all, in step {step.number}"
        if pile
        else f"{name} brings the graph of {_then(home)} into step {step.number}",
        culprit=culprit,
        step=step.number,
        confidence=CERTAIN,
        related=places,
        explanation=f"{name} still has its history when the next step uses it, so this backward goes on into "
        f"{_then(home)}. {happened}",
        fix=f"empty it once its values are used, after each update: {pile}.clear()"
        if pile
        else _kept_without_graph(name, keeper) + ("" if freed else "; and leave out retain_graph=True"),
        fixes=case.fixes(*let_go(case, called, pile, None if _makes_loss(event, culprit) else culprit, backward)),
        nodes=[tensor_id(step.template, came)],
    )


def _makes_loss(event: Event[Backward], culprit: Place | None) -> bool:
    """Whether a line gives a name to what the backward starts from: without its graph that would train nothing."""
    bound = culprit.code.partition("=")[0].strip() if culprit is not None else ""
    return any(event.step.tensors[root].name == bound for root in event.moment.roots)


def _kept_without_graph(name: str, keeper: Keeper) -> str:
    """What to do about a value that is kept with its history: where the line is known, there."""
    if keeper.name:
        return f"put what {name} keeps there without its graph: .detach() on what it is given"
    return f"detach {name} before the next step, each tensor of it if it is a tuple"


def _built_once(
    case: Case, event: Event[Backward], came: int, keeper: Keeper, places: Sequence[Place], happened: str
) -> Finding:
    """A value that was computed once, by whatever keeps it: an attribute, a function that remembers, a block."""
    step, culprit, name = event.step, keeper.place, keeper.name
    home = home_of(case, step, came)
    path = case.names.box(home.op.module) if home.op is not None else None
    derived = path is not None and "parametrizations" in path.split(".")  # torch itself keeps such values in a block
    lines = [at(site) for site in case.sites(event.moment.stack)] if derived else []
    block = next((found for line in lines if (found := block_around(case, line, "cached")) is not None), None)
    memo = remembered_by(case, culprit)
    if block is not None:
        how, fix = f"{block.expression} keeps it", "open that block anew in each step, around its forward"
        places = (*(() if culprit is None else (replace(culprit, note=f"{name} is computed here"),)), *places)
    elif memo:
        instead = f"@property instead of @{memo}" if memo.endswith("property") else f"no @{memo}"
        how, fix = f"@{memo} keeps it", f"use {instead}: what is trained is computed anew for each backward"
    else:
        how = "The graph is built where it is computed"
        fix = f"compute {name} inside the loop, anew for each backward; detach it if it trains nothing"
    return BUILT_ONCE.finding(
        f"{name} was computed once, in {_then(home)}, and every step goes back through its graph",
        culprit=block or culprit,
        step=step.number,
        confidence=CERTAIN,
        related=places,
        explanation=f"{how}. {happened}",
        fix=fix,
        fixes=() if block or memo else case.fixes(*made_anew(case, step, name, culprit, event.moment, came)),
        nodes=[tensor_id(step.template, came)],
    )


def _held(case: Case, event: Event[Backward], kept: Kept) -> Finding:
    """Results of an earlier step that something holds came into this one where no op of theirs was seen."""
    step = event.step
    home = case.like(kept.step)
    made = home.maker(kept.tensor) if home is not None else None
    then = "the setup" if kept.step < 0 else f"step {kept.step}"
    return BUILT_ONCE.finding(
        f"{kept.holder} holds results of {then}, graph and all, and the backwards of later steps go through them",
        culprit=case.place(made.stack if made is not None else kept.stack),
        step=step.number,
        confidence=SURE,
        related=case.places((event.moment.stack, "this backward raises")),
        explanation=f"What {kept.holder} holds was computed once. An earlier backward freed its graph, and this one "
        "needs it again.",
        fix=f"keep in {kept.holder} what they are computed from, and compute them anew for each backward; "
        "if nothing behind them is trained, keep them without their graph: .detach()",
        nodes=[tensor_id(step.template, tensor) for tensor in event.moment.roots],
    )


def _then(home: Home) -> str:
    return "the setup" if home.number < 0 else f"step {home.number}"


def _several(case: Case, event: Event[Backward], came: int) -> Finding:
    """One loss after the other goes back through the same value, and no update lies between them."""
    step, backward = event.step, event.moment
    home = home_of(case, step, came)
    name = case.called(home.step, home.tensor)
    before = _backward_of(case, home.number, home.step)
    return BACKWARD_TWICE.finding(
        f"a loop calls backward for one loss after the other, and all go back through the graph of {name}",
        culprit=case.place(backward.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places(
            (home.op.stack if home.op is not None else None, f"{name} is computed here, once for all of them"),
            (before.stack if before is not None else None, "this backward freed the graph"),
        ),
        explanation=f"A backward frees what its graph saved. The first one freed the graph of {name}; no update lies "
        "between, so all of them belong together.",
        fix="add the losses and call backward once after the loop; where each gradient is wanted by itself, "
        "retain_graph=True in all but the last",
        fixes=case.fixes(*each_followed(case, backward)),
        nodes=[tensor_id(step.template, tensor) for tensor in backward.roots],
    )


def _kept_in(case: Case, step: int, tensor: int) -> Kept | None:
    """What kept the tensor beyond its step, if the statement that put it there was found."""
    kept = (one for row in case.rows for one in row.kept)
    return next((one for one in kept if (one.step, one.tensor) == (step, tensor) and one.stack is not None), None)


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


def _twice(case: Case, event: Event[Backward]) -> Finding:
    step, backward = event.step, event.moment
    earlier = _freed_by(case, event) if not step.row.light else None
    into = trespass(case, earlier, event) if earlier is not None else None
    if earlier is not None and into is not None:
        return _trespassing(case, earlier, event, into)
    if earlier is not None and earlier.moment.call == "grad" and earlier.step is step:
        return _after_grad(case, earlier, event)
    root = _root(case, event, "the loss")
    other = _root(case, earlier, "the first loss") if earlier is not None else "the first loss"
    shared = _shared(case, step, earlier.moment, backward) if earlier is not None and earlier.step is step else ""
    both = earlier is not None and _roots(case, earlier) != _roots(case, event)
    if step.row.light:
        message = f"{root} goes back through a graph that an earlier backward has freed"
        fix = "call backward once for each forward, and detach what is taken over from earlier steps"
    elif earlier is not None and not both:
        message, fix = f"{root} is differentiated a second time", f"call {variable(root, 'loss')}.backward() once"
    else:
        message = f"{root} goes back through a graph that the backward of {_apart(other, root)} has freed"
        fix = "add the losses and call backward once" + (
            f": ({other} + {root}).backward()" if other != root and variable(other, "") and variable(root, "") else ""
        )
    return BACKWARD_TWICE.finding(
        message,
        culprit=case.place(backward.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((earlier.moment.stack if earlier is not None else None, "this backward freed the graph")),
        explanation=f"A backward frees what its graph saved.{shared} The second one finds it gone.",
        fix=fix,
        fixes=case.fixes(*both_followed(case, earlier, event)) if both and earlier is not None else (),
        nodes=[tensor_id(step.template, tensor) for tensor in backward.roots],
    )


def _after_grad(case: Case, earlier: Event[Backward], event: Event[Backward]) -> Finding:
    """torch.autograd.grad freed a graph that is needed again: for what its gradients are part of, or another time."""
    step, flow = event.step, Dataflow.of(case, event.step)
    gradients = {out for op, call in flow.ops.items() if call.stack == earlier.moment.stack for out in call.outputs}
    used = bool(gradients & flow.behind(event.moment.roots, event.position)[0])
    keyword = "create_graph" if used else "retain_graph"
    fixes = case.fixes(*graph_of_grad_kept(case, earlier.moment, keyword))
    return BACKWARD_TWICE.finding(
        f"torch.autograd.grad freed the graph of {_root(case, earlier, 'its result')}, and a later backward needs it",
        culprit=case.place(earlier.moment.stack),
        step=step.number,
        confidence=CERTAIN,
        related=case.places((event.moment.stack, "this backward raises")),
        explanation="autograd.grad frees what the graph saved, as backward() does"
        + (
            ", and without create_graph=True its gradients are constants: the term made of them would train nothing."
            if used
            else "."
        ),
        fix=said(fixes, f"pass {keyword}=True to torch.autograd.grad"),
        fixes=fixes,
        nodes=[tensor_id(step.template, tensor) for tensor in event.moment.roots],
    )


def _trespassing(case: Case, earlier: Event[Backward], event: Event[Backward], into: Trespass) -> Finding:
    """One player's loss goes on into the other player's graph, which both backwards then need."""
    step = event.step
    value = case.called(into.home, into.value)
    loss, other = (
        _root(case, into.loss, "this loss"),
        _root(case, earlier if into.loss is event else event, "the other"),
    )
    owner = " and ".join(sorted({optimizer_name(case, number) for number in into.optimizers}))
    happened = "which is freed by then" if into.loss is event else "and frees it"
    other = _apart(other, loss) if into.loss is event else _apart(other, loss, "a later")
    return BACKWARD_TWICE.finding(
        f"{value} is not detached: the backward of {loss} goes through it into the graph of {other}, {happened}",
        culprit=case.place(into.stack),
        step=step.number,
        confidence=SURE,
        related=case.places(
            (earlier.moment.stack, "this backward freed the graph"),
            (event.moment.stack, "this backward raises"),
        ),
        explanation=f"{value} brings along the graph of parameters that {owner} updates. No step that follows "
        f"{loss} uses their gradients: here {value} is to be taken as it is, as data.",
        fix=f"use {variable(value, 'it')}.detach() on this line",
        fixes=case.fixes(*kept_apart(case, into)),
        nodes=[tensor_id(step.template, into.value)] if into.home.template is step.template else [],
    )


def _root(case: Case, event: Event[Backward], otherwise: str) -> str:
    return case.called(event.step, event.moment.roots[0]) if event.moment.roots else otherwise


def _apart(name: str, other: str, which: str = "an earlier") -> str:
    """A loss's name where another is told of beside it."""
    return name if name != other else f"{which} {name}"


def _roots(case: Case, event: Event[Backward]) -> Sequence[Origin]:
    return [case.origin(event.step, root) for root in event.moment.roots]


def _freed_by(case: Case, event: Event[Backward]) -> Event[Backward] | None:
    """The earlier backward that ran through some of the same nodes: of the step, or the last of those before."""
    step = event.step
    ops = _ops(step, event.moment)
    here = [one for one in case.events(Backward, step) if one.position < event.position and one.moment.error is None]
    same = [one for one in here if ops & _ops(step, one.moment)]
    if same or ops:
        return same[-1] if same else None
    steps = [one for one in case.distinct if one.number < step.number]  # all of its graph is of an earlier step
    before = [one for home in steps for one in case.events(Backward, home) if one.moment.error is None]
    return before[-1] if before else None


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
