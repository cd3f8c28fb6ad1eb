"""Losses and gradients over the steps, read as they come."""

from __future__ import annotations

from gradscope.tui.curves import Curves
from tests.builders import mlp_trace


def test_every_step_has_its_loss_and_the_norm_of_its_gradients() -> None:
    trace, curves = mlp_trace(4), Curves()
    curves.read(trace, lambda: True)
    assert curves.steps == [0, 1, 2, 3]
    assert curves.losses == [1.25 / (number + 1) for number in range(4)]
    assert curves.at(2) == (curves.losses[2], curves.gradients[2])
    assert curves.gradients[0] == (4 * 0.25**2) ** 0.5
    assert curves.at(9) == (None, None)


def test_reading_goes_on_where_it_stopped_and_reads_the_last_step_again() -> None:
    trace, curves = mlp_trace(3), Curves()
    curves.read(trace, lambda: True)
    source = trace.source
    source.put_step(source.step_row(2)._replace(loss=7.0))  # type: ignore[attr-defined]
    source.put_step(source.step_row(2)._replace(number=3, loss=8.0))  # type: ignore[attr-defined]
    curves.read(trace, lambda: True)
    assert curves.steps == [0, 1, 2, 3]
    assert curves.losses[2:] == [7.0, 8.0]
    assert curves.drawn("losses", 4)[-1] == 8.0


def test_steps_that_were_dropped_are_forgotten() -> None:
    trace, curves = mlp_trace(5), Curves()
    curves.read(trace, lambda: True)
    trace.source.delete_steps([0, 1])  # type: ignore[attr-defined]
    curves.read(trace, lambda: True)
    assert curves.steps == [2, 3, 4]


def test_nobody_waits_for_what_nobody_wants() -> None:
    curves = Curves()
    curves.read(mlp_trace(3), lambda: False)
    assert len(curves) == 0
