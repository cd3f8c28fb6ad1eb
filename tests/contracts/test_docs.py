"""The documents say what the program does, and nothing about the machine they were written on."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("trace", "graph", "info", "export", "doctor")
# The folders of real machines; `/home/me` is everybody's and stands in examples.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home/(?!me/)\w+|tmp/v|opt/pypi|opt/wheels|Users/\w+)/")


def tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


def test_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"gradscope {command}" in readme


def test_readme_names_every_exported_verb() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in ("draw", "inspect", "record", "load", "step"):
        assert f"gradscope.{verb}(" in readme


def test_ci_takes_its_test_command_from_the_readme() -> None:
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_demo_is_in_the_readme_and_says_what_to_look_at() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    demos = sorted((ROOT / "demos").glob("*.py"))
    assert len(demos) >= 11
    for demo in demos:
        text = demo.read_text(encoding="utf-8")
        comment = text[: text.index("\n\n")]
        assert all(line.startswith("#") for line in comment.splitlines()), demo.name
        assert "# Look at:" in comment, demo.name
        assert re.search(rf"^#   gradscope (trace|graph) .*demos/{demo.name}", comment, re.M), demo.name
        assert demo.name in readme, demo.name


def test_no_tracked_file_knows_the_machine() -> None:
    found = []
    for path in tracked_files():
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}: {match.group()}" for match in MACHINE_PATHS.finditer(text)]
    assert not found


def test_the_readmes_pictures_are_there_and_whole() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    graph, screen = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert f"-o {graph}\n" in readme, "the command that makes it is beside it"
    assert f"--screenshot {screen}\n" in readme, "the command that makes it is beside it"
    wanted = {
        graph: {"A", "B", "F", "G", "MulBackward0", "AccumulateGrad", "A.grad"},
        screen: {"Graph", "Parameters", "Timeline", "fc1.weight", "backward"},
    }
    for name, expected in wanted.items():
        words = {word.replace("\xa0", " ").strip() for word in ET.parse(ROOT / name).getroot().itertext()}
        assert expected <= words, expected - words


def test_constraints_pin_torch_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert all(re.fullmatch(r'[a-z0-9-]+==[\w.]+(; python_version (<|>=) "3\.11")?', pin) for pin in pins)
