"""Why a .grad is what it is: one true sentence for each case, with the line and the moment it speaks of."""

from __future__ import annotations

import pytest

from gradscope.model.moments import GradChange
from gradscope.model.records import Phase
from gradscope.model.trace import Trace
from gradscope.tui.why import Because, why_grad
from tests import builders
from tests.unit.tui.scenes import moment_of, scene_of


def why(trace: Trace, name: str, moment: int, step: int = 0) -> Because:
    scene = scene_of(trace, step, moment)
    tensor = next(one for one in scene.step.tensors if one.name == name)
    return why_grad(scene, tensor)


def test_a_tensor_that_is_not_made_yet() -> None:
    because = why(builders.ab2_trace(), "F", -1)
    assert because == Because("It is not there yet: ab2.py:5 makes it.", 2)


def test_a_leaf_before_and_after_its_backward() -> None:
    trace = builders.ab2_trace()
    filled = next(
        index
        for index, moment in enumerate(trace.step(0).moments)
        if isinstance(moment, GradChange) and moment.tensors == (0,)
    )
    before = why(trace, "A", moment_of(trace, "backward") - 1)
    assert before.sentence == f"None so far: ab2.py:7 fills it at moment {filled + 1}."
    assert before.moment == filled
    after = why(trace, "A", -2)
    assert after == Because("It is there: the backward of ab2.py:7 filled it.", filled)


def test_a_result_keeps_none_unless_it_is_asked_to() -> None:
    assert why(builders.ab2_trace(), "F", -2).sentence.startswith("None: it is a result, not a leaf.")
    retained = why(builders.ab2_trace(retain=True), "F", -2)
    assert retained.sentence == "It is there: the backward of ab2.py:7 filled it."


def test_a_leaf_in_a_step_without_a_backward() -> None:
    assert why(builders.ab2_trace(backward=False), "A", -2).sentence == "None: no backward runs in this step."


def test_an_input_and_a_frozen_parameter_need_none() -> None:
    trace = builders.mlp_trace(frozen=True)
    assert "you made it without requires_grad" in why(builders.cut_trace(), "k", -2).sentence
    assert "it is frozen (requires_grad is False)" in why(trace, "fc1.weight", -2).sentence


def test_what_was_cut_says_by_what_and_where() -> None:
    trace = builders.cut_trace()
    detached = why(trace, "d", -2)
    assert detached.sentence == ("None: detach() took it out of the graph at cut.py:7; backward never reaches it.")
    assert detached.moment == moment_of(trace, "leaf")
    assert why(trace, "n", -2).sentence == "None: cut.py:9 made it under no_grad, so it has no history."
    assert why(trace, "d * n", -2).sentence.startswith("None: nothing it was made from needs a gradient")


def test_a_leaf_that_the_backward_cannot_reach() -> None:
    trace = builders.cut_trace()
    start = moment_of(trace, "backward")
    assert why(trace, "v", -2) == Because(
        "None: the backward of cut.py:11 did not reach it: no path leads there.", start
    )
    assert why(trace, "v", start - 1).sentence.startswith("None: the backward of cut.py:11 does not reach it")


def test_a_gradient_that_zero_grad_took_away() -> None:
    trace = builders.mlp_trace()
    step = trace.step(1)
    cleared = moment_of(trace, "grad", step=1)
    assert step.moments[cleared].phase is Phase.ZERO_GRAD
    because = why(trace, "fc1.weight", cleared, step=1)
    assert because == Because("None: train.py:21 set it to None.", cleared)


@pytest.mark.parametrize("make", [builders.ab2_trace, builders.mlp_trace, builders.cut_trace, builders.move_trace])
def test_there_is_a_sentence_for_every_tensor_at_every_moment(make: object) -> None:
    trace = make()  # type: ignore[operator]
    for number in trace.steps:
        for moment in range(-1, len(trace.step(number).moments)):
            scene = scene_of(trace, number, moment)
            for tensor in scene.step.tensors:
                because = why_grad(scene, tensor)
                now = scene.state.tensors[tensor.number]
                assert because.sentence.endswith(".")
                assert because.sentence.startswith("None") == (now.exists and now.has_grad is False)
                assert because.sentence.startswith("Not touched") == (now.exists and now.has_grad is None)


def test_what_the_recording_did_not_see_is_not_called_none() -> None:
    trace = builders.TraceBuilder("print(w.grad)\n")
    step = trace.step()
    step.tensor("w", requires_grad=True, role="parameter", parameter=trace.parameter("w", (1,)))
    step.done()
    sentence = "Not known: the recording did not see what it was before this step."
    assert why(trace.trace(), "w", -1) == Because(sentence)
