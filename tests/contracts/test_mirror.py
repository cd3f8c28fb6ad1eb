"""`tests/unit` has the rooms of the package: who opens a module finds its tests where it would lie."""

from __future__ import annotations

from pathlib import Path

import pytest

import gradscope

UNIT, PACKAGE = Path(__file__).parents[1] / "unit", Path(gradscope.__file__).parent
NO_TEST_FOLDERS = {"__pycache__"}
# What a process tells of itself: tests/integration starts processes.
TESTED_FROM_OUTSIDE = {"environment"}


def rooms(top: Path, pattern: str) -> set[str]:
    """The folders below `top` that hold such files, as paths from there."""
    return {
        folder.relative_to(top).as_posix()
        for folder in top.rglob("*")
        if folder.is_dir() and folder.name not in NO_TEST_FOLDERS and any(folder.glob(pattern))
    }


def strangers(tested: set[str], package: set[str]) -> set[str]:
    return tested - package


def test_each_folder_of_unit_tests_is_a_room_of_the_package() -> None:
    assert not strangers(rooms(UNIT, "test_*.py"), rooms(PACKAGE, "*.py"))


def test_each_room_of_capture_has_its_folder_of_unit_tests() -> None:
    capture, tested = rooms(PACKAGE / "capture", "*.py"), rooms(UNIT / "capture", "test_*.py")
    assert capture - tested == TESTED_FROM_OUTSIDE


@pytest.mark.parametrize("module", ["capture/recorder.py", "errors.py", "text.py"])
def test_what_lies_at_the_top_of_a_room_is_there(module: str) -> None:
    assert (PACKAGE / module).is_file()
    assert list((UNIT / module).parent.glob(f"test_{Path(module).stem}*.py"))


def test_the_contract_can_fail() -> None:
    assert strangers({"capture", "capture/cellar"}, rooms(PACKAGE, "*.py")) == {"capture/cellar"}
