"""Every key that travels."""

from __future__ import annotations

from tests.builders import mlp_trace
from tests.tui.driving import Driver, drive


def test_it_opens_at_the_first_steps_start() -> None:
    async def walk(driver: Driver) -> None:
        assert driver.place == (0, -1)
        assert driver.scene.graph.nodes

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
