"""The garbage collector waits while graphs are built and traces are judged, and is left as it was."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from gradscope.model import build
from gradscope.model.collector import collector_waits
from gradscope.model.graph import GraphKind
from gradscope.tui.memory import kept
from tests.builders import ab2_trace


@pytest.fixture(params=[True, False], ids=["on", "off"])
def was_on(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()
    gc.unfreeze()


@pytest.mark.parametrize("waiting", [collector_waits, kept])
def test_it_waits_only_inside_and_is_left_as_it_was(
    was_on: bool, waiting: Callable[[], AbstractContextManager[None]]
) -> None:
    with waiting():
        assert not gc.isenabled()
        with waiting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled() == was_on


def test_the_last_thread_that_leaves_lets_it_go_on(was_on: bool) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with collector_waits():
            entered.set()
            leave.wait()

    other = threading.Thread(target=work)
    with collector_waits():
        other.start()
        entered.wait()
    assert not gc.isenabled(), "the other one is still at work"
    leave.set()
    other.join()
    assert gc.isenabled() == was_on


def test_a_graph_is_built_without_it(was_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watched(build._Work):
        def nodes(self) -> object:  # type: ignore[override]
            seen.append(gc.isenabled())
            return super().nodes()

    monkeypatch.setattr(build, "_Work", Watched)
    step = ab2_trace().last_backward()
    assert step is not None
    assert step.graph(GraphKind.BACKWARD).nodes
    assert (seen, gc.isenabled()) == ([False], was_on)


def test_a_finalizer_that_runs_as_it_goes_on_may_come_in_too(monkeypatch: pytest.MonkeyPatch) -> None:
    enable, came = gc.enable, []

    def finalizes() -> None:
        """As where the collector, just let go, runs a finalizer whose work is recorded."""
        enable()
        if not came:
            came.append(1)
            with collector_waits():
                came.append(2)

    def work() -> None:
        with collector_waits():
            pass

    monkeypatch.setattr(gc, "enable", finalizes)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert came == [1, 2]
    assert gc.isenabled()
