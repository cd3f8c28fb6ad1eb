"""Python's cyclic garbage collector while a step is watched: it spares the older generations, and the script sees none
of that."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import gradscope
from gradscope.capture.journal import schedule
from gradscope.model.records import Detail


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(scope="module", autouse=True)
def optimizers_are_ready() -> None:
    """Torch itself replaces functions of its own when the first optimizer is made."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@contextmanager
def collections() -> Iterator[list[int]]:
    """The generations that are collected meanwhile, of themselves or by a call."""
    found: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            found.append(info["generation"])

    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


def a_step(weight: torch.Tensor, ops: int = 1500) -> None:
    y = weight
    for _ in range(ops):
        y = y + 1
    y.sum().backward()
    assert weight.grad is not None
    with torch.no_grad():
        weight -= 0.1 * weight.grad
    weight.grad = None


def test_a_watched_step_collects_young_objects_only() -> None:
    weight = torch.zeros(2, requires_grad=True)
    gc.collect()
    with gradscope.record(detail="full"), collections() as found:
        y = weight
        for _ in range(1500):
            y = y + 1
        within = list(found)
    assert len(within) > gc.get_threshold()[1], "else the middle generation would not have been due"
    assert set(within) == {0}


def test_what_was_due_is_collected_when_the_step_is_over() -> None:
    weight = torch.zeros(2, requires_grad=True)
    with gradscope.record(detail="full"):
        for step in range(3):
            if step == 1:
                held = Knot()
                gc.collect(0)  # now it is no young object any more
                knot = weakref.ref(held)
                del held
                assert knot() is not None
            a_step(weight)
        assert knot() is None


def test_the_script_sees_its_own_thresholds() -> None:
    before = gc.get_threshold()
    weight = torch.zeros(2, requires_grad=True)
    try:
        with gradscope.record(detail="full"):
            weight * 2
            assert gc.get_threshold() == before
            gc.set_threshold(500, 7)
            assert gc.get_threshold() == (500, 7, before[2])
            a_step(weight)
            assert gc.get_threshold() == (500, 7, before[2])
            with pytest.raises(TypeError):
                gc.set_threshold("many")  # type: ignore[arg-type]
        assert gc.get_threshold() == (500, 7, before[2])
    finally:
        gc.set_threshold(*before)


def test_recordings_in_each_other_keep_what_the_script_sets() -> None:
    before = gc.get_threshold()
    weight = torch.zeros(2, requires_grad=True)
    try:
        with gradscope.record(detail="full"), gradscope.record(detail="full"):
            weight * 2
            gc.set_threshold(500, 7)
            assert gc.get_threshold() == (500, 7, before[2])
        assert gc.get_threshold() == (500, 7, before[2])
    finally:
        gc.set_threshold(*before)


def test_a_collector_that_is_off_stays_off() -> None:
    weight = torch.zeros(2, requires_grad=True)
    gc.disable()
    try:
        with gradscope.record(detail="full"), collections() as found:
            for _ in range(3):
                a_step(weight)
        assert found == []
    finally:
        gc.enable()


@pytest.mark.parametrize("detail", ["auto", "full", "steps"])
def test_the_thresholds_and_their_functions_are_left_as_they_were(detail: str) -> None:
    before, asked, told = gc.get_threshold(), gc.get_threshold, gc.set_threshold
    weight = torch.zeros(2, requires_grad=True)
    with gradscope.record(detail=detail), gradscope.record(detail=detail):
        for _ in range(20):
            a_step(weight, 3)
    assert (gc.get_threshold, gc.set_threshold) == (asked, told)
    assert gc.get_threshold() == before


def test_matched_steps_are_collected_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FREE_SECONDS", 0.0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(steps: int, knots: int) -> None:
        for _ in range(steps):
            garbage = [Knot() for _ in range(knots)]
            optimizer.zero_grad()
            model(torch.ones(2)).sum().backward()
            optimizer.step()
            del garbage

    with gradscope.record() as trace:
        train(40, 0)
        with collections() as found:
            train(100, 1500)
    matched = [number for number in range(40, 140) if trace.step(number).row.detail is Detail.MATCHED]
    assert len(matched) > 50
    assert 1 in found
