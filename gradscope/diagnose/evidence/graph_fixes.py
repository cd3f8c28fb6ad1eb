"""How a graph that was freed, or whose weights are no longer those it was made with, is kept out of a backward."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.findings import Place
from ...model.moments import Backward, OptimizerStep
from ...model.trace import Step
from ...repair.changes.attributes import computed_where_used, emptied_by_its_owner
from ...repair.changes.calls import with_keyword
from ...repair.changes.heads import unguarded
from ...repair.changes.loops import into_the_loop
from ...repair.changes.statements import built_before, emptied, moved
from ...repair.changes.values import (
    assigned_followed_by,
    detached_each,
    named_followed_by,
    names_detached,
    only_argument_followed_by,
    rebound,
)
from ...repair.ways import Way
from .dataflow import Dataflow
from .index import Case, Event, at
from .loss_terms import leaves
from .parameters import Ownership
from .players import Trespass
from .step_links import home_of


def let_go(case: Case, name: str, pile: str, culprit: Place | None, backward: Backward) -> Iterator[Way]:
    """The ways to end a state's history with its step; a pile is emptied: without its graphs it would train nothing."""
    meaning, place = "each step trains by its own graph; the values go on", case.place(backward.stack)
    if pile:
        mine = "each update follows its own results"
        yield Way("empty it once it is used", mine, place, emptied(pile))
        yield Way("empty it once it is used", mine, culprit, emptied_by_its_owner(pile, place))
        return
    if all(part.isidentifier() for part in name.split(".")):
        yield Way("detach it after the backward", meaning, place, rebound(name, ".detach()", before=False))
        yield Way("detach it before it is used", meaning, culprit, rebound(name, ".detach()", before=True))
        yield Way("detach each tensor of it", meaning, place, detached_each(name))
    yield Way("detach them before they are used", meaning, culprit, names_detached())
    yield Way("keep it without its history", meaning, culprit, named_followed_by(name, ".detach()"))
    yield Way("keep it without its history", meaning, culprit, assigned_followed_by(".detach()"))


def made_anew(case: Case, step: Step, name: str, culprit: Place | None, backward: Backward, came: int) -> Iterator[Way]:
    """The ways to have a graph for each backward; a value that is seen to train nothing is a constant."""
    use = case.place(step.tensors[came].first_use)
    home = home_of(case, step, came)
    behind = leaves(Dataflow.of(case, home.step), home.tensor, len(home.step.moments))
    if behind & Ownership.of(case).updated or came in backward.roots:
        meaning = "it is computed with the weights of that step"
        yield Way(f"compute {name} in each step", meaning, use, built_before(name))
        yield Way(f"compute {name} in each step", meaning, culprit, moved(use, before=True, same_loops=False))
        yield Way(f"compute {name} each time, not only the first", meaning, culprit, unguarded())
        yield Way(f"compute {name} where it is used", meaning, culprit, computed_where_used())
        for site in case.sites(backward.stack):
            yield Way(f"compute {name} in each step", meaning, culprit, into_the_loop(at(site)))
    elif home.op is not None:
        yield Way("keep it as a constant", "nothing behind it is trained", culprit, assigned_followed_by(".detach()"))


def kept_apart(case: Case, into: Trespass) -> Iterator[Way]:
    """The value of the other player's is taken as it is, on the line where it enters the loss."""
    meaning = "each loss trains its own player only"
    place = case.place(into.stack)
    for name in dict.fromkeys((into.home.tensors[into.value].name, case.called(into.home, into.value))):
        yield Way("detach it in this loss", meaning, place, named_followed_by(name, ".detach()"))
    yield Way("detach it in this loss", meaning, place, only_argument_followed_by(".detach()"))


def both_followed(case: Case, earlier: Event[Backward], event: Event[Backward]) -> Iterator[Way]:
    """Two losses of the same step, which no update lies between, are both wanted: as their sum would be."""
    updates = case.events(OptimizerStep, event.step)
    if earlier.step is event.step and not any(earlier.position < one.position < event.position for one in updates):
        yield Way(
            "keep the graph for the second loss",
            "both losses are followed, as their sum would be",
            case.place(earlier.moment.stack),
            with_keyword(("backward",), "retain_graph", "True"),
        )


def each_followed(case: Case, backward: Backward) -> Iterator[Way]:
    """The losses of one graph, which no update lies between, are followed one after the other."""
    yield Way(
        "keep the graph for the next loss",
        "all losses are followed, as their sum would be",
        case.place(backward.stack),
        with_keyword(("backward",), "retain_graph", "True"),
    )


def graph_of_grad_kept(case: Case, earlier: Backward, keyword: str) -> Iterator[Way]:
    """The call of autograd.grad that leaves its graph to what comes after it."""
    meaning = "its gradients have a graph too" if keyword == "create_graph" else "the graph serves once more"
    words = "let autograd.grad keep the graph"
    yield Way(words, meaning, case.place(earlier.stack), with_keyword(("grad",), keyword, "True"))
