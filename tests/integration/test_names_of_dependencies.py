"""A script, or what lies beside it, may have the name of any module that gradscope uses: both get their own."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.scripts import environment, run

# All that any part of gradscope loads, and the script's own torch does not: with the others python itself would fail.
LOADED = """\
import sys, torch
theirs = {name.partition(".")[0] for name in sys.modules} | set(sys.builtin_module_names)
import importlib, pkgutil, gradscope, rich.console, rich.markdown, graphviz
for module in pkgutil.walk_packages(gradscope.__path__, "gradscope."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
ours = {name.partition(".")[0] for name in sys.modules} - theirs
print(*sorted(name for name in ours if name.isidentifier() and not name.startswith("_")))
"""
HELPER = "with open('runs.txt', 'a') as file: file.write(__name__ + '\\n')\n"
ENDS = """\
w = torch.ones(3, requires_grad=True)
y = w.exp()
if fails:
    y.add_(1)
y.sum().backward()
"""
SCRIPT = """\
with open('runs.txt', 'a') as file: file.write('script\\n')
import atexit, importlib, sys
def told(): print(sys.path, [(name, sys.modules[name].__file__) for name in names])
atexit.register(told)
if first: helpers = [importlib.import_module(name) for name in names]
import torch
if not first: helpers = [importlib.import_module(name) for name in names]
told()
"""


@cache
def names() -> list[str]:
    done = subprocess.run([sys.executable, "-c", LOADED], env=environment(), capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert {"executing", "graphviz", "rich", "sqlite3", "textual", "gradscope"} <= set(found)
    return found


def both_ways(folder: Path, script: str) -> tuple[str, str]:
    """The script's stderr under python, and what `gradscope trace` said after it. All else is equal."""
    runs = folder / "runs.txt"
    plain = run([script], folder)
    expected = runs.read_text()
    runs.unlink()
    command = folder / "bin" / "gradscope"  # `python -m gradscope` would run the script of that name
    command.parent.mkdir(exist_ok=True)
    command.write_text("import sys\nfrom gradscope.cli.main import main\nsys.exit(main())\n")
    traced = run([str(command), "trace", script], folder)
    assert runs.read_text() == expected
    runs.unlink()
    assert len(set(expected.split())) == len(expected.split())
    assert (traced.status, traced.stdout) == (plain.status, plain.stdout)
    assert traced.stderr.startswith(plain.stderr)
    said = traced.stderr[len(plain.stderr) :]
    assert "3 nodes, 2 edges" in said or plain.status
    for trouble in ("internal error", "not recorded", "damaged", "could not"):
        assert trouble not in said
    assert ("GS101" in said) == (plain.status == 1)
    return plain.stderr, said


@pytest.mark.parametrize(("package", "first", "fails"), [(False, True, True), (True, False, True), (True, True, False)])
def test_helpers_of_these_names_are_the_scripts(package: bool, first: bool, fails: bool, tmp_path: Path) -> None:
    for name in names():
        file = tmp_path / name / "__init__.py" if package and name != "gradscope" else tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(HELPER)
    (tmp_path / "train.py").write_text(f"names, first, fails = {names()}, {first}, {fails}\n{SCRIPT}{ENDS}")
    both_ways(tmp_path, "train.py")


@pytest.mark.parametrize("name", ["executing", "rich", "sqlite3", "gradscope", "torch_utils"])
def test_a_script_of_such_a_name_runs_once(name: str, tmp_path: Path) -> None:
    for fails in (True, False):
        (tmp_path / f"{name}.py").write_text(f"names, first, fails = [], False, {fails}\n{SCRIPT}{ENDS}")
        both_ways(tmp_path, f"{name}.py")


def test_a_script_that_uses_a_dependency_shares_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        f"names, first, fails = ['executing', 'rich', 'graphviz'], True, True\n{SCRIPT}"
        f"open('runs.txt', 'a').write('end\\n')\n{ENDS}"
    )
    both_ways(tmp_path, "train.py")
