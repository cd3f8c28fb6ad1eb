"""The instrument beside travelling: layout, panes, windows, hints, and traces that are odd."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.errors import DamagedTrace
from gradscope.model.moments import Backward, NodeRun
from gradscope.tui import cursor
from gradscope.tui.keys import KEYS
from gradscope.tui.messages import Select
from gradscope.tui.screens.help import Help
from gradscope.tui.screens.instrument import PANES, Instrument
from gradscope.tui.settings import Settings
from gradscope.tui.widgets.chart import ChartScreen
from gradscope.tui.widgets.header import HeaderPane
from gradscope.tui.widgets.hints import Hints
from gradscope.tui.widgets.inspector import InspectorPane
from gradscope.tui.widgets.parameters import ParametersPane
from gradscope.tui.widgets.source import SourcePane
from tests.builders import MLP_CODE, Detail, TraceBuilder, ab2_trace, gan_trace, mlp_trace
from tests.tui.driving import Driver, drive

SIZES = [(80, 24), (110, 28), (120, 40), (200, 60), (300, 100)]


def lines_of(driver: Driver, pane: str) -> str:
    """What an inspector or source pane shows."""
    found = driver.instrument.query_one(f"#{pane}", InspectorPane if pane == "inspector" else SourcePane)
    count = found.virtual_size.height
    return "\n".join(line.plain for number in range(count) if (line := found.line_at(number)) is not None)


# -- names -------------------------------------------------------------------------------------------


def test_all_panes_say_whose_parameter_it_is() -> None:
    async def walk(driver: Driver) -> None:
        table = driver.instrument.query_one("#parameters", ParametersPane)
        assert [one.name for one in table.shown] == ["G.0.weight", "D.0.weight"]
        await driver.select("D.0.weight")
        assert table.current is not None
        assert table.current.name == "D.0.weight"
        assert lines_of(driver, "inspector").startswith("D.0.weight")
        await driver.press("C")
        assert isinstance(driver.app.screen, ChartScreen)
        assert driver.app.screen.parameter.name == "D.0.weight"

    drive(gan_trace(), walk, size=(160, 50))


def test_the_inspector_tells_of_a_nodes_run_in_the_backward_at_hand() -> None:
    async def walk(driver: Driver) -> None:
        step, graph = driver.scene.step, driver.scene.graph
        node = next(one for one in graph.nodes if "ran 2 times" in one.notes)
        driver.instrument.post_message(Select(node.id))
        starts = [index for index, moment in enumerate(step.moments) if isinstance(moment, Backward)]
        for start, following in zip(starts, [*starts[1:], len(step.moments)], strict=True):
            run = next(
                index
                for index in range(start, following)
                if isinstance(moment := step.moments[index], NodeRun)
                and step.graphs[moment.graph].nodes[moment.node].tensor is not None
                and step.tensors[step.graphs[moment.graph].nodes[moment.node].tensor or 0].name == "D.0.weight"
            )
            driver.instrument.travel(cursor.Place(0, run))
            await driver.settle()
            assert driver.scene.selected == node.id
            assert "runs now" in lines_of(driver, "inspector")

    drive(gan_trace(), walk, size=(160, 50))


# -- layout ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_every_size_shows_panes_without_overlap(size: tuple[int, int]) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right")
        shown = [name for name, _ in PANES if driver.instrument.query_one(f"#{name}").display]
        assert len(shown) == (1 if size[0] < 110 or size[1] < 28 else 4)
        regions = [driver.instrument.query_one(f"#{name}").region for name in [*shown, "timeline", "header"]]
        for place, one in enumerate(regions):
            assert one.area > 0
            assert not any(one.overlaps(other) for other in regions[place + 1 :])

    drive(mlp_trace(), walk, size=size)


def test_in_a_narrow_terminal_digits_and_tab_show_one_pane_each() -> None:
    async def walk(driver: Driver) -> None:
        for key, (name, _) in zip("1234", PANES, strict=True):
            await driver.press(key)
            assert driver.instrument.active == name
            assert driver.instrument.focused is not None
            assert driver.instrument.focused.id == name
        await driver.press("1", "tab")
        assert driver.instrument.active == "inspector"
        await driver.press("shift+tab", "5")
        assert driver.instrument.active == "graph"
        assert driver.instrument.focused is not None
        assert driver.instrument.focused.id == "timeline"
        await driver.pilot.click("#tabs", offset=(27, 0))
        await driver.settle()
        assert driver.instrument.active == "source"

    drive(mlp_trace(), walk, size=(80, 24))


def test_a_hidden_pane_shows_the_scene_when_it_comes_up() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right", "right", "2")
        sheet = driver.instrument.query_one("#inspector", InspectorPane).sheet
        assert sheet is not None
        assert sheet.title.startswith("F")

    drive(ab2_trace(), walk, size=(80, 24))


def test_a_terminal_that_is_too_small_says_what_it_needs() -> None:
    async def walk(driver: Driver) -> None:
        assert driver.instrument.query_one("#small").display
        assert "This terminal is 30 by 10; gradscope needs" in driver.text_of("#small")
        await driver.pilot.resize_terminal(120, 40)
        await driver.settle()
        assert not driver.instrument.query_one("#small").display
        assert driver.instrument.query_one("#graph").region.area > 0

    drive(mlp_trace(), walk, size=(30, 10))


def test_ascii_mode_draws_nothing_else() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right_square_bracket", "right_square_bracket", "right_square_bracket", "right")
        for pane in ("#header", "#graph", "#inspector", "#source", "#timeline", "#parameters", "#tabs"):
            widget = driver.instrument.query_one(pane)
            for strip in widget.render_lines(widget.region.reset_offset):
                assert strip.text.isascii(), (pane, strip.text)
        await driver.press("question_mark")
        for widget in driver.app.screen.query("*"):
            for strip in widget.render_lines(widget.region.reset_offset) if widget.region.area else ():
                assert strip.text.isascii(), (widget, strip.text)

    drive(mlp_trace(), walk, ascii=True)


def test_light_and_dark_take_turns() -> None:
    async def walk(driver: Driver) -> None:
        assert driver.app.theme == "gradscope-light"
        await driver.press("T")
        assert driver.app.theme == "gradscope-dark"
        await driver.press("T")
        assert driver.app.theme == "gradscope-light"

    drive(mlp_trace(), walk, theme="light")


def test_no_colour_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def walk(driver: Driver) -> None:
        assert driver.app.no_color
        svg = driver.app.export_screenshot()
        fills = set(re.findall(r"fill: #([0-9a-f]{6})", svg))
        assert len(fills) > 2
        spread = [max(parts) - min(parts) for fill in fills if (parts := bytes.fromhex(fill))]
        assert max(spread) <= 4, "the picture's own ink is #c5c8c6; all else is grey"

    drive(mlp_trace(), walk)


# -- panes ---------------------------------------------------------------------------------------------


def test_the_source_follows_the_cursor_and_marks_where_a_gradient_belongs(tmp_path: Path) -> None:
    trace = mlp_trace()
    (tmp_path / "train.py").write_text(MLP_CODE)
    trace.path = str(tmp_path / "t.gradscope")

    async def walk(driver: Driver) -> None:
        source = driver.instrument.query_one("#source", SourcePane)
        await driver.press("right_square_bracket", "right_square_bracket", "right_square_bracket")
        shown = lines_of(driver, "source").splitlines()
        assert shown[11].startswith("▶") or shown[21].startswith("▹")
        for _ in range(3):
            await driver.press("right_square_bracket")
        await driver.press("left", "left", "left", "left")
        assert source.text is not None
        assert source.text.problem == ""
        marks = [line[0] for line in lines_of(driver, "source").splitlines() if line[0] != " "]
        assert "▶" in marks

    drive(trace, walk)


def test_a_source_that_is_gone_shows_the_recorded_line_and_says_so() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right", "right", "right")
        source = driver.instrument.query_one("#source", SourcePane)
        assert "is not here" in str(source.border_subtitle)
        assert "F = A * B" in lines_of(driver, "source")

    drive(ab2_trace(), walk)


def test_the_call_stack_and_back() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("right_square_bracket", "right_square_bracket", "right_square_bracket", "s")
        assert lines_of(driver, "source").splitlines()[0].startswith("train.py:12")
        assert "train.py:22" in lines_of(driver, "source")
        await driver.press("s")
        assert "train.py:22" not in lines_of(driver, "source")

    drive(mlp_trace(), walk)


def test_a_click_on_a_fact_travels_to_its_moment() -> None:
    async def walk(driver: Driver) -> None:
        await driver.select("A")
        pane = driver.instrument.query_one("#inspector", InspectorPane)
        await driver.press("end")
        line = next(line for line, moment in pane._moments.items() if moment == 0)
        pane.reveal(line)
        await driver.settle()
        await driver.pilot.click("#inspector", offset=(20, line - pane.scroll_offset.y + 1))
        await driver.settle()
        assert driver.place == (0, 0)

    drive(ab2_trace(), walk)


# -- windows -------------------------------------------------------------------------------------------


def test_help_names_every_key() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("question_mark")
        assert driver.screen_name == "Help"
        text = "\n".join(line.plain for line in driver.app.screen._lines())  # type: ignore[attr-defined]
        for keys in KEYS.values():
            for key in keys:
                assert key.about in text
        assert "fold" in text, "the panes' own keys are there too"
        await driver.press("escape")
        assert driver.screen_name == "Instrument"

    drive(mlp_trace(), walk)


def test_every_key_has_an_action_and_no_key_is_bound_twice() -> None:
    every = [key for keys in KEYS.values() for key in keys]
    assert len({key.key for key in every}) == len(every)
    for key in every:
        name = key.action.partition("(")[0]
        assert name.startswith("app.") or callable(getattr(Instrument, f"action_{name}")), key


def test_the_palette_finds_a_key_by_name() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("ctrl+p")
        assert driver.screen_name == "CommandPalette"
        await driver.press(*"end of this step", "enter")
        await driver.press("enter")
        assert driver.place == (0, len(driver.scene.step.moments) - 1)

    drive(mlp_trace(), walk)


# -- bad input and running scripts -----------------------------------------------------------------------------


def test_a_file_that_breaks_while_it_is_open_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = mlp_trace()

    def broken(_: int) -> object:
        raise DamagedTrace("t.gradscope is damaged: it is gone")

    async def walk(driver: Driver) -> None:
        monkeypatch.setattr(trace.source, "step_row", broken)
        await driver.press("right_curly_bracket")
        assert driver.notices == ["t.gradscope is damaged: it is gone"]
        assert driver.place == (0, -1)
        await driver.press("right")
        assert driver.place == (0, 0), "what was read can still be travelled"

    drive(trace, walk)


def test_a_crashed_script_can_be_walked_to_its_end() -> None:
    builder = TraceBuilder("a\nb\n", "crash.py", replace(ab2_trace().info, status="failed", error="ValueError: no"))
    step = builder.step(0, detail=Detail.FULL)
    x = step.leaf("x", [1.0], 1)
    from gradscope.model.moments import Failure

    step.op("mul", (x,), "y", line=2)
    step.add(Failure(step.phase, builder.line(2), "ValueError", "no"))
    step.done()

    async def walk(driver: Driver) -> None:
        await driver.press("end")
        assert driver.scene.state.failed
        assert "the script failed" in driver.instrument.query_one("#header", HeaderPane).lines()[0].plain

    drive(builder.trace(), walk)


def test_a_trace_without_steps_waits_and_keys_do_no_harm() -> None:
    async def walk(driver: Driver) -> None:
        for keys in KEYS.values():
            for key in keys:
                if key.action not in ("app.quit", "app.command_palette", "help"):
                    await driver.press(key.key)
                    if driver.screen_name != "Instrument":
                        await driver.press("escape")
        assert driver.instrument.scene is None

    drive(TraceBuilder("x\n", "empty.py").trace(), walk)


# -- hints -------------------------------------------------------------------------------------------------


def hints(driver: Driver) -> list[str]:
    return str(driver.app.screen.query_one(Hints).render()).split("  ")


INSTRUMENT = ["? help", "q quit", "←→ moment", "[] phase", "{} step", "d findings", "w when"]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (52, INSTRUMENT[:5]),
        (60, INSTRUMENT[:6]),
        (80, [*INSTRUMENT, "m fold"]),
        (160, [*INSTRUMENT, "m fold", "/ find", "a before", "z after", "p path"]),
    ],
)
def test_hints_are_whole_at_every_width_and_the_first_ones_stay(width: int, shown: list[str]) -> None:
    async def walk(driver: Driver) -> None:
        assert hints(driver) == shown
        assert driver.app.screen.query_one(Hints).region.bottom == 30

    drive(mlp_trace(), walk, size=(width, 30))


def test_hints_follow_the_focus_and_a_click_presses_the_key() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("4")
        assert hints(driver) == [*INSTRUMENT, "enter chart", "r rank", "/ filter"]
        await driver.press("C")
        assert hints(driver) == ["esc back"]
        await driver.press("escape")
        line = driver.app.screen.query_one(Hints)
        await driver.pilot.click(line, offset=(1 + str(line.render()).index("→"), 0))
        await driver.settle()
        assert driver.place == (0, 0)

    drive(mlp_trace(), walk, size=(160, 30))


def test_the_bars_along_the_depth_come_up_in_their_pane_and_go_again() -> None:
    async def walk(driver: Driver) -> None:
        pane = driver.instrument.query_one(ParametersPane)
        await driver.press("G")
        assert pane.along_depth
        assert pane.display
        await driver.press("G")
        assert not pane.along_depth

    drive(mlp_trace(), walk, size=(80, 24))


def test_the_users_own_keys_and_colours_hold_and_are_shown() -> None:
    settings = Settings(
        "light", {"accent": "#123456"}, {"pin": "P", "step(1)": "f5"}, ("view.ini: one thing is wrong",)
    )

    async def walk(driver: Driver) -> None:
        assert driver.app.theme == "gradscope-light"
        assert driver.app.current_theme.accent == "#123456"
        assert "view.ini: one thing is wrong" in driver.notices
        await driver.press("D")
        assert driver.scene.against is None
        await driver.press("P", "f5")
        assert driver.scene.against is not None
        assert driver.place[0] == 1
        await driver.press("question_mark")
        screen = driver.app.screen
        assert isinstance(screen, Help)
        assert "  P " in "\n".join(str(line) for line in screen._lines())

    drive(mlp_trace(), walk, settings=settings)
