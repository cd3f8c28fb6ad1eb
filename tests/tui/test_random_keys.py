"""Whatever keys are pressed: what is shown is the state rebuilt from scratch at that moment, and the way is known."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradscope.model.graph import GraphKind
from gradscope.model.state import State
from gradscope.model.trace import Trace
from tests.builders import Detail, mlp_trace
from tests.properties.traces_at_random import programs
from tests.tui.driving import Driver, drive

KEYS = (
    "left", "right", "right", "left_square_bracket", "right_square_bracket", "left_curly_bracket",
    "right_curly_bracket", "home", "end", "i", "I", "o", "b", "v", "c", "full_stop", "comma", "less_than_sign",
    "greater_than_sign", "tab", "1", "2", "3", "s", "down", "up", "enter", "m",
    "left_parenthesis", "right_parenthesis", "Z", "plus",
)  # fmt: skip


def check(driver: Driver) -> None:
    scene = driver.scene
    trace = scene.trace
    assert scene.step.number in trace.source.step_numbers()
    fresh = trace.step(scene.step.number)
    assert scene.state == State.at(fresh, scene.moment)
    assert scene.graph.kind is scene.kind
    if fresh.row.template == scene.step.row.template and scene.kind is GraphKind.BOTH:
        assert set(scene.graph.by_id) == set(fresh.graph(scene.kind).by_id)
    if scene.selected is not None and not scene.graph.by_id.keys() & {scene.selected}:
        raise AssertionError("what is selected is not in the graph")


@given(programs(steps=3), st.lists(st.sampled_from(KEYS), min_size=1, max_size=12))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_keys_on_any_trace_show_a_true_state(trace: Trace, keys: list[str]) -> None:
    async def walk(driver: Driver) -> None:
        for key in keys:
            await driver.press(key)
            if driver.screen_name != "Instrument":
                await driver.press("escape")
            check(driver)

    drive(trace, walk)


@given(st.lists(st.sampled_from(("left", "right")), min_size=1, max_size=40), st.integers(0, 2))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_left_undoes_right(keys: list[str], step: int) -> None:
    trace = mlp_trace(3, detail=Detail.FULL)
    places = [(number, moment) for number in trace.steps for moment in range(-1, len(trace.step(number).moments))]

    async def walk(driver: Driver) -> None:
        for _ in range(step):
            await driver.press("right_curly_bracket")
        await driver.press("end")
        at = places.index(driver.place)
        for key in keys:
            await driver.press(key)
            at = min(max(at + (1 if key == "right" else -1), 0), len(places) - 1)
            assert driver.place == places[at]
        check(driver)

    drive(trace, walk)
