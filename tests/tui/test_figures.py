"""What a parameter's figures are at each moment, by the step's samples and moments."""

from __future__ import annotations

import math
from dataclasses import replace

from gradscope.model.records import Phase, StepKind
from gradscope.model.samples import SampleIndex
from gradscope.model.state import State
from gradscope.model.trace import Trace
from gradscope.tui.columns import COLUMNS
from gradscope.tui.figures import KNOWN, NONE, ZERO, Beside, Figures, StepFigures, five_phases
from tests.builders import TraceBuilder, mlp_trace


def figures(trace: Trace, step: int, parameter: int, moment: int) -> Figures:
    found = trace.step(step)
    at = moment if moment >= -1 else len(found.moments) - 1
    return figures_of(trace, step).of(trace.source.parameters()[parameter], State.at(found, at))


def figures_of(trace: Trace, number: int) -> StepFigures:
    step = trace.step(number)
    return StepFigures(step, SampleIndex(step.samples), Beside.of(trace, number))


def end_of(trace: Trace, step: int, phase: Phase) -> int:
    return max(index for index, moment in enumerate(trace.step(step).moments) if moment.phase is phase)


def test_the_gradient_is_that_of_the_step_before_then_none_then_there() -> None:
    trace = mlp_trace()
    assert figures(trace, 1, 0, -1).gradient == figures(trace, 0, 0, -2).gradient
    kinds = [
        figures(trace, 1, 0, moment).gradient.kind
        for moment in (-1, end_of(trace, 1, Phase.ZERO_GRAD), end_of(trace, 1, Phase.BACKWARD))
    ]
    assert kinds == [KNOWN, NONE, KNOWN]
    assert figures(trace, 1, 0, -2).gradient.norm is not None


def test_a_gradient_that_the_backward_creates_was_none_before() -> None:
    trace = mlp_trace()
    assert [figures(trace, 0, 0, moment).gradient.kind for moment in (-1, 0, -2)] == [NONE, NONE, KNOWN]


def test_nothing_lacks_a_gradient_before_the_backward_has_ended() -> None:
    trace = updated_trace()
    end = end_of(trace, 0, Phase.BACKWARD)
    assert "no grad" not in figures(trace, 0, 1, end - 1).status
    assert "no grad" in figures(trace, 0, 1, end).status
    assert "no grad" not in figures(updated_trace(seen=False), 0, 1, end).status, "that is not known"


def test_without_samples_the_steps_norms_will_do() -> None:
    from gradscope.model.records import Detail

    trace = mlp_trace(detail=Detail.GRAPH)
    found = figures(trace, 1, 0, -2)
    row = trace.step(1).row
    assert found.norm is not None
    assert found.gradient.kind == KNOWN
    assert found.gradient.norm is not None
    assert row.norms


def test_learning_rate_and_status() -> None:
    trace = mlp_trace(frozen=True)
    assert figures(trace, 1, 2, -1).rate == 1e-3
    assert figures(trace, 1, 0, -1).status == ("frozen",)
    assert figures(trace, 1, 2, -2).status == ()


def updated_trace(*, optimized: bool = True, seen: bool = True) -> Trace:
    """`w` moves from [3, 4] to [3, 5] in an optimizer's step; `v` gets no gradient, and is in no optimizer.

    `seen`: where `v` was made, so that it had no gradient before.
    """
    trace = TraceBuilder("w = 1\nv = 2\nloss = w * 2\nloss.backward()\noptimizer.step()\n")
    w = trace.parameter("w", (2,))
    v = trace.parameter("v", (2,))
    made = trace.source.parameters()[v]
    trace.source.put_parameter(replace(made, optimizers=(), stack=trace.line(2) if seen else None))
    if optimized:
        trace.optimizer("SGD", [w])
    step = trace.step(0, StepKind.TRAIN)
    tensor = step.tensor("w", (2,), requires_grad=True, parameter=w, role="parameter")
    step.tensor("v", (2,), requires_grad=True, parameter=v, role="parameter")
    loss = step.op("mul", (tensor,), "loss", line=3, grad_fn="MulBackward0", shape=(2,), values=[6.0, 8.0])
    step.backward(loss, line=4, grads={tensor: [0.0, -1.0]})
    step.sample(tensor, "value", step.moment_count - 1, values=[3.0, 4.0])
    step.update(0, [tensor], line=5)
    step.sample(tensor, "value", step.moment_count - 1, values=[3.0, 5.0])
    step.done(lr=1.0)
    return trace.trace()


def test_how_far_the_update_moved_it() -> None:
    trace = updated_trace()
    before = end_of(trace, 0, Phase.BACKWARD)
    assert figures(trace, 0, 0, before).ratio is None
    after = figures(trace, 0, 0, -2)
    assert after.ratio == 0.2
    assert after.exact
    assert (figures(trace, 0, 0, before).sum, after.sum) == (7.0, 8.0)


def updated_twice(*distances: tuple[int, float], number: int = 0) -> Trace:
    """`w`, of norm 5, is updated at the moments 0 and 1; only these distances are known."""
    trace = TraceBuilder("optimizer.step()\noptimizer.step()\n")
    w = trace.parameter("w", (2,))
    trace.optimizer("SGD", [w])
    step = trace.step(number, StepKind.TRAIN)
    tensor = step.tensor("w", (2,), requires_grad=True, parameter=w, role="parameter")
    step.update(0, [tensor], line=1)
    step.update(0, [tensor], line=2)
    trace.source.put_step(step.done(lr=1.0)._replace(norms=((w, 5.0, 1.0),), distances=distances))
    return trace.trace()


def test_how_far_the_last_update_of_a_step_moved_it_is_known_from_there_on() -> None:
    trace = updated_twice((0, 0.5))
    found = [figures(trace, 0, 0, moment) for moment in (-1, 0, 1)]
    assert [(row.ratio, row.exact) for row in found] == [(None, True), (None, False), (0.1, True)]


def test_an_update_that_was_not_measured_is_shown_as_unknown() -> None:
    trace = updated_twice()
    found = figures(trace, 0, 0, 1)
    assert (found.ratio, found.exact) == (None, False)
    assert COLUMNS["Δ/|p|"].words(found) == "?"
    assert COLUMNS["Δ/|p|"].words(figures(trace, 0, 0, -1)) == ""


def test_what_began_at_zero_moved_without_measure() -> None:
    trace = updated_twice((0, 0.5))
    trace.source.put_step(trace.step(0).row._replace(norms=((0, 0.0, 1.0),)))  # type: ignore[attr-defined]
    assert figures(trace, 0, 0, 1).ratio == math.inf


def test_what_no_backward_reaches_and_no_optimizer_trains() -> None:
    trace = updated_trace()
    assert figures(trace, 0, 1, -1).status == ("in no optimizer",)
    assert set(figures(trace, 0, 1, -2).status) == {"no grad", "in no optimizer"}
    assert "in no optimizer" not in figures(updated_trace(optimized=False), 0, 1, -2).status


def test_the_phases_of_a_step_as_the_tutorials_plot_them() -> None:
    trace = mlp_trace()
    step = trace.step(1)
    points = five_phases(figures_of(trace, 1), 0, lambda moment: State.at(step, moment))
    assert [point.phase for point in points] == [
        "start",
        "zero_grad",
        "forward",
        "loss",
        "backward",
        "optimizer_step",
    ]
    kinds = [point.gradient.kind for point in points]
    assert kinds == [KNOWN, NONE, NONE, NONE, KNOWN, KNOWN]
    before = figures(trace, 0, 0, -2).gradient
    assert points[0].gradient == before


def test_a_gradient_set_to_zero_is_zero() -> None:
    from gradscope.model.moments import GradChange

    trace = TraceBuilder("w\nzero_grad()\n")
    w = trace.parameter("w", (2,))
    step = trace.step(0, StepKind.TRAIN)
    tensor = step.tensor("w", (2,), requires_grad=True, parameter=w, role="parameter")
    step.phase = Phase.ZERO_GRAD
    step.add(GradChange(step.phase, trace.line(2), (tensor,), "zeroed", True))
    step.done()
    found = figures(trace.trace(), 0, w, 0).gradient
    assert (found.kind, found.norm, found.sum) == (ZERO, 0.0, 0.0)
