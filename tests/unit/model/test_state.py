"""The state at a moment: stepping forwards, and back, through one step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gradscope.model.leaf import CASES
from gradscope.model.moments import Failure, LeafChange, ModeChange, Move, OpCall
from gradscope.model.origin import case_in, first_met
from gradscope.model.records import Phase, StepKind
from gradscope.model.state import State, replay
from gradscope.model.trace import Trace
from tests import builders
from tests.builders import StepBuilder, TraceBuilder

TRACES: dict[str, Callable[[], Trace]] = {
    "ab2": builders.ab2_trace,
    "retained": lambda: builders.ab2_trace(retain=True),
    "mlp": builders.mlp_trace,
    "cut": builders.cut_trace,
    "move": builders.move_trace,
    "inplace": builders.inplace_trace,
}


def script() -> tuple[TraceBuilder, StepBuilder]:
    trace = TraceBuilder("x\n" * 20, "s.py")
    return trace, trace.step(0, StepKind.OTHER)


@pytest.mark.parametrize("name", TRACES)
def test_jumping_equals_stepping(name: str) -> None:
    trace = TRACES[name]()
    for number in trace.steps:
        step = trace.step(number)
        state = State.start(step)
        assert trace.at(number, -1) == state
        for moment in range(len(step.moments)):
            state = state.advance(step)
            assert trace.at(number, moment) == state
        assert replay(step, len(step.moments) - 1) == state


def test_moments_that_are_not_there_are_refused() -> None:
    trace = builders.ab2_trace()
    with pytest.raises(ValueError, match="step 0 has moments 0 to 10, there is no 11"):
        trace.at(0, 11)
    with pytest.raises(ValueError, match="there is no -2"):
        trace.at(0, -2)
    with pytest.raises(ValueError, match="step 0 ends at moment 10"):
        trace.at(0, 10).advance(trace.step(0))


def test_tensors_come_into_being_and_gradients_arrive() -> None:
    trace = builders.ab2_trace()
    a, b, f, g = range(4)
    start = trace.at(0, -1)
    assert not any(start.tensors[tensor].exists for tensor in (a, b, f, g))
    assert start.phase is None
    forward = trace.at(0, 2)
    assert [forward.tensors[tensor].exists for tensor in (a, b, f, g)] == [True, True, True, False]
    assert forward.ops == {0, 1, 2}
    assert forward.phase is Phase.FORWARD
    assert forward.backward is None
    assert forward.tensors[a].has_grad is False
    during = trace.at(0, 6)
    assert during.backward == 0
    assert during.ran == {(0, 0), (0, 1)}
    done = trace.at(0, 10)
    assert {tensor: done.tensors[tensor].has_grad for tensor in (a, b, f, g)} == {a: True, b: True, f: False, g: False}
    assert len(done.ran) == 4


def test_versions_are_absolute_and_rise_with_writes_and_updates() -> None:
    trace = builders.mlp_trace(3)
    last = len(trace.step(2).moments) - 1
    assert trace.at(2, -1).tensors[0].version == 2
    assert trace.at(2, last).tensors[0].version == 3
    y = builders.inplace_trace()
    assert [y.at(0, moment).tensors[1].version for moment in range(6)] == [0, 0, 0, 0, 1, 1]


def test_modes_are_as_they_were_at_each_moment() -> None:
    trace = builders.cut_trace()
    moments = trace.step(0).moments
    switches = [index for index, moment in enumerate(moments) if isinstance(moment, ModeChange)]
    assert [trace.at(0, index).modes.grad for index in (-1, switches[0], switches[1] - 1, switches[1])] == [
        True,
        False,
        False,
        True,
    ]


def test_a_mode_that_was_on_before_the_step_is_known_from_its_end() -> None:
    trace, step = script()
    stack = trace.line(1)
    step.grad_enabled = False
    step.op("mul", (step.tensor("x"),), "y", line=1)
    for mode, value in (("grad", "on"), ("inference", "off"), ("inference", "on"), ("autocast", "bfloat16")):
        step.add(ModeChange(step.phase, stack, mode, value))
    step.add(ModeChange(step.phase, stack, "autocast", "off"))
    step.add(ModeChange(step.phase, stack, "training", "eval", 3))
    step.add(ModeChange(step.phase, stack, "training", "train", 4))
    step.done()
    found = trace.trace()
    start = found.at(0, -1).modes
    assert (start.grad, start.inference, start.autocast, dict(start.training)) == (False, True, None, {})
    assert found.at(0, 4).modes.autocast == "bfloat16"
    end = found.at(0, 7).modes
    assert (end.grad, end.inference, end.autocast, dict(end.training)) == (True, True, None, {3: False, 4: True})


def test_status_device_and_failure_follow_their_moments() -> None:
    trace, step = script()
    stack = trace.line(1)
    x = step.leaf("x", [1.0], 1, requires_grad=False)
    step.add(LeafChange(step.phase, stack, x, None, "requires_grad_", True, True, None, False))
    y = step.tensor("y", device="sim:0", made_by=2)
    step.add(OpCall(step.phase, stack, "to", (x,), (y,)))
    step.add(Move(step.phase, stack, x, y, "cpu", "sim:0", "float32", "float32", 4, False))
    step.add(Failure(step.phase, stack, "RuntimeError", "caught", caught=True))
    step.add(Failure(step.phase, stack, "RuntimeError", "not caught"))
    step.done()
    found = trace.trace()
    assert [found.at(0, moment).tensors[x].requires_grad for moment in range(2)] == [False, True]
    assert found.at(0, 3).tensors[y].device == "sim:0"
    assert [found.at(0, moment).failed for moment in (3, 4, 5)] == [False, False, True]


def test_a_gradient_from_before_the_step_is_what_the_steps_before_left() -> None:
    trace = builders.mlp_trace(2)
    assert trace.at(0, -1).tensors[0].has_grad is False, "the recording saw it being made"
    assert trace.at(1, -1).tensors[0].has_grad is True
    cleared = next(
        index
        for index, moment in enumerate(trace.step(1).moments)
        if moment.kind == "grad" and not moment.has_grad  # type: ignore[union-attr]
    )
    assert trace.at(1, cleared).tensors[0].has_grad is False
    assert trace.at(1, len(trace.step(1).moments) - 1).tensors[0].has_grad is True


def test_the_four_cases_of_the_leaf_table() -> None:
    trace, step = script()
    tensors = (
        step.leaf("x", [1.0], 1),
        step.op("mul", (0,), "y", line=1, grad_fn="MulBackward0"),
        step.leaf("k", [1.0], 1, requires_grad=False),
        step.op("mul", (2,), "k2", line=1),
    )
    step.done()
    found = trace.trace().step(0)
    cases = [case_in(found, found.tensors[tensor]) for tensor in tensors]
    assert [case.numbers for case in cases] == [(1,), (2,), (3,), (4,)]
    assert [case.words for case in cases] == [CASES[case] for case in (1, 2, 3, 4)]


def test_the_case_follows_the_state() -> None:
    trace, step = script()
    x = step.leaf("x", [1.0], 1, requires_grad=False)
    step.add(LeafChange(step.phase, trace.line(1), x, None, "requires_grad_", True, True, None, False))
    step.done()
    found = trace.trace()
    told = [case_in(found.step(0), step.tensors[x], found.at(0, moment).tensors[x]) for moment in (0, 1)]
    assert [case.numbers for case in told] == [(3,), (1,)]


def test_what_nobody_saw_made_is_not_told_apart() -> None:
    trace, step = script()
    x = step.tensor("x")
    step.done()
    assert case_in(trace.trace().step(0), step.tensors[x]).verdict.startswith("case 3 or 4 of 4")


def test_what_a_light_step_is_said_to_have_met_is_followed_no_further() -> None:
    trace, first = script()
    first.done()
    step = trace.step(1, StepKind.OTHER)
    x = step.tensor("x", carried=True)
    trace.source.put_step(step.done()._replace(carried=((x, 0, 4),)))
    found = trace.trace().step(1)
    assert first_met(found, found.tensors[x]) == (found, found.tensors[x])


def test_a_state_cannot_be_changed() -> None:
    state = builders.ab2_trace().at(0, 3)
    with pytest.raises(TypeError):
        state.tensors[0] = state.tensors[1]  # type: ignore[index]
    with pytest.raises(AttributeError):
        state.moment = 0  # type: ignore[misc]
