"""Findings in the instrument: listed line by line, travelled to, and not told as none while they are unknown."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from gradscope.model.findings import Finding, Place, Severity
from gradscope.model.trace import Trace
from tests.builders import inplace_trace, mlp_trace
from tests.tui.driving import Driver, drive

FOUND = Finding(
    "GS101", "saved-tensor-modified", Severity.ERROR, "y was changed in place", 0.9, 0,
    Place("inplace.py", 6, "y.mul_(2)"), fix="make a new tensor",
)  # fmt: skip


def test_findings_are_listed_and_travelled_to() -> None:
    async def walk(driver: Driver) -> None:
        assert driver.scene.findings == (FOUND,)
        await driver.press("d", "enter")
        moment = driver.scene.step.moments[driver.scene.moment]
        assert driver.scene.trace.source_lines(moment.stack)[0].line == 6
        assert driver.notices[-1].splitlines() == ["y was changed in place", "make a new tensor"]
        await driver.press("home", "f")
        assert driver.scene.trace.source_lines(driver.scene.step.moments[driver.scene.moment].stack)[0].line == 6
        await driver.press("end", "F")
        assert driver.scene.trace.source_lines(driver.scene.step.moments[driver.scene.moment].stack)[0].line == 6

    drive(inplace_trace(), walk, findings=lambda _: [FOUND])


def test_a_check_that_fails_is_a_notice_and_none_is_a_notice_too() -> None:
    def failing(_: Trace) -> Sequence[Finding]:
        raise ValueError("the check broke")

    async def walk(driver: Driver) -> None:
        assert driver.notices == ["No findings: the check broke"]
        await driver.press("d", "f")
        assert driver.notices[1] == "It is not known what is wrong: the check broke"
        assert driver.place == (0, -1)

    drive(mlp_trace(), walk, findings=failing)


def test_findings_that_are_still_looked_for_are_not_told_to_be_none() -> None:
    go_on = threading.Event()

    def slow(_: Trace) -> Sequence[Finding]:
        go_on.wait(20)
        return ()

    async def walk(driver: Driver) -> None:
        for key in ("d", "f"):
            await driver.pilot.press(key)
            assert driver.notices[-1] == "The findings are still being looked for."
        go_on.set()
        await driver.settle()
        await driver.press("d")
        assert driver.notices[-1] == "There are no findings."

    drive(mlp_trace(), walk, findings=slow, settled=False)


def test_each_line_of_a_finding_leads_to_its_own_moment() -> None:
    found = replace(FOUND, related=(Place("inplace.py", 4, "y = x * 2", "made here"),), explanation="it was kept")

    async def walk(driver: Driver) -> None:
        await driver.press("d")
        choices = driver.app.screen.choices  # type: ignore[attr-defined]
        assert [str(choice.line).split()[0] for choice in choices] == ["E", "here", "made", "why", "fix"]
        await driver.press("escape")
        for down, line in ((0, 6), (1, 6), (2, 4), (3, 6), (4, 6)):
            await driver.press("d", *["down"] * down, "enter")
            moment = driver.scene.step.moments[driver.scene.moment]
            assert driver.scene.trace.source_lines(moment.stack)[0].line == line

    drive(inplace_trace(), walk, findings=lambda _: [found])


def test_a_line_that_only_calls_leads_to_what_it_called_and_one_that_never_ran_nowhere() -> None:
    places = (Place("train.py", 22, "logits = model(x)"), Place("train.py", 999, "y"))

    async def walk(driver: Driver) -> None:
        await driver.press("d", "down", "enter")
        sites = driver.scene.trace.source_lines(driver.scene.step.moments[driver.scene.moment].stack)
        assert [site.line for site in sites] == [12, 22]
        here = driver.place
        await driver.press("d", "down", "down", "enter")
        assert driver.notices[-1] == "No recorded moment is of train.py:999."
        assert driver.place == here

    drive(mlp_trace(), walk, findings=lambda _: [replace(FOUND, culprit=None, related=places)])
