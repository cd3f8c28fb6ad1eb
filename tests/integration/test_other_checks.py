"""`gradscope check` and `explain` with a check of another package, which nothing else imports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.plugged import CHECK, install
from tests.scripts import ROOT, Ran, run

SCRIPT = "import torch\nx = torch.ones(2, requires_grad=True)\nx.sum().backward()\n"
LOUD = f"from pathlib import Path\nPath(__file__).with_name('imported').touch()\n{CHECK}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of work; what is installed is in `installed` beside it."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "installed").mkdir()
    (work / "script.py").write_text(SCRIPT)
    return work


def gradscope(folder: Path, *arguments: str) -> Ran:
    path = os.pathsep.join([str(ROOT), str(folder.parent / "installed")])
    return run(["-m", "gradscope", *arguments], folder, PYTHONPATH=path)


def test_check_makes_it_and_explain_has_its_page(folder: Path) -> None:
    install(folder.parent / "installed")
    ran = gradscope(folder, "check", "--format", "json", "script.py")
    assert ran.status == 0, ran.stderr
    assert [one["code"] for one in json.loads(ran.stdout)["findings"]] == ["ACME001"]
    assert gradscope(folder, "explain", "ACME001").stdout.startswith("# ACME001 backward-seen\n")
    assert "ACME001  note     backward-seen" in gradscope(folder, "explain").stdout
    sarif = json.loads(gradscope(folder, "check", "--format", "sarif", "script.py").stdout)
    (described,) = sarif["runs"][0]["tool"]["driver"]["rules"]
    assert described["shortDescription"]["text"] == "A backward ran."


def test_nothing_else_imports_it(folder: Path) -> None:
    installed = install(folder.parent / "installed", module=LOUD)
    for arguments in (
        ["trace", "--quiet", "script.py"],
        ["info", "script.gradscope"],
        ["graph", "script.gradscope"],
        ["explain", "GS101"],
    ):
        assert gradscope(folder, *arguments).status == 0
    assert not (installed / "imported").exists()
    assert gradscope(folder, "check", "script.gradscope").status == 0
    assert (installed / "imported").exists()


def test_the_current_folder_is_no_place_to_install(folder: Path) -> None:
    install(folder, module=LOUD)
    gradscope(folder, "trace", "--quiet", "script.py")
    assert gradscope(folder, "check", "script.gradscope").status == 0
    assert not (folder / "imported").exists()


def test_a_broken_package_does_not_cost_the_others(folder: Path) -> None:
    install(folder.parent / "installed", module="import not_there_at_all")
    ran = gradscope(folder, "check", "script.py")
    assert ran.status == 0
    said = " ".join(ran.stdout.split())  # which is wrapped at the terminal's width
    assert "the checks of the package acme (acme_checks) cannot be used: ModuleNotFoundError" in said
    assert "Traceback" not in ran.stdout + ran.stderr
