"""Every script of the zoo does the same under `gradscope trace` as under `python`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import ROOT, Ran, ScriptServer, run

ZOO = ROOT / "tests" / "zoo"
SCRIPTS = [path for folder in ("open", "fixed") for path in sorted((ZOO / folder).glob("[!_]*.py"))]
# A few run as two real processes; the others as forks of one that has imported torch.
WHOLE = ("open/backward_nonscalar.py", "open/grad_of_nonleaf.py", "open/healthy_checkpoint.py", "fixed/nan_log_zero.py")


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_the_zoo_is_whole() -> None:
    assert len(SCRIPTS) > 150
    assert {name_of(path) for path in SCRIPTS} >= set(WHOLE)


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_does_the_same(path: Path, server: ScriptServer, tmp_path: Path) -> None:
    trace = tmp_path / "it.gradscope"
    plain = server.plain(path.name, folder=path.parent)
    traced = server.traced("--quiet", "-o", str(trace), path.name, folder=path.parent)
    assert traced == plain
    assert trace.is_file()


@pytest.mark.parametrize("name", WHOLE)
def test_a_script_does_the_same_as_a_process_of_its_own(name: str, server: ScriptServer, tmp_path: Path) -> None:
    path = ZOO / name
    plain = run([path.name], path.parent)
    trace = str(tmp_path / "it.gradscope")
    traced = run(["-m", "gradscope", "trace", "--quiet", "-o", trace, path.name], path.parent)
    assert traced == plain
    assert server.plain(path.name, folder=path.parent) == Ran(plain.status, plain.stdout, plain.stderr)
