"""A pane with all the room, and with more of it."""

from __future__ import annotations

import pytest

from gradscope.tui.screens.instrument import PANES
from tests.builders import mlp_trace
from tests.tui.driving import Driver, drive

ALL = [*(name for name, _ in PANES), "timeline"]


def areas(driver: Driver) -> dict[str, int]:
    """The panes that can be seen."""
    found = {name: driver.instrument.query_one(f"#{name}") for name in ALL}
    shown = {name: pane.region.area for name, pane in found.items() if pane.region.area and pane.is_on_screen}
    return {name: area for name, area in shown.items() if found[name].display}


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize(("key", "pane"), list(zip("12345", ALL, strict=True)))
def test_a_zoomed_pane_has_all_the_room_until_the_key_is_pressed_again(
    key: str, pane: str, size: tuple[int, int]
) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press(key)
        before = areas(driver)
        await driver.press("Z")
        zoomed = areas(driver)
        assert list(zoomed) == [pane]
        assert zoomed[pane] > before[pane]
        assert driver.instrument.query_one(f"#{pane}").region.size == (size[0], size[1] - 4)
        await driver.press("right")
        assert driver.place == (0, 0), "keys travel as ever"
        await driver.press("Z")
        assert areas(driver) == before

    drive(mlp_trace(), walk, size=size)


def test_another_pane_takes_over_the_room() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("Z", "3")
        assert list(areas(driver)) == ["source"]
        await driver.press("tab", "tab")
        assert list(areas(driver)) == ["timeline"]
        await driver.press("tab")
        assert list(areas(driver)) == ["graph"]
        await driver.press("Z")
        assert list(areas(driver)) == ALL

    drive(mlp_trace(), walk)


def test_a_pane_gets_more_room_and_less() -> None:
    async def walk(driver: Driver) -> None:
        for key, pane in zip("12345", ALL, strict=True):
            await driver.press(key)
            before = areas(driver)
            await driver.press("plus")
            more = areas(driver)
            assert more[pane] > before[pane]
            assert set(more) == set(ALL)
            await driver.press("minus")
            assert areas(driver) == before

    drive(mlp_trace(), walk)


def test_where_one_pane_has_all_the_room_it_says_so() -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("plus")
        assert "has all the room" in driver.notices[-1]
        height = driver.instrument.query_one("#timeline").region.height
        await driver.press("5", "plus")
        assert driver.instrument.query_one("#timeline").region.height == height + 1

    drive(mlp_trace(), walk, size=(80, 24))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_what_is_told_never_covers_the_timeline(size: tuple[int, int]) -> None:
    async def walk(driver: Driver) -> None:
        await driver.press("5", "plus", "plus", "b", "b")
        timeline = driver.instrument.query_one("#timeline").region
        toasts = list(driver.instrument.query("Toast"))
        assert toasts
        assert not any(toast.region.overlaps(timeline) for toast in toasts)
        assert all(toast.region.area for toast in toasts)

    drive(mlp_trace(), walk, size=size)
