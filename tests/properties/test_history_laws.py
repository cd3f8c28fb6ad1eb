"""A history is every state of a step: the same as replaying, whichever moment is asked for first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.model.history import History
from gradscope.model.state import State, replay
from gradscope.model.trace import Trace
from tests import builders

from .traces_at_random import programs


@given(programs(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_any_moment_in_any_order_is_the_state_replayed(trace: Trace, chance: object) -> None:
    for number in trace.steps:
        step = trace.step(number)
        history = History(step)
        moments = list(range(-1, len(step.moments)))
        chance.shuffle(moments)  # type: ignore[attr-defined]
        for moment in moments:
            state = history.at(moment)
            assert state == State.at(step, moment)
            assert (set(state.ops), set(state.ran)) == (set(replay(step, moment).ops), set(replay(step, moment).ran))
            assert dict(state.tensors) == dict(State.at(step, moment).tensors)


@given(programs())
@settings(max_examples=50, deadline=None)
def test_changes_are_where_a_tensor_differs_from_the_moment_before(trace: Trace) -> None:
    for number in trace.steps:
        step = trace.step(number)
        history = History(step)
        states = [State.at(step, moment) for moment in range(-1, len(step.moments))]
        for tensor in range(len(step.tensors)):
            differs = [
                moment
                for moment in range(len(step.moments))
                if states[moment + 1].tensors[tensor] != states[moment].tensors[tensor]
            ]
            assert [moment for moment, _ in history.changes(tensor)] == differs
            assert history.before(tensor) == states[0].tensors[tensor]


def test_a_state_of_a_history_can_be_advanced() -> None:
    step = builders.ab2_trace().step(0)
    assert History(step).at(3).advance(step) == State.at(step, 4)


@pytest.mark.parametrize("moment", [-2, 10_000])
def test_a_moment_that_is_not_there_is_a_value_error(moment: int) -> None:
    with pytest.raises(ValueError, match="there is no"):
        History(builders.ab2_trace().step(0)).at(moment)
