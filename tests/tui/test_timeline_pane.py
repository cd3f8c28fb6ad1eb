"""The timeline, driven through scenes and the mouse."""

from __future__ import annotations

from gradscope.model.findings import Finding, Severity
from gradscope.tui.cursor import SAME
from gradscope.tui.messages import Travel
from gradscope.tui.widgets.timeline import TimelinePane
from tests.builders import ab2_trace, mlp_trace
from tests.tui.hosting import Stage, host


def test_the_bar_names_the_phases_and_follows_the_cursor() -> None:
    async def walk(stage: Stage) -> None:
        bar = stage.lines()[0]
        assert bar.startswith("◆│")
        assert bar.index("forward") < bar.index("backward") < bar.index("optimizer")
        last = len(stage.scene.step.moments) - 1
        places = []
        for moment in (0, last // 2, last):
            await stage.go(moment=moment)
            places.append(stage.lines()[0].index("◆"))
        assert places == sorted(set(places))
        assert "━" in stage.lines()[0]

    host(TimelinePane(), mlp_trace(), walk, step=1, size=(100, 4))


def test_strips_show_the_loss_and_the_gradient_of_every_step() -> None:
    async def walk(stage: Stage) -> None:
        assert stage.line("loss   ").split()[1] == "1.25"
        assert stage.line("|grad|").split()[1] == "0.5"
        before = stage.line("step 0").index("◆")
        await stage.go(2)
        assert stage.line("loss   ").split()[1] == "0.417"
        assert stage.line("step 2").index("◆") > before

    host(TimelinePane(), mlp_trace(5), walk, size=(80, 4))


def test_a_click_on_the_bar_travels_to_the_moment_under_it() -> None:
    async def walk(stage: Stage) -> None:
        await stage.pilot.click("#pane", offset=(40, 0))
        travel = stage.host.told(Travel)[-1]
        assert travel.step == 1
        assert stage.pane.bar(80).cell_of(travel.moment) == 40
        assert stage.lines()[0][40] == "◆"

    host(TimelinePane(), mlp_trace(), walk, step=1, size=(80, 4))


def test_a_click_on_a_strip_travels_to_the_step_under_it_at_the_same_moment() -> None:
    async def walk(stage: Stage) -> None:
        await stage.pilot.click("#pane", offset=(14 + 3 * 2, 1))
        travel = stage.host.told(Travel)[-1]
        assert (travel.step, travel.moment) == (2, SAME)
        assert stage.scene.step.number == 2

    host(TimelinePane(), mlp_trace(4), walk, size=(80, 4))


def test_dragging_travels_along() -> None:
    async def walk(stage: Stage) -> None:
        await stage.pilot.mouse_down("#pane", offset=(10, 0))
        await stage.pilot.hover("#pane", offset=(30, 0))
        await stage.pilot.hover("#pane", offset=(60, 0))
        await stage.pilot.mouse_up("#pane", offset=(60, 0))
        await stage.settle()
        moments = [travel.moment for travel in stage.host.told(Travel)]
        assert len(moments) >= 3
        assert moments == sorted(moments)
        said = len(moments)
        await stage.pilot.hover("#pane", offset=(5, 0))
        assert len(stage.host.told(Travel)) == said

    host(TimelinePane(), mlp_trace(), walk, step=1, size=(80, 4))


def test_findings_are_ticks_on_their_steps() -> None:
    finding = Finding("GS203", "exploding", Severity.WARNING, "too large", 0.8, step=3)

    async def walk(stage: Stage) -> None:
        assert "!" not in stage.text()
        await stage.go(findings=(finding,))
        steps = stage.line("step 0")
        assert steps.count("!") == 1
        assert steps.index("!") == 14 + stage.pane.cell_of_step(3)

    host(TimelinePane(), mlp_trace(6), walk, size=(80, 4))


def test_ten_thousand_steps_share_the_cells() -> None:
    async def walk(stage: Stage) -> None:
        assert all(len(line) <= 60 for line in stage.lines())
        await stage.pilot.click("#pane", offset=(14 + 23, 2))
        await stage.settle()
        step = stage.scene.step.number
        assert stage.pane.cell_of_step(step) == 23
        assert stage.line(f"step {step}").index("◆") == 14 + 23
        await stage.go(9_999)
        assert stage.pane.cell_of_step(9_999) == 45

    host(TimelinePane(), mlp_trace(10_000), walk, size=(60, 4))


def test_one_step_and_few_lines_will_do() -> None:
    async def walk(stage: Stage) -> None:
        assert "◆" in stage.lines()[0]

    for height in (1, 2, 3):
        host(TimelinePane(), ab2_trace(), walk, size=(50, height))


def test_ascii_shows_nothing_else() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=8)
        assert stage.text().isascii()
        assert "@" in stage.lines()[0]

    host(TimelinePane(), mlp_trace(), walk, ascii=True, size=(80, 4))
