"""What is compared of a backward's graph: quickly, and never less than telling it anew would."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradscope.capture.journal.graph_facts import GraphFacts
from gradscope.capture.step.entry import Entry

A, B = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2, 3))
WITH_GRADIENT = torch.nn.Parameter(torch.ones(2, 3))
WITH_GRADIENT.grad = torch.ones(2, 3)
HOOKED = torch.nn.Parameter(torch.ones(2, 3))
HOOKED.register_hook(lambda grad: grad)
FIXED = torch.ones(2, 3)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, *_others: object) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return (grad * 2, None)


GRAPHS: dict[str, Callable[[], Tensor]] = {
    "two leaves": lambda: (A * B).sum(),
    "the other way round": lambda: (B * A).sum(),
    "one leaf twice": lambda: (A * A).sum(),
    "one has a gradient": lambda: (A * WITH_GRADIENT).sum(),
    "one has a hook": lambda: (A * HOOKED).sum(),
    "only the first requires": lambda: (A * FIXED).sum(),
    "only the second requires": lambda: (FIXED * A).sum(),
    "another op": lambda: (A + B).sum(),
    "one op more": lambda: (A * B).relu().sum(),
    "a shared result": lambda: (A.exp() * A.exp().sin()).sum(),
    "the same result twice": lambda: (lambda x: (x * x.sin()).sum())(A.exp()),
    "a part of it": lambda: (A * B)[:1].sum(),
    "the other part of it": lambda: (A * B)[:, :1].sum(),
    "an output": lambda: A.unbind(0)[0].sum(),
    "another output": lambda: A.unbind(0)[1].sum(),
    "a function of the script": lambda: Doubled.apply(A, FIXED).sum(),
    "with more edges": lambda: Doubled.apply(A, B).sum(),
    "a leaf": lambda: A.sum(),
}


@pytest.fixture
def entries() -> dict[int, Entry]:
    found = {id(tensor): Entry(tensor) for tensor in (A, B, WITH_GRADIENT, HOOKED)}
    for number, entry in enumerate(found.values()):
        entry.parameter = number
    return found


@pytest.mark.parametrize(("kept", "met"), itertools.product(GRAPHS, GRAPHS))
def test_only_the_same_graph_holds(kept: str, met: str, entries: dict[int, Entry]) -> None:
    first, second = GRAPHS[kept](), GRAPHS[met]()
    facts = GraphFacts([first.grad_fn], entries)
    same = facts == GraphFacts([second.grad_fn], entries)
    assert same is (kept == met)
    for _ in range(2):
        assert facts.hold_of([second.grad_fn], entries) is same


def test_leaves_are_told_apart_as_parameters(entries: dict[int, Entry]) -> None:
    facts = GraphFacts([(A * B).sum().grad_fn], entries)
    entries[id(A)].parameter = 7
    assert not facts.hold_of([(A * B).sum().grad_fn], entries)


def test_several_roots_are_always_told_anew(entries: dict[int, Entry]) -> None:
    roots = [A.sum().grad_fn, B.sum().grad_fn]
    facts = GraphFacts(roots, entries)
    assert facts == GraphFacts(roots, entries)
    assert not facts.hold_of(roots, entries)
    assert not facts.hold_of([None], entries)
