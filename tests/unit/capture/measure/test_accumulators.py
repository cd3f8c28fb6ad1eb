"""The node of a leaf that is the root of a backward is found, and nothing is taken for it."""

from __future__ import annotations

import _thread

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradscope.capture.measure.accumulators import accumulator_of


class Counting(TorchDispatchMode):
    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen += 1
        return func(*args, **(kwargs or {}))


def test_it_is_the_leafs_own_and_takes_no_sequence_number() -> None:
    leaf = torch.ones(2, requires_grad=True)
    wanted = (leaf * 2).grad_fn.next_functions[0][0]  # type: ignore[union-attr]
    before = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
    with torch.no_grad(), Counting() as mode:
        assert accumulator_of(leaf) is wanted
    assert mode.seen == 0
    assert torch.autograd._get_sequence_nr() == before  # type: ignore[attr-defined]


def test_a_class_that_refuses_has_none() -> None:
    class Refuses(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            raise RuntimeError("no")

    leaf = torch.Tensor._make_subclass(Refuses, torch.ones(2), require_grad=True)
    assert accumulator_of(leaf) is None


def test_where_no_thread_can_be_started_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert accumulator_of(torch.ones(2, requires_grad=True)) is None
