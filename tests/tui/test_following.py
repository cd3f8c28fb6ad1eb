"""Following a script that still runs: waiting for its file, going on with it, staying, going on again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.model.memory import MemorySource
from gradscope.model.records import Detail, TraceInfo
from gradscope.model.trace import Trace
from gradscope.store import TraceWriter, open_trace
from gradscope.tui.cursor import Place
from gradscope.tui.widgets.header import HeaderPane
from gradscope.tui.widgets.parameters import ParametersPane
from tests.builders import mlp_trace
from tests.tui.driving import Driver, drive
from tests.unit.tui.test_follow import write


def told(driver: Driver) -> str:
    """What the screen says of following."""
    return str(driver.instrument.query_one("#timeline").border_subtitle or "")


async def look(driver: Driver) -> None:
    driver.instrument.look()
    await driver.settle()


def end_of(driver: Driver, step: int) -> tuple[int, int]:
    return (step, len(driver.scene.trace.step(step).moments) - 1)


@pytest.mark.parametrize(
    ("changes", "said", "shown"),
    [
        ({}, "ran to its end", ""),
        ({"status": "failed", "error": "ValueError: x"}, "failed with ValueError: x", "the script failed"),
        ({"status": "failed", "error": "KeyboardInterrupt"}, "was interrupted", "the script was interrupted"),
    ],
)
def test_following_shows_new_steps_and_the_end(changes: dict[str, str], said: str, shown: str, tmp_path: Path) -> None:
    source, path = mlp_trace(6), tmp_path / "t.gradscope"
    writer = TraceWriter(path)

    async def walk(driver: Driver) -> None:
        assert driver.instrument.scene is None
        write(writer, source, range(2))
        driver.instrument.look()
        await driver.settle()
        assert driver.place == (1, len(driver.scene.step.moments) - 1), "it begins at the newest step"
        write(writer, source, range(2, 4))
        driver.instrument.look()
        await driver.settle()
        assert driver.place[0] == 3, "who is at the end stays at the end"
        await driver.press("left_curly_bracket", "left_curly_bracket")
        here = driver.place
        write(writer, source, range(4, 6))
        writer.put_info(replace(source.info, **changes))  # type: ignore[arg-type]
        writer.close()
        driver.instrument.look()
        await driver.settle()
        assert driver.place == here, "who looks at an earlier step stays there"
        assert list(driver.scene.step_numbers) == list(range(6))
        assert driver.notices[-1].startswith(f"train.py {said}")
        await driver.press("right_curly_bracket")
        assert shown in str(driver.instrument.query_one(HeaderPane).lines()[0])

    with open_trace(path) as trace:
        drive(trace, walk, reopen=lambda: open_trace(path))


def test_names_follow_a_script_that_comes_to_a_second_model(tmp_path: Path) -> None:
    source, path = mlp_trace(4), tmp_path / "t.gradscope"
    writer = TraceWriter(path)
    late = replace(source.parameters()[0], id=9, root="teacher")
    writer.put_parameter(replace(late, name="", root=""))
    write(writer, source, range(2))

    async def walk(driver: Driver) -> None:
        await driver.press("end")
        table = driver.instrument.query_one("#parameters", ParametersPane)
        assert table.shown[0].name == "fc1.weight"
        writer.put_parameter(late)
        write(writer, source, range(2, 4))
        driver.instrument.look()
        await driver.settle()
        assert [one.name for one in table.shown][:: len(table.shown) - 1] == ["model.fc1.weight", "teacher.fc1.weight"]
        assert "model.fc1.weight" in {node.name for node in driver.scene.graph.nodes}

    with open_trace(path) as trace:
        drive(trace, walk, reopen=lambda: open_trace(path))
    writer.close()


def test_a_followed_file_that_disappears_is_a_message() -> None:
    def gone() -> Trace:
        raise GradscopeError("there is no file t.gradscope")

    async def walk(driver: Driver) -> None:
        driver.instrument.look()
        await driver.settle()
        assert "there is no file t.gradscope" in driver.notices
        here = driver.place
        await driver.press("left")
        assert driver.place == (here[0], here[1] - 1)

    drive(mlp_trace(), walk, reopen=gone)


def test_who_moves_stays_until_following_is_asked_for_again(tmp_path: Path) -> None:
    source, path = mlp_trace(6), tmp_path / "t.gradscope"
    writer = TraceWriter(path)
    write(writer, source, range(2))

    async def walk(driver: Driver) -> None:
        assert driver.place == end_of(driver, 1)
        assert told(driver) == "following the newest step, L pauses"
        await driver.press("right", "end")
        assert told(driver) == "following the newest step, L pauses", "these lead nowhere else"
        await driver.press("left", "left")
        here = driver.place
        assert here == (1, end_of(driver, 1)[1] - 2), "in the newest step, and yet elsewhere"
        assert told(driver) == "paused here, L follows the newest step"
        write(writer, source, range(2, 4))
        await look(driver)
        assert driver.place == here
        assert list(driver.scene.step_numbers) == [0, 1, 2, 3]
        await driver.press("right")
        assert driver.place == (1, here[1] + 1), "keys go on to work"
        await driver.press("L")
        assert driver.place == end_of(driver, 3)
        assert told(driver) == "following the newest step, L pauses"
        write(writer, source, range(4, 5))
        await look(driver)
        assert driver.place == end_of(driver, 4)
        await driver.press("L")
        write(writer, source, range(5, 6))
        await look(driver)
        assert driver.place == end_of(driver, 4)

    with open_trace(path) as trace:
        drive(trace, walk, reopen=lambda: open_trace(path))
    writer.close()


def test_who_stays_in_a_step_that_grows_sees_it_grow(tmp_path: Path) -> None:
    source, path = mlp_trace(2), tmp_path / "t.gradscope"
    row = source.source.step_row(1)
    whole = source.source.template(row.template)
    writer = TraceWriter(path)
    write(writer, source, range(1))

    def put(template: int, less: int) -> None:
        writer.put_template(replace(whole, id=template, moments=whole.moments[:-less]))
        writer.put_step(row._replace(template=template, open=True))
        writer.flush()

    put(90, 4)
    count = len(whole.moments)

    async def walk(driver: Driver) -> None:
        await driver.press("left")
        assert driver.place == (1, count - 6)
        put(91, 2)
        await look(driver)
        assert driver.place == (1, count - 6)
        assert len(driver.scene.step.moments) == count - 2
        await driver.press("right")
        assert driver.place == (1, count - 5)

    with open_trace(path) as trace:
        drive(trace, walk, reopen=lambda: open_trace(path))
    writer.close()


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    source, path = mlp_trace(2), tmp_path / "t.gradscope"
    asked: list[Trace] = []

    def findings(trace: Trace) -> tuple[()]:
        asked.append(trace)
        return ()

    async def walk(driver: Driver) -> None:
        await look(driver)
        header = driver.instrument.query_one(HeaderPane)
        assert f"waiting for {path}, which is not there yet: q leaves" in str(header.lines()[0])
        assert driver.notices == []
        assert asked == [], "nothing is checked yet"
        writer = TraceWriter(path)
        await look(driver)
        assert "no step yet" in str(header.lines()[0])
        write(writer, source, range(2))
        await look(driver)
        assert driver.place == end_of(driver, 1)
        assert str(header.lines()[0]).startswith(" train.py ")
        assert len(asked) == 1
        writer.put_info(source.info)
        writer.close()
        await look(driver)
        assert len(asked) == 2, "what is wrong is sought again when the script has ended"
        assert told(driver) == ""
        await driver.press("L")
        assert "the script has ended" in driver.notices[-1]

    nothing = Trace(MemorySource(TraceInfo("", (), "", "", "", "", Detail.FULL)), str(path))
    drive(nothing, walk, reopen=lambda: open_trace(path), findings=findings)


def test_the_step_that_was_asked_for_is_waited_for(tmp_path: Path) -> None:
    source, path = mlp_trace(4), tmp_path / "t.gradscope"
    writer = TraceWriter(path)
    write(writer, source, range(1))

    async def walk(driver: Driver) -> None:
        assert driver.instrument.scene is None
        assert "waiting for step 2" in str(driver.instrument.query_one(HeaderPane).lines()[0])
        write(writer, source, range(1, 4))
        await look(driver)
        assert driver.place == (2, 0)
        assert told(driver) == "paused here, L follows the newest step"

    with open_trace(path) as trace:
        drive(trace, walk, start=Place(2, 0), reopen=lambda: open_trace(path))
    writer.close()


def test_what_does_not_grow_is_not_followed() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("L")
        assert "gradscope view --follow would" in driver.notices[-1]
        assert told(driver) == ""

    drive(mlp_trace(), walk)
