"""Every key that travels, and every key that jumps."""

from __future__ import annotations

import pytest

from gradscope.model.graph import GraphKind
from gradscope.model.moments import OpCall
from tests.builders import Detail, cut_trace, inplace_trace, mlp_trace, move_trace
from tests.tui.driving import Driver, drive


def test_it_opens_at_the_first_steps_start() -> None:
    async def walk(driver: Driver) -> None:
        assert driver.place == (0, -1)
        assert driver.scene.graph.nodes
        assert list(driver.scene.step_numbers) == [0, 1, 2]

    drive(mlp_trace(), walk)


def test_arrows_travel_by_moments_and_over_the_ends_of_steps() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right")
        assert driver.place == (0, 1)
        await driver.press("left", "left")
        assert driver.place == (0, -1)
        await driver.press("left")
        assert driver.place == (0, -1)
        await driver.press("end", "right")
        assert driver.place == (1, -1)
        await driver.press("left")
        assert driver.place == (0, len(driver.scene.step.moments) - 1)

    drive(mlp_trace(), walk)


def test_phases_begin_where_brackets_lead() -> None:
    async def walk(driver: Driver) -> None:
        seen = []
        for _ in range(5):
            await driver.press("right_square_bracket")
            assert driver.scene.state.phase is not None
            seen.append(driver.scene.state.phase.value)
        assert seen == ["other", "zero_grad", "forward", "loss", "backward"]
        start = driver.place
        await driver.press("right", "left_square_bracket")
        assert driver.place == start
        await driver.press("left_square_bracket")
        assert driver.scene.state.phase is not None
        assert driver.scene.state.phase.value == "loss"

    drive(mlp_trace(), walk)


def test_braces_travel_by_steps_and_keep_the_moment_where_the_step_did_the_same() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right_curly_bracket")
        assert driver.place == (1, -1), "step 1 clears gradients, step 0 had none to clear"
        await driver.press("right", "right", "right_curly_bracket")
        assert driver.place == (2, 1)
        await driver.press("right_curly_bracket")
        assert driver.place == (2, 1)
        await driver.press("left_curly_bracket", "home")
        assert driver.place == (1, -1)

    drive(mlp_trace(), walk)


def test_the_graph_is_the_same_object_for_steps_that_did_the_same() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right_curly_bracket")
        graph = driver.scene.graph
        await driver.press("right_curly_bracket")
        assert driver.scene.graph is graph

    drive(mlp_trace(), walk)


def test_kinds_of_graph_take_turns() -> None:
    async def walk(driver: Driver) -> None:
        seen = []
        for _ in range(4):
            assert driver.scene.graph.kind is driver.scene.kind
            seen.append(driver.scene.kind)
            await driver.press("v")
        assert set(seen) == set(GraphKind)
        assert seen[0] is seen[3]

    drive(mlp_trace(), walk)


@pytest.mark.parametrize(("typed", "place"), [("2", (2, -1)), ("1:3", (1, 2)), (":4", (0, 3)), ("1:999", (1, 24))])
def test_go_to(typed: str, place: tuple[int, int]) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("g", *("colon" if char == ":" else char for char in typed), "enter")
        assert driver.place == place

    drive(mlp_trace(), walk)


def test_go_to_refuses_what_is_not_there_and_escape_leaves() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("g", "7", "enter")
        assert driver.screen_name == "Prompt", "a wrong line can be corrected"
        assert "there is no step 7; the nearest is 2" in driver.text_of("#hint")
        await driver.press("backspace", "x", "enter")
        assert "type a step" in driver.text_of("#hint")
        await driver.press("escape")
        assert driver.screen_name == "Instrument"
        assert driver.place == (0, -1)

    drive(mlp_trace(), walk)


def test_jumps_to_in_place_changes_and_back() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("i")
        assert driver.scene.step.moments[driver.scene.moment].kind == "mutation"
        await driver.press("i")
        assert "no in-place change after" in driver.notices[-1]
        await driver.press("end", "I")
        assert driver.scene.step.moments[driver.scene.moment].kind == "mutation"

    drive(inplace_trace(), walk)


def test_jumps_to_moves_and_back() -> None:
    async def walk(driver: Driver) -> None:
        places = []
        for key in ("o", "o", "O"):
            await driver.press(key)
            assert driver.scene.step.moments[driver.scene.moment].kind == "move"
            places.append(driver.place)
        assert places[0] == places[2] < places[1]

    drive(move_trace(), walk)


def test_where_there_is_no_bad_number_it_says_so() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("b", "B")
        assert driver.place == (0, -1)
        assert len(driver.notices) == 2

    drive(mlp_trace(), walk)


def test_a_selected_parameter_is_followed_over_steps() -> None:
    async def walk(driver: Driver) -> None:
        await driver.select("fc1.weight")
        seen = []
        for _ in range(4):
            await driver.press("full_stop")
            moment = driver.scene.step.moments[driver.scene.moment]
            seen.append((driver.place[0], moment.kind))
            assert driver.selected_name == "fc1.weight", "what is selected stays selected in other steps"
        assert seen == [(0, "grad"), (0, "optimizer"), (1, "grad"), (1, "grad")]
        await driver.press("comma", "comma")
        assert driver.place[0] == 0
        await driver.press("greater_than_sign")
        assert isinstance(driver.scene.step.moments[driver.scene.moment], OpCall)

    drive(mlp_trace(), walk)


def test_the_origin_of_a_result_and_of_what_came_from_before() -> None:
    async def walk(driver: Driver) -> None:
        await driver.select("logits")
        await driver.press("end", "less_than_sign")
        moment = driver.scene.step.moments[driver.scene.moment]
        assert isinstance(moment, OpCall)
        assert moment.name == "linear"
        await driver.select("fc1.weight")
        await driver.press("less_than_sign")
        assert "was there before this step" in driver.notices[-1]

    drive(mlp_trace(), walk)


def test_without_a_selection_keys_that_need_one_say_so() -> None:
    async def walk(driver: Driver) -> None:
        for key in ("full_stop", "less_than_sign", "greater_than_sign", "w"):
            before = len(driver.notices)
            await driver.press(key)
            assert len(driver.notices) == before + 1
            assert driver.place == (0, -1)

    drive(mlp_trace(), walk)


def test_when_lists_every_moment_of_a_tensor_and_travels() -> None:
    async def walk(driver: Driver) -> None:
        await driver.select("y")
        await driver.press("w")
        assert driver.screen_name == "Picker"
        await driver.press("end", "enter")
        assert driver.scene.step.moments[driver.scene.moment].kind == "mutation"
        await driver.press("w", "escape")
        assert driver.screen_name == "Instrument"

    drive(inplace_trace(), walk)


def test_selecting_what_the_moment_is_about_and_nothing_again() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("i", "c")
        assert driver.selected_name == "y"
        await driver.press("2", "escape")
        assert driver.scene.selected is None

    drive(inplace_trace(), walk)


def test_steps_without_graphs_or_moments_can_be_travelled() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right_square_bracket", "end", "v", "right_curly_bracket", "w", "c")
        assert driver.place[0] in (0, 1)

    drive(mlp_trace(2, detail=Detail.STEPS), walk)
    drive(cut_trace(), walk)


def test_back_and_forward_in_the_history_of_jumps() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right", "g", *"1:5", "enter", "right", "end")
        end = driver.place
        await driver.press("left_parenthesis")
        assert driver.place == (1, 5), "where the last jump began; single moments are no jumps"
        await driver.press("alt+left")
        assert driver.place == (0, 1)
        await driver.press("ctrl+o")
        assert driver.place == (0, 1)
        assert "No jump led here" in driver.notices[-1]
        await driver.press("right_parenthesis")
        assert driver.place == (1, 5)
        await driver.press("alt+right")
        assert driver.place == end
        await driver.press("ctrl+i")
        assert "Nothing lies ahead" in driver.notices[-1]

    drive(mlp_trace(), walk)


def test_tab_goes_to_the_next_pane_and_is_no_way_forward() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("end", "left_parenthesis", "1", "tab")
        assert driver.place == (0, -1)
        assert driver.instrument.focused is not None
        assert driver.instrument.focused.id == "inspector"

    drive(mlp_trace(), walk)


def test_a_drag_over_the_timeline_is_one_jump() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right")
        await driver.pilot.mouse_down("#timeline", offset=(10, 1))
        for cell in (14, 20, 30, 40):
            await driver.pilot.hover("#timeline", offset=(cell, 1))
            await driver.settle()
        await driver.pilot.mouse_up("#timeline", offset=(40, 1))
        await driver.settle()
        assert driver.place > (0, 1)
        await driver.press("left_parenthesis")
        assert driver.place == (0, 0)

    drive(mlp_trace(), walk)


def test_the_first_screen_is_where_the_first_backward_starts() -> None:
    async def walk(driver: Driver) -> None:
        assert driver.place[0] == 0
        assert driver.scene.step.moments[driver.place[1]].kind == "backward"
        assert driver.scene.state.ops, "what the forward did is lit"
        await driver.press("left", "home")
        assert driver.place == (0, -1)

    drive(mlp_trace(), walk, start=None)
