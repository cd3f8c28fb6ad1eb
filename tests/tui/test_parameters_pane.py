"""The table of parameters and its chart, driven through scenes, keys and the mouse."""

from __future__ import annotations

import pytest

from gradscope.model.graph import GraphKind
from gradscope.model.records import Phase
from gradscope.tui.messages import Select
from gradscope.tui.widgets.chart import Chart, ChartScreen
from gradscope.tui.widgets.parameters import ParametersPane
from tests.builders import TraceBuilder, mlp_trace
from tests.tui.hosting import Stage, host
from tests.tui.test_figures import updated_trace

WIDE = (130, 12)


def end_of(stage: Stage, phase: Phase) -> int:
    return max(index for index, moment in enumerate(stage.scene.step.moments) if moment.phase is phase)


def cells_of(stage: Stage, name: str) -> dict[str, str]:
    """The cells of one row by their columns' titles."""
    line = next(line for line in stage.lines() if line.startswith(name))
    width, columns, _ = stage.pane.columns(stage.pane.scrollable_content_region.width)
    found, place = {}, width
    for column in columns:
        found[column.title] = line[place : place + column.width + 1].strip()
        place += column.width + 1
    found["curve"] = line[place:].strip()
    return found


def test_every_parameter_has_a_row_with_its_figures_then() -> None:
    async def walk(stage: Stage) -> None:
        assert [line.split()[0] for line in stage.lines()[1:5]] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
        assert float(cells_of(stage, "fc1.weight")["|grad|"]) > 0, "the step before left it"
        await stage.go(moment=end_of(stage, Phase.ZERO_GRAD))
        assert cells_of(stage, "fc1.weight")["|grad|"] == "None"
        await stage.go(moment=end_of(stage, Phase.BACKWARD))
        row = cells_of(stage, "fc1.weight")
        assert float(row["|grad|"]) > 0
        assert float(row["|p|"]) > 0
        assert row["lr"] == "0.001"

    host(ParametersPane(), mlp_trace(), walk, step=1, size=WIDE)


def test_curves_over_the_steps_come_for_the_visible_rows() -> None:
    async def walk(stage: Stage) -> None:
        for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
            assert len(cells_of(stage, name)["curve"]) == 9
        assert len(stage.pane._curves) == 4

    host(ParametersPane(), mlp_trace(9), walk, step=1, size=WIDE)


def test_status_words() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        assert cells_of(stage, "v")["status"] == "no grad, no opt"
        assert cells_of(stage, "w")["Δ/|p|"] == "0.2"

    async def frozen(stage: Stage) -> None:
        assert cells_of(stage, "fc1.weight")["status"] == "frozen"
        assert cells_of(stage, "fc2.weight")["status"] == ""

    host(ParametersPane(), updated_trace(), walk, size=WIDE)
    host(ParametersPane(), mlp_trace(frozen=True), frozen, step=1, size=WIDE)


def test_rank_by_each_column_and_turn_around() -> None:
    async def walk(stage: Stage) -> None:
        names = lambda: [one.name for one in stage.pane.shown]  # noqa: E731
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        await stage.press("r")
        assert stage.pane.sort == "shape"
        assert names() == ["fc1.weight", "fc2.weight", "fc1.bias", "fc2.bias"]
        await stage.press("R")
        assert names() == ["fc2.bias", "fc1.bias", "fc2.weight", "fc1.weight"]
        seen = set()
        for _ in range(9):
            await stage.press("r")
            seen.add(stage.pane.sort)
            assert len(names()) == 4
        assert seen == {"name", "shape", "|p|", "|grad|", "Δ/|p|", "status", "sum", "grad sum", "lr"}

    host(ParametersPane(), mlp_trace(), walk, step=1, size=WIDE)


def test_a_click_on_a_title_ranks_by_it() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        at = stage.lines()[0].index("|p|")
        await stage.pilot.click("#pane", offset=(at, 0))
        await stage.settle()
        assert (stage.pane.sort, stage.pane.descending) == ("|p|", True)
        assert "▼" in stage.lines()[0]
        norms = [float(cells_of(stage, one.name)["|p|"]) for one in stage.pane.shown]
        assert norms == sorted(norms, reverse=True)
        await stage.pilot.click("#pane", offset=(at, 0))
        await stage.settle()
        assert not stage.pane.descending

    host(ParametersPane(), mlp_trace(), walk, step=1, size=WIDE)


def test_filter_by_words() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("slash", *"fc2 bias", "enter")
        assert [one.name for one in stage.pane.shown] == ["fc2.bias"]
        await stage.press("escape")
        assert len(stage.pane.shown) == 4

    host(ParametersPane(), mlp_trace(), walk, step=1)


def test_buffers_are_shown_with_the_others_or_apart() -> None:
    trace = TraceBuilder("")
    trace.parameter("bn.weight", (4,))
    trace.parameter("bn.running_mean", (4,), role="buffer", requires_grad=False)
    trace.step(0).done()

    async def walk(stage: Stage) -> None:
        names = lambda: [one.name for one in stage.pane.shown]  # noqa: E731
        assert names() == ["bn.weight", "bn.running_mean"]
        assert cells_of(stage, "bn.running_mean")["status"] == "buffer"
        await stage.press("u")
        assert names() == ["bn.weight"]
        await stage.press("u")
        assert names() == ["bn.running_mean"]
        await stage.press("u")
        assert len(names()) == 2

    host(ParametersPane(), trace.trace(), walk, size=WIDE)


def test_columns_without_room_are_a_key_away() -> None:
    async def walk(stage: Stage) -> None:
        assert "grad sum" not in stage.lines()[0]
        titles = stage.lines()[0]
        for _ in range(7):
            await stage.press("l")
            titles += stage.lines()[0]
        for title in ("|p|", "|grad|", "Δ/|p|", "status", "sum", "grad sum", "lr"):
            assert title in titles

    host(ParametersPane(), mlp_trace(), walk, step=1, size=(46, 8))


@pytest.mark.parametrize("kind", list(GraphKind))
def test_moving_selects_the_parameters_node_and_a_selected_one_is_followed(kind: GraphKind) -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("down", "down", "down")
        node = stage.scene.graph.by_id[stage.host.told(Select)[-1].node]
        assert node.name == "fc2.weight"
        other = next(node.id for node in stage.scene.graph.nodes if node.name == "fc1.bias")
        await stage.go(selected=other)
        assert stage.pane.current.name == "fc1.bias"

    host(ParametersPane(), mlp_trace(), walk, step=1, kind=kind)


def test_enter_opens_the_chart_of_the_five_phases() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("down", "enter")
        assert isinstance(stage.host.screen, ChartScreen)
        lines = stage.host.screen.query_one(Chart).lines(70)
        gradients = lines[1 : lines.index("")]
        assert [line.split()[0] for line in gradients] == [
            "start", "zero", "forward", "loss", "backward", "optimizer",
        ]  # fmt: skip
        assert [line.split()[-1] for line in gradients][1:4] == ["None"] * 3
        assert float(gradients[4].split()[-1]) == pytest.approx(0.32)
        assert any("loss over the steps" in line for line in lines)
        assert "gradient sum of fc1.weight" in stage.text()
        await stage.press("escape")
        assert not isinstance(stage.host.screen, ChartScreen)

    host(ParametersPane(), mlp_trace(5), walk, step=1, size=(100, 40))


def test_the_chart_says_which_phase_changed_the_parameter() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("down", "enter")
        lines = stage.host.screen.query_one(Chart).lines(70)
        assert "  optimizer step changed it by 1" in lines

    host(ParametersPane(), updated_trace(), walk, size=(100, 40))


def test_many_parameters_cost_no_more_than_those_that_are_seen() -> None:
    trace = TraceBuilder("")
    for number in range(5_000):
        trace.parameter(f"layer.{number}.weight", (4, 4))
    trace.step(0).done()
    drawn: list[int] = []

    class Counting(ParametersPane):
        def strip_of(self, row: int, width: int):  # type: ignore[no-untyped-def]
            drawn.append(row)
            return super().strip_of(row, width)

    async def walk(stage: Stage) -> None:
        assert stage.pane.count == 5_000
        drawn.clear()
        await stage.press("down", "ctrl+end", "up")
        assert 0 < len(set(drawn)) < 80

    host(Counting(), trace.trace(), walk, size=(90, 12))


def test_thousands_are_ranked_in_a_worker() -> None:
    trace = TraceBuilder("")
    for number in range(1_500):
        trace.parameter(f"layer.{number}.weight", (4,))
    trace.step(0).done()

    async def walk(stage: Stage) -> None:
        await stage.press("r", "r")
        assert stage.pane.sort == "|p|"
        assert stage.pane.shown[0].name == "layer.1499.weight"

    host(ParametersPane(), trace.trace(), walk, size=(90, 12))


def test_a_step_whose_updates_were_not_measured_says_what_measures_them() -> None:
    trace = mlp_trace(3)
    trace.source.put_step(trace.step(1).row._replace(distances=()))  # type: ignore[attr-defined]

    async def walk(stage: Stage) -> None:
        assert "--budget none" not in str(stage.pane.border_subtitle)
        await stage.go(step=1)
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        assert cells_of(stage, "fc1.weight")["Δ/|p|"] == "?"
        assert "gradscope trace --budget none train.py" in str(stage.pane.border_subtitle)
        await stage.go(step=2)
        assert cells_of(stage, "fc1.weight")["Δ/|p|"] == "0.25"
        assert "--budget none" not in str(stage.pane.border_subtitle)

    host(ParametersPane(), trace, walk, step=0, size=WIDE)


def test_a_trace_without_parameters_is_an_empty_table() -> None:
    trace = TraceBuilder("")
    trace.step(0).done()

    async def walk(stage: Stage) -> None:
        await stage.press("down", "enter", "r", "R", "u", "l", "slash", "a", "escape")
        assert stage.pane.count == 0

    host(ParametersPane(), trace.trace(), walk)


def test_ascii_shows_nothing_else() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        await stage.press("r", "down")
        assert stage.text().isascii()
        await stage.press("enter")
        assert "\n".join(stage.host.screen.query_one(Chart).lines(60)).isascii()

    host(ParametersPane(), mlp_trace(4), walk, step=1, ascii=True, size=WIDE)


def test_bars_along_the_depth_take_the_place_of_figures_and_curves() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        before = stage.text()
        stage.pane.show_depth(True)
        await stage.settle()
        assert "on a log scale" in stage.lines()[0]
        bars = {one.name: stage.line(one.name).count("█") for one in stage.pane.shown}
        assert len(bars) == 4
        assert all(bars.values())
        norms = {one.name: stage.pane.figures.gradient(one.id, stage.scene.state).norm for one in stage.pane.shown}
        assert sorted(bars, key=lambda name: norms[name]) == sorted(bars, key=lambda name: (bars[name], norms[name]))
        await stage.go(moment=end_of(stage, Phase.ZERO_GRAD))
        assert all(stage.line(name).rstrip().endswith("None") for name in bars)
        stage.pane.show_depth(False)
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        assert stage.text() == before

    host(ParametersPane(), mlp_trace(), walk, step=1, size=WIDE)
